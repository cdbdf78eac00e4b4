"""Sessions: starting one within the limit, checking one, listing and ending them."""

import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import Error
from django.db.models import QuerySet
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit import signals
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import atomic, imported, settings
from ninja_auth_kit.exceptions import (
    InvalidTokenError,
    ServiceUnavailableError,
    SessionEndedError,
    SessionLimitReachedError,
    SessionNotFoundError,
)
from ninja_auth_kit.models import UserSession
from ninja_auth_kit.models.sessions import EndReason
from ninja_auth_kit.tokens import (
    AccessClaims,
    has_known_key,
    is_password_fingerprint,
    issue_access_token,
    issue_refresh_token,
    password_fingerprint,
    password_fingerprints,
    read_access_token,
    refresh_token_digest,
)

logger = logging.getLogger("ninja_auth_kit.sessions")


@dataclass(frozen=True)
class TokenPair:
    """An access token and a refresh token, with their lifetimes in seconds: the only place where they are in clear."""

    access_token: str
    expires_in: int
    refresh_token: str
    refresh_expires_in: int
    session_id: uuid.UUID

    def __repr__(self) -> str:
        return f"<TokenPair of session {self.session_id}>"


@sensitive_variables()
def check_access_token(token: str, *, with_email: bool = False) -> UserSession:
    """Return the live session of an access token, with its user, by one query.

    Args:
        token: the access token.
        with_email: whether to load `user.authkit_email`, which tells if the address is verified, by the same query.

    Raises:
        InvalidTokenError: not a token of ours, or of nobody who is there.
        TokenExpiredError: its time is over.
        SessionEndedError: logout, another login, a disabled account, a changed password, or the absolute limit.
        ServiceUnavailableError: the database did not answer; nobody gets in (ASVS 16.5.3).
    """
    return session_of(read_access_token(token), with_email=with_email)


def session_of(claims: AccessClaims, *, with_email: bool = False) -> UserSession:
    """Return the live session of an access token that was read already; see `check_access_token`."""
    try:
        session = UserSession.objects.load_for_check(claims.session_id, with_email=with_email)
    except Error as error:
        logger.exception("A session could not be checked.")
        raise ServiceUnavailableError from error
    if session is None or str(session.user_id) != claims.user_id:
        raise InvalidTokenError
    if not session.is_valid() or session.has_expired(timezone.now()):
        raise SessionEndedError
    return session


def new_session(*, user: Any, client: ClientInfo) -> UserSession:
    """Return a session that is not stored yet, for the host to see before it says what the token is to claim."""
    return UserSession(
        id=uuid.uuid4(),
        user=user,
        ip_address=client.ip_address,
        user_agent=client.user_agent,
    )


def start_session(session: UserSession, *, user: Any, extra: Mapping[str, Any], client: ClientInfo) -> TokenPair:
    """Start a session, and end what the limit leaves no place for.

    The caller holds the lock of the user's row, which puts logins of one user in a line; the unique index on the
    slot would refuse a second session even without it.

    Args:
        session: of `new_session`.
        user: whose; locked.
        extra: the host's claims for the access token.
        client: who is calling.

    Raises:
        SessionLimitReachedError: there is no place, and `SESSION_LIMIT_POLICY` is "reject".
        ImproperlyConfigured: the claims cannot be put into a token; the transaction must roll back.
    """
    now = timezone.now()
    session.user, session.login_time, session.refreshed_at = user, now, now
    session.slot = _free_slot(user, client=client)
    first = issue_refresh_token(session_id=session.pk, generation=0)
    session.refresh_token = refresh_token_digest(first, user_id=user.pk)
    session.refresh_expires_at = now + min(settings.REFRESH_TOKEN_LIFETIME, settings.SESSION_LIFETIME)
    session.expires_at = now + settings.SESSION_LIFETIME
    session.auth_hash = password_fingerprint(user.password)
    UserSession.objects.start(session)
    signals.logged_in.announce(user=user, client=client, session_id=session.pk)
    return token_pair(session, access_token=access_token(session, extra=extra))


def extra_claims(session: UserSession) -> Mapping[str, Any]:
    """Return the host's claims for a token of this session. Ask before any lock: the host's code may take its time.

    Raises:
        ImproperlyConfigured: the setting names nothing that can be called, or what it returns is no mapping.
        Exception: whatever the host's code raises; no token is issued then.
    """
    ask = imported("ACCESS_TOKEN_CLAIMS")
    if ask is None:
        return {}
    if not callable(ask):
        raise ImproperlyConfigured("NINJA_AUTH_KIT['ACCESS_TOKEN_CLAIMS'] names nothing that can be called.")
    claims = ask(session.user, session)
    if not isinstance(claims, Mapping):
        kind = type(claims).__name__
        raise ImproperlyConfigured(f"NINJA_AUTH_KIT['ACCESS_TOKEN_CLAIMS'] must return a mapping, not {kind}.")
    return claims


def access_token(session: UserSession, *, extra: Mapping[str, Any]) -> str:
    """Return a new access token of a session, with the host's claims in it."""
    return issue_access_token(user_id=str(session.user_id), session_id=session.pk, extra=extra)


def token_pair(session: UserSession, *, access_token: str) -> TokenPair:
    """Return an access token and the current refresh token of a session."""
    return TokenPair(
        access_token=access_token,
        expires_in=int(settings.ACCESS_TOKEN_LIFETIME.total_seconds()),
        refresh_token=issue_refresh_token(
            session_id=session.pk, generation=session.generation, stored=session.refresh_token
        ),
        refresh_expires_in=max(0, round((session.refresh_expires_at - timezone.now()).total_seconds())),
        session_id=session.pk,
    )


def list_sessions(*, user: Any) -> QuerySet[UserSession]:
    """Return the sessions of a user that count, the newest first."""
    now = timezone.now()
    live = UserSession.objects.filter(user=user, is_active=True, refresh_expires_at__gt=now)
    return live.filter(auth_hash__in=password_fingerprints(user.password)).order_by("-login_time")


def end_session(*, user: Any, session_id: str, client: ClientInfo) -> None:
    """End one session of a user, on the user's own wish.

    Args:
        user: whose.
        session_id: which, as it came; what is no UUID is no session.
        client: who is calling.

    Raises:
        SessionNotFoundError: no active session of this user has this id.
    """
    try:
        key = uuid.UUID(session_id)
    except ValueError:
        raise SessionNotFoundError from None
    with atomic():
        ended = UserSession.objects.end(reason=EndReason.REVOKED, ids=[key], user_id=user.pk)
        if ended:
            _announce_end(user, key, EndReason.REVOKED, by="user", client=client)
    if not ended:
        raise SessionNotFoundError


def _free_slot(user: Any, *, client: ClientInfo) -> int | None:
    """Return a free place among the user's sessions, making one if need be; None where there is no limit."""
    limit = settings.SESSION_LIMIT
    if limit is None:
        return None
    alive = _without_dead(user, client=client)
    surplus = max(0, len(alive) - limit + 1)
    if surplus and settings.SESSION_LIMIT_POLICY == "reject":
        raise SessionLimitReachedError
    _end(user, alive[:surplus], EndReason.REPLACED, client=client)
    taken = {session.slot for session in alive[surplus:]}
    return next(slot for slot in count() if slot not in taken)


def _without_dead(user: Any, *, client: ClientInfo) -> list[UserSession]:
    """Return the sessions that count, the oldest first, and end the active rows that do not: they take places."""
    now = timezone.now()
    active = UserSession.objects.active_for(user)
    fates = {session: _fate(session, user, now) for session in active}
    for reason in (EndReason.EXPIRED, EndReason.REVOKED, EndReason.PASSWORD_CHANGED):
        _end(user, [session for session in active if fates[session] is reason], reason, client=client)
    return [session for session in active if fates[session] is None]


def _fate(session: UserSession, user: Any, now: datetime) -> EndReason | None:
    """Return why a session does not count any more, or None where it does."""
    if session.has_expired(now):
        return EndReason.EXPIRED
    if is_password_fingerprint(session.auth_hash, user.password):
        return None
    # Of a root that was removed nothing can be compared: removing it is what ended the session.
    return EndReason.PASSWORD_CHANGED if has_known_key(session.auth_hash) else EndReason.REVOKED


def _end(user: Any, sessions: list[UserSession], reason: EndReason, *, client: ClientInfo) -> None:
    if not sessions:
        return
    for ended in UserSession.objects.end(reason=reason, ids=[session.pk for session in sessions]):
        _announce_end(user, ended.id, reason, by="system", client=client)


def _announce_end(user: Any, session_id: uuid.UUID, reason: EndReason, *, by: str, client: ClientInfo) -> None:
    signals.session_revoked.announce(user=user, client=client, session_id=session_id, reason=reason.value, by=by)
