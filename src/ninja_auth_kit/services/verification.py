"""Verification: prove that an email address belongs to its account."""

from typing import Any

from django.db import IntegrityError
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit import emails, signals
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import atomic, settings
from ninja_auth_kit.exceptions import FieldError, InvalidInputError, InvalidOneTimeTokenError
from ninja_auth_kit.models import OneTimeToken, PromisedEmail
from ninja_auth_kit.models.email_addresses import InvalidEmailError, canonical_email
from ninja_auth_kit.models.one_time_tokens import Purpose
from ninja_auth_kit.models.promised_emails import EmailKind, NewEmail
from ninja_auth_kit.models.users import is_verified, lock_user, mark_address_verified, stored_email
from ninja_auth_kit.services.internal.email_links import reject_token, send_link
from ninja_auth_kit.services.internal.lapsed_registrations import extend_reservation
from ninja_auth_kit.services.internal.password_hashing import is_password
from ninja_auth_kit.services.internal.promises import promise, sends, user_of
from ninja_auth_kit.services.internal.throttling import count_email_request, password_check
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
            if not is_password(password or "", row.user.password):
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
        ThrottledError: too many requests from this network, or too many emails for it.
    """
    count_email_request(client)
    page = emails.page_url(Purpose.VERIFY_EMAIL)
    user = find_account(email)
    extend_reservation(canonical_email(email))
    signals.verification_requested.announce(user=user, client=client, identifier=email)
    promise(verification_link(user, page=page, client=client))


def verification_link(user: Any | None, *, page: str, client: ClientInfo | None) -> NewEmail:
    """Return the email with a verification link, to be promised even if there is no user.

    Args:
        user: the recipient as the request has read or changed it, or None.
        page: the URL that the link opens.
        client: the caller, whose rate limits apply, or None for an administrator.
    """
    account = "" if user is None else user.password
    return NewEmail(EmailKind.VERIFY_EMAIL, user, client, page=page, account=account)


@sends(EmailKind.VERIFY_EMAIL)
def _send_verification_link(promised: PromisedEmail) -> None:
    user = user_of(promised)
    # With another password, a newer registration has replaced this one. It has promised its own email.
    may_verify = user is not None and promised.is_bound_to(user.password) and _awaits_verification(user)
    send_link(
        user if may_verify else None,
        promised=promised,
        purpose=Purpose.VERIFY_EMAIL,
        lifetime=settings.EMAIL_VERIFICATION_LIFETIME,
        password_required=settings.EMAIL_VERIFICATION_REQUIRES_PASSWORD,
    )


def _awaits_verification(user: Any) -> bool:
    return not is_verified(user) and getattr(user, "is_active", True) and has_password_for_link(user)


def has_password_for_link(user: Any) -> bool:
    """Return whether a user can use a verification link: it may ask for the password, which the account may lack.

    A user without a password resets it instead, which verifies the address, too.
    """
    return not settings.EMAIL_VERIFICATION_REQUIRES_PASSWORD or user.has_usable_password()
