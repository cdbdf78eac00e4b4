"""The email with a code. Who gets one is decided after the response, which is the same for every address."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import TextChoices
from django.utils import timezone
from django.utils.timesince import timeuntil
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit import emails
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import settings
from ninja_auth_kit.contrib.email_code.codes import new_code, shown
from ninja_auth_kit.contrib.email_code.models import LoginCode, key_of
from ninja_auth_kit.models import PromisedEmail
from ninja_auth_kit.models.promised_emails import NewEmail
from ninja_auth_kit.models.users import find_holder, find_user, is_pending, may_authenticate, stored_email
from ninja_auth_kit.services.internal.promises import promise, sends
from ninja_auth_kit.services.internal.throttling import count_email_if_any
from ninja_auth_kit.services.internal.uniform import render_unsent
from ninja_auth_kit.tokens import Ticket


class CodeEmail(TextChoices):
    """What an email is about. The template has the same name."""

    LOGIN_CODE = "login_code"


def registers() -> bool:
    """Return whether a code registers an address that has no account."""
    return bool(settings.EMAIL_CODE["REGISTERS"] and settings.REGISTRATION_OPEN)


def promise_code(email: str, ticket: Ticket, *, client: ClientInfo) -> None:
    """Promise an email, whether or not one will be sent."""
    page = f"{key_of(ticket)} {int(ticket.expires_at.timestamp())}"
    promise(NewEmail(CodeEmail.LOGIN_CODE, None, client, address=email, page=page))


@dataclass(frozen=True)
class Recipient:
    """Who gets a code.

    Attributes:
        email: where it is sent.
        user: whom it logs in, or None if it registers the address.
    """

    email: str
    user: Any | None


def recipient_of(email: str) -> Recipient | None:
    """Return who gets a code for an address, or None. It is as many queries for every address.

    - A user with this address, verified or not: the code proves the address. It is sent to the spelling that the user
      has. A disabled user gets none.
    - With `REGISTERS`, the owner of the mailbox, if no account has the address, or only a registration that was never
      verified.
    """
    user, holder = find_user(email), find_holder(email)
    if user is not None and not is_pending(user):
        return Recipient(stored_email(user), user) if may_authenticate(user) else None
    if registers() and (holder is None or is_pending(holder)):
        return Recipient(email, None)
    return None


@sends(CodeEmail.LOGIN_CODE)
@sensitive_variables()
def _send_code(promised: PromisedEmail) -> None:
    key, _, seconds = promised.page.partition(" ")
    ticket, expires_at = UUID(key), datetime.fromtimestamp(int(seconds), UTC)
    recipient = recipient_of(promised.address)
    if not promised.is_bound_to() or expires_at <= timezone.now():  # an email that the mail server took too late
        recipient = None
    code = new_code()
    # `link`, which the layout asks for: Django logs a variable that is missing together with all others.
    context = {**emails.site_context(), "code": shown(code), "lifetime": _in_words(expires_at), "link": ""}
    email = None if recipient is None else recipient.email
    if not count_email_if_any(email, client=promised.first_client()) or recipient is None:
        burn_code_lookup(ticket)
        render_unsent(promised.kind, context)
        return
    LoginCode.objects.store(
        ticket=ticket, user=recipient.user, email=recipient.email, code=code, expires_at=expires_at
    )
    emails.send(promised.kind, to=recipient.email, context=context)


def burn_code_lookup(ticket: UUID) -> None:
    """Look up a code that does not exist.

    Attack: the same as for `uniform.burn_token_lookup`. For an address that gets no code, none is stored.

    Test:
    tests/features/email_code/test_enumeration_by_code.py::test_the_email_for_an_unknown_address_asks_the_same_tables
    """
    LoginCode.objects.filter(pk=ticket).exists()


def _in_words(expires_at: datetime) -> str:
    """Return the rest of the lifetime, such as "10 minutes"."""
    now = timezone.now()
    minutes = math.ceil((expires_at - now).total_seconds() / 60)
    return timeuntil(now + timedelta(minutes=max(1, minutes)), now)
