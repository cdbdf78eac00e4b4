"""E-mail addresses: which user holds one, in one spelling, and whether it is proved."""

import re
from functools import lru_cache

from django.conf import settings as django_settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from ninja_auth_kit.models.managers import PrimaryManager

MAXIMUM_LENGTH = 254  # RFC 5321 section 4.5.3.1.3, less the angle brackets
_LOCAL_PART = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}")
_ASCII_DOMAIN = re.compile(r"[a-z0-9.-]+")  # no IP literals: they prove no mailbox


class InvalidEmailError(ValueError):
    """The text is no address that the kit takes: quoted, an IP literal, not ASCII before the @, or malformed."""


def canonical_email(email: str) -> str:
    """Return the one spelling under which an address is looked up and kept unique.

    Lower case, and the domain as an A-label. Computed in Python alone: databases and collations disagree about
    U+0131, U+017F and U+212A, and disagreement lets one address stand in for another (CVE-2019-19844).

    Raises:
        InvalidEmailError: it is no address that the kit takes. Nothing is stripped or mended silently.
    """
    local, at, domain = email.rpartition("@")
    if not at or len(email) > MAXIMUM_LENGTH or not _LOCAL_PART.fullmatch(local):
        raise InvalidEmailError
    canonical = f"{local.lower()}@{_ascii_domain(domain)}"
    try:
        validate_email(canonical)
    except ValidationError as error:
        raise InvalidEmailError from error
    if len(canonical) > MAXIMUM_LENGTH:
        raise InvalidEmailError
    return canonical


def readable_email(canonical: str) -> str:
    """Return the spelling of a canonical address whose domain is as people read it, as U-labels."""
    local, _, domain = canonical.rpartition("@")
    return f"{local}@{domain.encode('ascii').decode('idna')}"


@lru_cache(maxsize=1024)
def _ascii_domain(domain: str) -> str:
    """Return the A-labels of a domain. What does not come back as it went in is a look-alike of another domain."""
    if any(not letter.isascii() and letter.lower().isascii() for letter in domain):  # the Kelvin sign is no k
        raise InvalidEmailError
    try:
        ascii_domain = domain.lower().encode("idna").decode("ascii")
        readable = ascii_domain.encode("ascii").decode("idna")
    except UnicodeError as error:
        raise InvalidEmailError from error
    if not _ASCII_DOMAIN.fullmatch(ascii_domain) or domain.lower() not in {ascii_domain, readable}:
        raise InvalidEmailError
    return ascii_domain


class EmailAddress(models.Model):
    """The address of one user. A user without a row, or whose row has another address, counts as unverified.

    Attributes:
        email: as the user typed it; mails go to this spelling.
        canonical: the spelling of `canonical_email`, unique.
        verified_at: when the address was proved, or None.
    """

    user = models.OneToOneField(
        django_settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        on_delete=models.DO_NOTHING,  # the database does, see `user_ties`
        related_name="authkit_email",
        db_constraint=False,
    )
    # The context keeps the translation from replacing that of Django's own "email address" in the whole project.
    email = models.CharField(pgettext_lazy("of an account", "email address"), max_length=MAXIMUM_LENGTH)
    # Translators: the one spelling under which an email address is looked up.
    canonical = models.CharField(_("canonical spelling"), max_length=MAXIMUM_LENGTH)
    verified_at = models.DateTimeField(_("verified at"), null=True, blank=True)

    objects = PrimaryManager["EmailAddress"]()

    class Meta:
        verbose_name = pgettext_lazy("of an account", "email address")
        verbose_name_plural = _("email addresses")
        indexes = [
            # For the admin's list of addresses that wait; they are few among many.
            models.Index(fields=["id"], condition=models.Q(verified_at=None), name="authkit_email_waiting")
        ]
        constraints = [models.UniqueConstraint(fields=["canonical"], name="authkit_email_canonical")]

    def __str__(self) -> str:
        return self.email
