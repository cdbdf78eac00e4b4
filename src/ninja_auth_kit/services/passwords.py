"""Passwords: changing one's own, and getting a new one by mail."""

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
from ninja_auth_kit.exceptions import (
    InvalidOneTimeTokenError,
    SessionEndedError,
    WrongPasswordError,
)
from ninja_auth_kit.models import OneTimeToken, UserSession
from ninja_auth_kit.models.email_addresses import InvalidEmailError, canonical_email
from ninja_auth_kit.models.one_time_tokens import Purpose
from ninja_auth_kit.models.sessions import EndReason
from ninja_auth_kit.models.users import (
    has_address,
    lock_user,
    mark_address_verified,
    may_authenticate,
    stored_email,
    user_by_pk,
)
from ninja_auth_kit.services.internal.email_links import send_link
from ninja_auth_kit.services.internal.identifiers import user_of
from ninja_auth_kit.services.internal.password_rules import check_new_password
from ninja_auth_kit.services.internal.throttling import (
    count_owner_email,
    count_refused_token,
    count_request,
    forgive,
    new_password_slot,
    password_check,
)


@sensitive_variables()
def change_password(
    *, user: Any, session_id: uuid.UUID, current_password: str, new_password: str, client: ClientInfo
) -> None:
    """Change a user's own password. Every other session ends, this one lives, and the owner is told by mail.

    Args:
        user: whose; logged in.
        session_id: the session that lives on.
        current_password: as typed; a stolen access token alone must not be enough (ASVS 6.2.3).
        new_password: as typed.
        client: who is calling.

    Raises:
        WrongPasswordError: `current_password` is not the password.
        InvalidInputError: `new_password` breaks a rule.
        SessionEndedError: the password or the session changed, or the user was banned, meanwhile.
        ThrottledError: too many wrong passwords for this account, or hashed for this network.
        ServiceUnavailableError: too many passwords are being hashed.
    """
    with password_check(user=user, client=client):
        if not check_password(current_password, user.password):
            signals.password_change_failed.announce(
                user=user, client=client, session_id=session_id, reason="wrong_password"
            )
            raise WrongPasswordError
    check_new_password(new_password, user=user, field="new_password")
    changed = _with_password(user, new_password, client)
    with atomic():
        _require_unchanged(user)
        if not UserSession.objects.update_auth_hash(
            user=user, old=user.password, new=changed.password, only=session_id
        ):
            raise SessionEndedError
        changed.save(using=accounts_database(), update_fields=["password"])
        ended = UserSession.objects.end(reason=EndReason.PASSWORD_CHANGED, user_id=user.pk, except_id=session_id)
        OneTimeToken.objects.filter(user=user, purpose=Purpose.RESET_PASSWORD).delete()
        signals.password_changed.announce(user=user, client=client, session_id=session_id, sessions_ended=len(ended))
    emails.after_answer(partial(_mail_notice, user.pk), using=accounts_database())


def request_password_reset(*, email: str, client: ClientInfo) -> None:
    """Mail a link for a new password, if there is somebody to mail it to; the caller never learns whether.

    Args:
        email: as typed; the mail goes to the spelling of the account.
        client: who is calling.

    Raises:
        InvalidInputError: `email` is no address.
        ImproperlyConfigured: there is no page for the link.
        ThrottledError: too many requests from this network.
    """
    count_request(client)
    page = emails.page_url(Purpose.RESET_PASSWORD)
    user = user_of(email)
    signals.password_reset_requested.announce(user=user, client=client, identifier=email)
    key = None if user is None else user.pk
    emails.after_answer(partial(_mail_link, key, email, page, client), using=accounts_database())


@sensitive_variables()
def confirm_password_reset(*, token: str, new_password: str, client: ClientInfo) -> None:
    """Set a new password with a mailed token. All sessions end, the address counts as proved, nobody is logged in.

    Args:
        token: as it was mailed.
        new_password: as typed.
        client: who is calling.

    Raises:
        InvalidOneTimeTokenError: the token is unknown, used, expired, superseded or of another purpose, or its user
            has since logged in, changed the password or the address, or been disabled.
        InvalidInputError: `new_password` breaks a rule; the token can be used again.
        ThrottledError: too many refused tokens from this network, or passwords hashed for it.
        ServiceUnavailableError: too many passwords are being hashed.
    """
    row = OneTimeToken.objects.find(purpose=Purpose.RESET_PASSWORD, token=token)
    if row is None:
        raise _refused("invalid_token", client=client)
    check_new_password(new_password, user=row.user, field="new_password")
    if not _is_current(row, row.user) or not _reset(
        row, _with_password(row.user, new_password, client), client=client
    ):
        raise _refused("superseded", client=client, user=row.user)
    forgive(row.user)
    emails.after_answer(partial(_mail_notice, row.user_id), using=accounts_database())


def _reset(row: OneTimeToken, changed: Any, *, client: ClientInfo) -> bool:
    """Consume the token and set the password, in one transaction; False where anything changed since it was mailed."""
    try:
        with atomic():
            user = lock_user(row.user_id)
            # A registration that replaced this one meanwhile has bound the token to itself.
            bound = OneTimeToken.objects.filter(pk=row.pk).values_list("auth_hash", flat=True).first()
            row.auth_hash = bound or row.auth_hash
            if user is None or not _is_current(row, user) or not OneTimeToken.objects.consume(row):
                return False
            changed.save(using=accounts_database(), update_fields=["password"])
            mark_address_verified(user, row.email)
            ended = UserSession.objects.end(reason=EndReason.PASSWORD_CHANGED, user_id=user.pk)
            OneTimeToken.objects.filter(user=user).exclude(pk=row.pk).delete()
            signals.password_reset.announce(user=user, client=client, sessions_ended=len(ended))
            return True
    except (IntegrityError, InvalidEmailError):  # another account has proved the address in the meantime
        return False


def _is_current(row: OneTimeToken, user: Any) -> bool:
    """Tell whether the user is still as the token found it: a login since then shows that nothing was forgotten."""
    mailed_at = row.expires_at - settings.PASSWORD_RESET_LIFETIME
    return (
        may_authenticate(user)
        and row.is_bound_to(user)
        and has_address(user, canonical_email(row.email))
        and not UserSession.objects.filter(user=user, login_time__gt=mailed_at).exists()
    )


@sensitive_variables()
def _with_password(user: Any, password: str, client: ClientInfo) -> Any:
    """Return the user with a new password, not saved. Hashed before any transaction: no lock waits for a hash."""
    changed = copy.copy(user)
    with new_password_slot(client):
        changed.set_password(password)
    return changed


def _require_unchanged(user: Any) -> None:
    current = lock_user(user.pk)
    if current is None or current.password != user.password or not may_authenticate(current):
        raise SessionEndedError


def _mail_link(key: Any, asked: str, page: str, client: ClientInfo) -> None:
    found = None if key is None else user_by_pk(key)
    user = found if found is not None and may_authenticate(found) and found.has_usable_password() else None
    send_link(
        user,
        purpose=Purpose.RESET_PASSWORD,
        email=asked,
        page=page,
        lifetime=settings.PASSWORD_RESET_LIFETIME,
        client=client,
    )


def _mail_notice(key: Any) -> None:
    user = user_by_pk(key)
    if user is not None and count_owner_email(stored_email(user)):
        emails.send("password_changed", to=stored_email(user), context=emails.site_context())


def _refused(reason: str, *, client: ClientInfo, user: Any | None = None) -> InvalidOneTimeTokenError:
    count_refused_token(client)
    signals.password_reset_failed.announce(user=user, client=client, reason=reason)
    return InvalidOneTimeTokenError()
