"""Passwords: change one's own, or set a new one with an emailed link."""

import copy
import uuid
from functools import partial
from typing import Any

from django.contrib.auth.hashers import check_password
from django.db import IntegrityError
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit import emails, signals
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import accounts_database, atomic, settings
from ninja_auth_kit.exceptions import SessionEndedError, WrongPasswordError
from ninja_auth_kit.models import OneTimeToken, UserSession
from ninja_auth_kit.models.email_addresses import InvalidEmailError, canonical_email
from ninja_auth_kit.models.one_time_tokens import Purpose
from ninja_auth_kit.models.sessions import EndReason
from ninja_auth_kit.models.users import (
    has_address,
    lock_user,
    mark_address_verified,
    may_reset_password,
    password_context,
    stored_email,
    user_by_pk,
)
from ninja_auth_kit.services.account import lock_unchanged
from ninja_auth_kit.services.internal.email_links import reject_token, send_link
from ninja_auth_kit.services.internal.password_rules import check_new_password
from ninja_auth_kit.services.internal.throttling import (
    count_owner_email,
    count_request,
    forgive,
    new_password_slot,
    password_check,
)
from ninja_auth_kit.services.internal.user_fields import find_account


@sensitive_variables()
def change_password(
    *, user: Any, session_id: uuid.UUID, current_password: str, new_password: str, client: ClientInfo
) -> None:
    """Change a user's own password. This session continues, all others end, and the owner gets an email.

    Args:
        user: the owner of the account, who is logged in.
        session_id: the session that continues.
        current_password: as typed; a stolen access token alone must not be enough (ASVS 6.2.3).
        new_password: as typed.
        client: the caller.

    Raises:
        WrongPasswordError: `current_password` is not the password of the account.
        InvalidInputError: `new_password` breaks a rule.
        SessionEndedError: the password or the session has changed, or the user was disabled, in the meantime.
        ThrottledError: too many wrong passwords for this account, or too many passwords hashed for this network.
        ServiceUnavailableError: too many passwords are being hashed.
    """
    with password_check(user=user, client=client):
        if not check_password(current_password, user.password):
            signals.password_change_failed.announce(
                user=user, client=client, session_id=session_id, reason="wrong_password"
            )
            raise WrongPasswordError
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
        OneTimeToken.objects.filter(user=user, purpose=Purpose.RESET_PASSWORD).delete()
        signals.password_changed.announce(user=user, client=client, session_id=session_id, sessions_ended=len(ended))
    emails.after_answer(partial(_send_changed_notice, user.pk), using=accounts_database())


@sensitive_variables()
def _copy_with_password(user: Any, password: str, client: ClientInfo) -> Any:
    """Return an unsaved copy of the user with a new password. Call it before any transaction: no lock may wait."""
    changed = copy.copy(user)
    with new_password_slot(client):
        changed.set_password(password)
    return changed


def _send_changed_notice(user_id: Any) -> None:
    user = user_by_pk(user_id)
    if user is not None and count_owner_email(stored_email(user)):
        emails.send("password_changed", to=stored_email(user), context=emails.site_context())


def request_password_reset(*, email: str, client: ClientInfo) -> None:
    """Send a link for a new password if an account has the address. The caller does not learn whether one has.

    With it, an account without a password gets its first one, unless `PASSWORD_RESET_SETS_FIRST_PASSWORD` is off.

    Args:
        email: as typed; the email is sent to the spelling that the account has.
        client: the caller.

    Raises:
        InvalidInputError: `email` is not a valid address.
        ImproperlyConfigured: there is no page for the link.
        ThrottledError: too many requests from this network.
    """
    count_request(client)
    page = emails.page_url(Purpose.RESET_PASSWORD)
    user = find_account(email)
    signals.password_reset_requested.announce(user=user, client=client, identifier=email)
    user_id = None if user is None else user.pk
    # The job is queued even if there is no user: without it, the answer would be faster.
    emails.after_answer(partial(_send_reset_link, user_id, email, page, client), using=accounts_database())


def _send_reset_link(user_id: Any, email: str, page: str, client: ClientInfo) -> None:
    user = None if user_id is None else user_by_pk(user_id)
    may_reset = user is not None and may_reset_password(user)
    send_link(
        user if may_reset else None,
        purpose=Purpose.RESET_PASSWORD,
        email=email,
        page=page,
        lifetime=settings.PASSWORD_RESET_LIFETIME,
        client=client,
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
    emails.after_answer(partial(_send_changed_notice, row.user_id), using=accounts_database())


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
            OneTimeToken.objects.filter(user=user).exclude(pk=row.pk).delete()
            signals.password_reset.announce(user=user, client=client, sessions_ended=len(ended))
            return True
    except (IntegrityError, InvalidEmailError):  # another account has verified the address by now
        return False
