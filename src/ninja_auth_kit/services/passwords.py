"""Passwords: change one's own, or set a new one with an emailed link."""

import copy
import uuid
from functools import partial
from typing import Any

from django.db import IntegrityError
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit import emails, features, signals
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import accounts_database, atomic, settings
from ninja_auth_kit.exceptions import FieldError, InvalidInputError, SessionEndedError
from ninja_auth_kit.models import OneTimeToken, PromisedEmail, UserSession
from ninja_auth_kit.models.email_addresses import InvalidEmailError, canonical_email
from ninja_auth_kit.models.one_time_tokens import Purpose
from ninja_auth_kit.models.promised_emails import EmailKind, NewEmail
from ninja_auth_kit.models.sessions import EndReason
from ninja_auth_kit.models.users import (
    has_address,
    lock_user,
    mark_address_verified,
    may_reset_password,
    may_set_password,
    password_context,
    stored_email,
)
from ninja_auth_kit.services.account import lock_unchanged
from ninja_auth_kit.services.internal.email_links import reject_token, send_link, send_notice
from ninja_auth_kit.services.internal.own_password import check_own_password
from ninja_auth_kit.services.internal.password_hashing import set_normalized_password
from ninja_auth_kit.services.internal.password_rules import check_new_password
from ninja_auth_kit.services.internal.promises import promise, sends, user_of
from ninja_auth_kit.services.internal.throttling import (
    count_email_request,
    forgive,
    new_password_slot,
)
from ninja_auth_kit.services.internal.user_fields import find_account


@sensitive_variables()
def change_password(
    *, user: Any, session_id: uuid.UUID, current_password: str | None, new_password: str, client: ClientInfo
) -> None:
    """Change a user's own password, or set the first one. This session continues, all others end.

    The owner gets an email.

    Args:
        user: the owner of the account, who is logged in.
        session_id: the session that continues.
        current_password: as typed. None for a user who has none: call `require_confirmation` first, because a stolen
            access token alone must not be enough (ASVS 6.2.3).
        new_password: as typed.
        client: the caller.

    Raises:
        WrongPasswordError: `current_password` is not the password of the account.
        InvalidInputError: `new_password` breaks a rule, `current_password` is missing, or the account has none and
            `USERS_SET_FIRST_PASSWORD` is off.
        SessionEndedError: the password or the session has changed, or the user was disabled, in the meantime.
        ThrottledError: too many wrong passwords for this account, or too many passwords hashed for this network.
        ServiceUnavailableError: too many passwords are being hashed.
    """
    failed = partial(
        signals.password_change_failed.announce,
        user=user,
        client=client,
        session_id=session_id,
        reason="wrong_password",
    )
    check_own_password(user, current_password, field="current_password", client=client, announce_failure=failed)
    if not may_set_password(user):
        raise InvalidInputError(
            FieldError("new_password", "first_password_not_allowed", _("This account cannot have a password."))
        )
    check_new_password(new_password, user=user, field="new_password")
    changed = _copy_with_password(user, new_password, client)
    with atomic():
        lock_unchanged(user)
        if not UserSession.objects.update_auth_hash(
            user=user, old=user.password, new=changed.password, only=session_id
        ):
            raise SessionEndedError
        changed.save(using=accounts_database(), update_fields=["password"])
        ended = UserSession.objects.end(reason=EndReason.PASSWORD_CHANGED, user_id=user.pk, except_id=session_id)
        features.forget_devices(user.pk)
        OneTimeToken.objects.filter(user=user, purpose=Purpose.RESET_PASSWORD).delete()
        promise(_changed_notice(user, client))
        signals.password_changed.announce(user=user, client=client, session_id=session_id, sessions_ended=len(ended))


@sensitive_variables()
def _copy_with_password(user: Any, password: str, client: ClientInfo) -> Any:
    """Return an unsaved copy of the user with a new password. Call it before any transaction: no lock may wait."""
    changed = copy.copy(user)
    with new_password_slot(client):
        set_normalized_password(changed, password, field="new_password")
    return changed


def _changed_notice(user: Any, client: ClientInfo) -> NewEmail:
    """Return the notice to the present address, so that an attacker who then changes the address does not get it."""
    return NewEmail(EmailKind.PASSWORD_CHANGED, user, client, address=stored_email(user))


@sends(EmailKind.PASSWORD_CHANGED)
def _send_changed_notice(promised: PromisedEmail) -> None:
    send_notice(promised)


def request_password_reset(*, email: str, client: ClientInfo) -> None:
    """Send a link for a new password if an account has the address. The caller does not learn whether one has.

    With it, an account without a password gets its first one, unless `USERS_SET_FIRST_PASSWORD` is off.

    Args:
        email: as typed; the email is sent to the spelling that the account has.
        client: the caller.

    Raises:
        InvalidInputError: `email` is not a valid address.
        ImproperlyConfigured: there is no page for the link.
        ThrottledError: too many requests from this network, or too many emails for it.
    """
    count_email_request(client)
    page = emails.page_url(Purpose.RESET_PASSWORD)
    user = find_account(email)
    signals.password_reset_requested.announce(user=user, client=client, identifier=email)
    promise(NewEmail(EmailKind.RESET_PASSWORD, user, client, page=page))


@sends(EmailKind.RESET_PASSWORD)
def _send_reset_link(promised: PromisedEmail) -> None:
    user = user_of(promised)
    may_reset = user is not None and promised.is_bound_to() and may_reset_password(user)
    send_link(
        user if may_reset else None,
        promised=promised,
        purpose=Purpose.RESET_PASSWORD,
        lifetime=settings.PASSWORD_RESET_LIFETIME,
        **({} if user is None else password_context(user)),
    )


@sensitive_variables()
def confirm_password_reset(*, token: str, new_password: str, client: ClientInfo) -> None:
    """Set a new password with an emailed token. All sessions end, the address becomes verified, no session starts.

    Args:
        token: as it was emailed.
        new_password: as typed.
        client: the caller.

    Raises:
        InvalidOneTimeTokenError: the token is unknown, used, expired, superseded or of another purpose, or its user
            has since logged in, changed the password or the address, or been disabled.
        InvalidInputError: `new_password` breaks a rule; the token can be used again.
        ThrottledError: too many rejected tokens from this network, or too many passwords hashed for it.
        ServiceUnavailableError: too many passwords are being hashed.
    """
    row = OneTimeToken.objects.find(purpose=Purpose.RESET_PASSWORD, token=token)
    if row is None:
        raise reject_token(signals.password_reset_failed, "invalid_token", client=client)
    check_new_password(new_password, user=row.user, field="new_password")
    if not _may_still_reset(row.user, row) or not _reset_password(
        row, _copy_with_password(row.user, new_password, client), client=client
    ):
        raise reject_token(signals.password_reset_failed, "superseded", client=client, user=row.user)
    forgive(row.user)


def _may_still_reset(user: Any, row: OneTimeToken) -> bool:
    """Return whether the account is still as it was when the token was emailed, and has had no login since then.

    A login proves that the user knows the password.
    """
    emailed_at = row.expires_at - settings.PASSWORD_RESET_LIFETIME
    return (
        may_reset_password(user)
        and row.is_bound_to(user)
        and has_address(user, canonical_email(row.email))
        and not UserSession.objects.filter(user=user, login_time__gt=emailed_at).exists()
    )


def _reset_password(row: OneTimeToken, changed: Any, *, client: ClientInfo) -> bool:
    """Use the token up and set the password, in one transaction. Return whether the account still allowed it."""
    try:
        with atomic():
            user = lock_user(row.user_id)
            # A registration that has replaced this one since the token was found has bound the
            # token to itself.
            bound = OneTimeToken.objects.filter(pk=row.pk).values_list("auth_hash", flat=True).first()
            row.auth_hash = bound or row.auth_hash
            if user is None or not _may_still_reset(user, row) or not OneTimeToken.objects.consume(row):
                return False
            changed.save(using=accounts_database(), update_fields=["password"])
            mark_address_verified(user, row.email)
            ended = UserSession.objects.end(reason=EndReason.PASSWORD_CHANGED, user_id=user.pk)
            features.forget_devices(user.pk)
            OneTimeToken.objects.filter(user=user).exclude(pk=row.pk).delete()
            promise(_changed_notice(user, client))
            signals.password_reset.announce(user=user, client=client, sessions_ended=len(ended))
            return True
    except (IntegrityError, InvalidEmailError):  # another account has verified the address by now
        return False
