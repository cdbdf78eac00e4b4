"""The domains of email addresses, by IDNA 2008 (RFC 5890 to 5894).

Letters are written in lower case and composed (NFC), as RFC 5895 section 2 has it, and nothing else is mapped. So "ß"
and "ss" are two domains, as in UTS 46 without its transitional processing, and a look-alike is an error. The codec
"idna" of Python and Django's mail code know IDNA 2003 only, in which a mail to "x@fußnote.example" goes to
"fussnote.example", which can be the domain of somebody else.
"""

import re
import unicodedata
from functools import lru_cache

_ASCII_DOMAIN = re.compile(r"[a-z0-9.-]+")  # no IP literals: they identify no mailbox


class InvalidDomainError(ValueError):
    """The text is not a domain, or a domain that IDNA 2008 does not allow."""


@lru_cache(maxsize=1024)
def ascii_domain(domain: str) -> str:
    """Return the one spelling of a domain that a mail server understands: in lower case, with A-labels.

    A label in ASCII is not examined: it is what the DNS has. That includes an A-label of IDNA 2003 or of an emoji.

    Raises:
        InvalidDomainError: the domain has a character that a domain cannot have, or is a look-alike of another domain.
    """
    if any(not letter.isascii() and _composed(letter).isascii() for letter in domain):  # such as the Kelvin sign
        raise InvalidDomainError
    labels = [label if label.isascii() else _a_label(label) for label in _composed(domain).split(".")]
    found = ".".join(labels)
    if not _ASCII_DOMAIN.fullmatch(found):
        raise InvalidDomainError
    return found


def readable_domain(domain: str) -> str:
    """Return a domain of `ascii_domain` as people read it: with U-labels, but for A-labels that have none."""
    return ".".join(map(_u_label, domain.split(".")))


def ascii_recipient(email: str) -> str:
    """Return an address with its domain in ASCII, for the recipient of an email. "" stays "".

    Raises:
        InvalidDomainError: the domain is not valid, or the part before the @ is not ASCII. Django would write either
            as another address.
    """
    local, at, domain = email.rpartition("@")
    if not local.isascii():
        raise InvalidDomainError("An email address with letters before the @ that are not ASCII cannot get an email.")
    return f"{local}{at}{domain if domain.isascii() else ascii_domain(domain)}"


def _composed(text: str) -> str:
    """Return a text in lower case and in NFC. Letter by letter, because a word in capitals may end with Σ."""
    return unicodedata.normalize("NFC", "".join(map(str.lower, text)))


def _a_label(label: str) -> str:
    import idna  # with the first domain that is not ASCII, because of its tables

    try:
        return idna.alabel(label).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        raise InvalidDomainError from None


def _u_label(label: str) -> str:
    if not label.startswith("xn--"):
        return label
    import idna

    try:
        readable = idna.ulabel(label)
        return readable if _a_label(readable) == label else label
    except (idna.IDNAError, UnicodeError, InvalidDomainError):
        return label
