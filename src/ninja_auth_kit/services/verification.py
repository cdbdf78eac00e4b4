"""Verification: proving that an e-mail address belongs to the account."""

from typing import Any

from django.contrib.auth.hashers import check_password
from django.db import IntegrityError
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit import emails, signals
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import accounts_database, atomic, settings
from ninja_auth_kit.exceptions import FieldError, InvalidInputError, InvalidOneTimeTokenError
from ninja_auth_kit.models import OneTimeToken
from ninja_auth_kit.models.email_addresses import InvalidEmailError, canonical_email
from ninja_auth_kit.models.one_time_tokens import Purpose
from ninja_auth_kit.models.users import is_verified, lock_user, mark_address_verified, stored_email, user_by_pk
from ninja_auth_kit.services.internal.email_links import send_link
from ninja_auth_kit.services.internal.identifiers import user_of
from ninja_auth_kit.services.internal.throttling import count_refused_token, count_request, password_check


@sensitive_variables()
def verify_email(*, token: str, client: ClientInfo, password: str | None = None) -> str:
    """Prove an address with the token that was mailed to it, and return the address.

    The password of the account goes with the token, so that a click on a link that somebody else asked for
    activates nothing (Sudhodanan and Paverd, "Pre-hijacked accounts", 2022). A wrong password does not use the
    token up. Verification is not login and does not undo a ban: no session comes of it.

    Args:
        token: as it was mailed.
        client: who is calling.
        password: as typed; None only where `EMAIL_VERIFICATION_REQUIRES_PASSWORD` is off.

    Raises:
        InvalidInputError: `EMAIL_VERIFICATION_REQUIRES_PASSWORD` is on and there is no password.
        InvalidOneTimeTokenError: the token is unknown, used, expired, superseded or of another purpose, the address
            is not the account's any more, or the password is wrong.
        ThrottledError: too many wrong passwords for this account, or too many refused tokens from this network.
        ServiceUnavailableError: too many passwords are being hashed.
    """
    if settings.EMAIL_VERIFICATION_REQUIRES_PASSWORD and password is None:
        raise InvalidInputError(FieldError("password", "required", _("This field is required.")))
    row = OneTimeToken.objects.find(purpose=Purpose.VERIFY_EMAIL, token=token)
    if row is None:
        raise _refused("invalid_token", client=client)
    if settings.EMAIL_VERIFICATION_REQUIRES_PASSWORD:
        with password_check(user=row.user, client=client):
            if not check_password(password, row.user.password):
                raise _refused("wrong_password", client=client, user=row.user)
    if not _prove(row, client=client):
        raise _refused("superseded", client=client, user=row.user)
    return row.email


def resend_verification(*, email: str, client: ClientInfo) -> None:
    """Mail a new verification link, if there is somebody to verify; the caller never learns whether.

    Args:
        email: as typed; the mail goes to the spelling of the account.
        client: who is calling.

    Raises:
        InvalidInputError: `email` is no address.
        ImproperlyConfigured: there is no page for the link.
        ThrottledError: too many requests from this network.
    """
    count_request(client)
    page = verification_page()
    user = user_of(email)
    signals.verification_requested.announce(user=user, client=client, identifier=email)
    send_verification_link(user, email=email, page=page, client=client)


def verification_page() -> str:
    """Return the address of the page that verification links open.

    Raises:
        ImproperlyConfigured: there is no such page. Check E007 reports it too, but servers run no checks.
    """
    return emails.page_url(Purpose.VERIFY_EMAIL)


def send_verification_link(user: Any | None, *, email: str, page: str, client: ClientInfo | None) -> None:
    """Mail a new verification link after the answer; the older link of the user dies.

    Even for nobody a job is started, so that the answer takes as long; the job then does nothing.

    Args:
        user: to whom, or None.
        email: the address as typed.
        page: what the link opens.
        client: who is calling, and whose limits count; None for an administrator.
    """
    emails.after_answer(lambda: _mail_verification_link(user, email, page, client), using=accounts_database())


def _mail_verification_link(asked: Any | None, email: str, page: str, client: ClientInfo | None) -> None:
    user = None if asked is None else user_by_pk(asked.pk)
    # With another password it was replaced in the meantime, and the newer registration sends its own mail.
    is_same = asked is not None and user is not None and user.password == asked.password
    waiting = user if is_same and _waits(user) else None
    send_link(
        waiting,
        purpose=Purpose.VERIFY_EMAIL,
        email=email,
        page=page,
        lifetime=settings.EMAIL_VERIFICATION_LIFETIME,
        client=client,
        password_required=settings.EMAIL_VERIFICATION_REQUIRES_PASSWORD,
    )


def _waits(user: Any) -> bool:
    return not is_verified(user) and getattr(user, "is_active", True)


def _prove(row: OneTimeToken, *, client: ClientInfo) -> bool:
    """Consume the token and mark the address, in one transaction; False where anything changed since it was read."""
    try:
        with atomic():
            user = lock_user(row.user_id)
            if user is None or user.password != row.user.password or not row.is_bound_to(user):
                return False
            if canonical_email(stored_email(user)) != canonical_email(row.email):
                return False
            if not OneTimeToken.objects.consume(row):
                return False
            mark_address_verified(user, row.email)
            signals.email_verified.announce(user=user, client=client)
            return True
    except (IntegrityError, InvalidEmailError):  # another account has proved the address in the meantime
        return False


def _refused(reason: str, *, client: ClientInfo, user: Any | None = None) -> InvalidOneTimeTokenError:
    count_refused_token(client)
    signals.verification_failed.announce(user=user, client=client, reason=reason)
    return InvalidOneTimeTokenError(or_password=settings.EMAIL_VERIFICATION_REQUIRES_PASSWORD)
