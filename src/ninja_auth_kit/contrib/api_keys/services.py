"""API keys: create, list and revoke them, and check the one of a request."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.db import DatabaseError, Error
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import atomic, settings
from ninja_auth_kit.contrib.api_keys import signals
from ninja_auth_kit.contrib.api_keys.exceptions import InsufficientScopeError, KeyLimitError, KeyNotFoundError
from ninja_auth_kit.contrib.api_keys.models import ApiKey, id_of
from ninja_auth_kit.contrib.api_keys.notices import KeyEmail
from ninja_auth_kit.contrib.factors.notices import promise_notice
from ninja_auth_kit.exceptions import (
    FieldError,
    InvalidInputError,
    InvalidTokenError,
    ServiceUnavailableError,
    SessionEndedError,
    is_read_only,
)
from ninja_auth_kit.kept_connections import kept_connection
from ninja_auth_kit.models import UserSession
from ninja_auth_kit.models.users import lock_user, may_authenticate
from ninja_auth_kit.services.account import lock_unchanged
from ninja_auth_kit.services.internal.limits import ThrottleSubject, network_buckets, take_hits

logger = logging.getLogger("ninja_auth_kit.api_keys")

REVOKED, PASSWORD_RESET = "revoked", "password_reset"  # reasons of events


@dataclass(frozen=True)
class NewKey:
    """A key that was just created. `key` is shown this once."""

    row: ApiKey
    key: str

    def __repr__(self) -> str:
        return f"<NewKey {self.row.pk}>"


@sensitive_variables()
def create_key(
    *, session: UserSession, name: str, scopes: Iterable[str], expires_in: int | None, client: ClientInfo
) -> NewKey:
    """Create a key. The owner gets an email.

    Args:
        session: the session of the user, who has been authenticated lately.
        name: what the user calls it.
        scopes: what it allows: at least one of `API_KEYS["SCOPES"]`.
        expires_in: for how many seconds it is valid; None for `API_KEYS["LIFETIME"]`.
        client: the client of the request.

    Raises:
        InvalidInputError: a scope is unknown, no scope is given, or the key would be valid for too long.
        KeyLimitError: the user has as many keys as `API_KEYS["LIMIT"]` allows.
        SessionEndedError: the session ended, or the user was disabled or deleted, in the meantime.
    """
    scopes, lifetime = _checked_scopes(scopes), _checked_lifetime(expires_in)
    with atomic():
        user = lock_unchanged(session.user)
        # Again under the lock: `authkit_revoke` ends the sessions, and then revokes the keys that it finds.
        if not UserSession.objects.filter(pk=session.pk, is_active=True).exists():
            raise SessionEndedError
        if ApiKey.objects.valid(user).count() >= settings.API_KEYS["LIMIT"]:
            raise KeyLimitError
        row, key = ApiKey.objects.issue(user, name=name, scopes=scopes, lifetime=lifetime)
        signals.api_key_created.announce(
            user=user,
            client=client,
            key_id=str(row.pk),
            scopes=row.scopes,
            expires_at=row.expires_at.isoformat(),
        )
        promise_notice(KeyEmail.API_KEY_CREATED, user, client)
    return NewKey(row, key)


def _checked_scopes(scopes: Iterable[str]) -> set[str]:
    found = set(scopes)
    if not found:
        raise InvalidInputError(FieldError("scopes", "required", _("This field is required.")))
    if not found <= set(settings.API_KEYS["SCOPES"]):
        raise InvalidInputError(FieldError("scopes", "unknown_scope", _("One of these scopes does not exist.")))
    return found


def _checked_lifetime(expires_in: int | None) -> timedelta:
    if expires_in is None:
        lifetime: timedelta = settings.API_KEYS["LIFETIME"]
        return lifetime
    longest = settings.API_KEYS["MAX_LIFETIME"].total_seconds()
    if not 0 < expires_in <= longest:  # before it is a timedelta, which cannot hold every integer
        raise InvalidInputError(
            FieldError(
                "expires_in", "lifetime_not_allowed", _("A key cannot be valid for that long. Choose a shorter time.")
            )
        )
    return timedelta(seconds=expires_in)


def list_keys(user: Any) -> list[ApiKey]:
    """Return the keys of a user that have not expired, the newest first."""
    return list(ApiKey.objects.valid(user))


def revoke_key(*, user: Any, key_id: UUID, client: ClientInfo) -> None:
    """Revoke a key of a user, at the user's own request.

    Raises:
        KeyNotFoundError: the user has no key with this id.
    """
    with atomic():
        if not _revoke(user, [key_id], client=client):
            raise KeyNotFoundError


def revoke_keys(*, user_id: Any, reason: str = REVOKED) -> int:
    """Revoke every key of a user, and return how many there were.

    Args:
        user_id: the primary key of the user, even if your project's default manager hides the user.
        reason: the reason in the audit events, one word.
    """
    with atomic():
        user = lock_user(user_id)
        return 0 if user is None else len(_revoke(user, reason=reason, by="system"))


def revoke_selected_keys(*, keys: Iterable[ApiKey], client: ClientInfo, **actor: str) -> set[UUID]:
    """Revoke these keys, each in a transaction of its own, and return the ids of those that existed.

    Args:
        keys: the keys, of any users.
        client: the client of the request.
        actor: who revokes them, for the audit events: see `admin_actions.by_admin`.
    """
    revoked: set[UUID] = set()
    for key in keys:
        with atomic():
            revoked |= _revoke(key.user, [key.pk], client=client, **actor)
    return revoked


def revoke_after_reset(*, user: Any, client: ClientInfo | None, **_: Any) -> None:
    """Revoke every key of a user whose password was reset by email, in that transaction: it may be a stranger's.

    This receives the signal `password_reset`.
    """
    _revoke(user, client=client, reason=PASSWORD_RESET)


def _revoke(
    user: Any,
    ids: list[UUID] | None = None,
    *,
    client: ClientInfo | None = None,
    reason: str = REVOKED,
    **actor: str,
) -> set[UUID]:
    """Delete keys of a user in the open transaction, and return the ids of those that this call has deleted."""
    rows = ApiKey.objects.filter(user=user.pk)
    rows = rows if ids is None else rows.filter(pk__in=ids)
    found = set(rows.select_for_update().order_by("pk").values_list("pk", flat=True))
    ApiKey.objects.filter(pk__in=found).delete()
    for key_id in sorted(found):
        signals.api_key_revoked.announce(user=user, client=client, key_id=str(key_id), reason=reason, **actor)
    return found


@sensitive_variables()
def check_key(key: str, *, scopes: Iterable[str], client: ClientInfo) -> ApiKey:
    """Return the row of a valid key that has all these scopes, with its user, by one query.

    Refusals are counted for the network of the client. The use is stored at most once an hour.

    Args:
        key: as received.
        scopes: what the route requires.
        client: the client of the request.

    Raises:
        InvalidTokenError: there is no such key, it has expired, or its user may not log in: the same answer for all.
        InsufficientScopeError: the key does not have one of the scopes.
        ThrottledError: too many keys from this network were refused.
        ServiceUnavailableError: the database did not answer. The request is rejected (ASVS 16.5.3).
    """
    try:
        row = _find(key, client)
        if not set(scopes) <= set(row.scopes):
            _announce_refusal(row, InsufficientScopeError.code, client)
            raise InsufficientScopeError(scopes)
        _note_use(row, key)
    except Error as error:
        logger.exception("An API key could not be checked.")
        raise ServiceUnavailableError from error
    return row


@sensitive_variables()
def _find(key: str, client: ClientInfo) -> ApiKey:
    key_id = id_of(key)
    with kept_connection():
        row = None if key_id is None else ApiKey.objects.load(key_id)
    refuse = partial(_refuse, row, client=client)
    if row is None or not row.is_row_of(key):
        raise refuse("invalid_key")
    if row.expires_at <= timezone.now():
        raise refuse("expired")
    if not may_authenticate(row.user):
        raise refuse("user_disabled")
    return row


def _refuse(row: ApiKey | None, reason: str, *, client: ClientInfo) -> InvalidTokenError:
    """Count a refused key, announce it, and return the error to raise. It is the same for every reason.

    Raises:
        ThrottledError: too many refused keys from this network.
    """
    take_hits(network_buckets("api_key_network", client), ThrottleSubject(client))
    _announce_refusal(row, reason, client)
    return InvalidTokenError()


def _announce_refusal(row: ApiKey | None, reason: str, client: ClientInfo) -> None:
    owner, key_id = (None, None) if row is None else (row.user, str(row.pk))
    signals.api_key_refused.announce(user=owner, client=client, key_id=key_id, reason=reason)


@sensitive_variables()
def _note_use(row: ApiKey, key: str) -> None:
    """Store the use of a key. A database that is read-only for a while does not stop the programs that only read."""
    try:
        ApiKey.objects.note_use(row, key)
    except DatabaseError as error:
        if not is_read_only(error):
            raise
