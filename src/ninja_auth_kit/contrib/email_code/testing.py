"""A helper for the tests of your project: the code that an email carries."""

import re

from django.core import mail

from ninja_auth_kit.contrib.email_code.codes import ALPHABET

_SHOWN = re.compile(rf"^([{ALPHABET}]{{4}}-[{ALPHABET}]{{4}})$", re.MULTILINE)


def emailed_code(index: int = -1) -> str:
    """Return the login code of an email in `django.core.mail.outbox`.

    Args:
        index: of which email with a code, in the order in which they were sent; the last one by default.

    Raises:
        ValueError: there is no such email. Perhaps no account has the address, or a rate limit was reached.
    """
    codes = [found[1] for message in mail.outbox if (found := _SHOWN.search(str(message.body)))]
    try:
        return codes[index]
    except IndexError:
        raise ValueError(f"No such email: {len(codes)} emails with a login code were sent.") from None
