"""Verification: prove that an email address belongs to its account."""

from functools import partial
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
from ninja_auth_kit.services.internal.email_links import reject_token, send_link
from ninja_auth_kit.services.internal.throttling import count_request, password_check
from ninja_auth_kit.services.internal.user_fields import find_account


@sensitive_variables()
def verify_email(*, token: str, client: ClientInfo, password: str | None = None) -> str:
    """Verify an address with the token that was emailed to it, and return the address.

    The password of the account is required too, so that following a link that somebody else has requested activates
    nothing (Sudhodanan and Paverd, "Pre-hijacked accounts", 2022). A wrong password does not use the token up.
    Verification does not start a session and does not undo a ban.

    Args:
        token: as it was emailed.
        client: the caller.
        password: as typed; may be None only if `EMAIL_VERIFICATION_REQUIRES_PASSWORD` is off.

    Raises:
        InvalidInputError: `EMAIL_VERIFICATION_REQUIRES_PASSWORD` is on and there is no password.
        InvalidOneTimeTokenError: the token is unknown, used, expired, superseded or of another purpose, the account
            has another address by now, or the password is wrong.
        ThrottledError: too many wrong passwords for this account, or too many rejected tokens from this network.
        ServiceUnavailableError: too many passwords are being hashed.
    """
    if settings.EMAIL_VERIFICATION_REQUIRES_PASSWORD and password is None:
        raise InvalidInputError(FieldError("password", "required", _("This field is required.")))
    row = OneTimeToken.objects.find(purpose=Purpose.VERIFY_EMAIL, token=token)
    if row is None:
        raise _reject("invalid_token", client=client)
    if settings.EMAIL_VERIFICATION_REQUIRES_PASSWORD:
        with password_check(user=row.user, client=client):
            if not check_password(password, row.user.password):
                raise _reject("wrong_password", client=client, user=row.user)
    if not _verify(row, client=client):
        raise _reject("superseded", client=client, user=row.user)
    return row.email


def _verify(row: OneTimeToken, *, client: ClientInfo) -> bool:
    """Use the token up and verify the address, in one transaction. Return whether the account still allowed it."""
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
    except (IntegrityError, InvalidEmailError):  # another account has verified the address by now
        return False


def _reject(reason: str, *, client: ClientInfo, user: Any | None = None) -> InvalidOneTimeTokenError:
    return reject_token(
        signals.verification_failed,
        reason,
        client=client,
        user=user,
        or_password=settings.EMAIL_VERIFICATION_REQUIRES_PASSWORD,
    )


def resend_verification(*, email: str, client: ClientInfo) -> None:
    """Send a new verification link if an account waits for one. The caller does not learn whether it does.

    Args:
        email: as typed; the email is sent to the spelling that the account has.
        client: the caller.

    Raises:
        InvalidInputError: `email` is not a valid address.
        ImproperlyConfigured: there is no page for the link.
        ThrottledError: too many requests from this network.
    """
    count_request(client)
    page = emails.page_url(Purpose.VERIFY_EMAIL)
    user = find_account(email)
    signals.verification_requested.announce(user=user, client=client, identifier=email)
    job = partial(send_verification_link, user, email=email, page=page, client=client)
    emails.after_answer(job, using=accounts_database())


def send_verification_link(user: Any | None, *, email: str, page: str, client: ClientInfo | None) -> None:
    """Send a new verification link, which supersedes the earlier one.

    Run it after the answer, with `emails.after_answer`, even if there is no user: without the job, the answer would be
    faster. It then does the work of `send_link` without a user.

    Args:
        user: the recipient as the request has read it, or None.
        email: the address as typed.
        page: the URL that the link opens.
        client: the caller, whose rate limits apply, or None for an administrator.
    """
    current = None if user is None else user_by_pk(user.pk)
    # With another password, a newer registration has replaced this one. It sends its own email.
    is_same = user is not None and current is not None and current.password == user.password
    send_link(
        current if is_same and _awaits_verification(current) else None,
        purpose=Purpose.VERIFY_EMAIL,
        email=email,
        page=page,
        lifetime=settings.EMAIL_VERIFICATION_LIFETIME,
        client=client,
        password_required=settings.EMAIL_VERIFICATION_REQUIRES_PASSWORD,
    )


def _awaits_verification(user: Any) -> bool:
    return not is_verified(user) and getattr(user, "is_active", True) and has_password_for_link(user)


def has_password_for_link(user: Any) -> bool:
    """Return whether a user can use a verification link: it may ask for the password, which the account may lack.

    A user without a password resets it instead, which verifies the address, too.
    """
    return not settings.EMAIL_VERIFICATION_REQUIRES_PASSWORD or user.has_usable_password()
