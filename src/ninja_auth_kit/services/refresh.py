"""Refresh: exchanging a refresh token for a new pair. Atomic, and tolerant of lost answers."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any
from uuid import UUID

from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit import signals
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import atomic, settings
from ninja_auth_kit.exceptions import (
    InvalidTokenError,
    SessionEndedError,
    TokenExpiredError,
    TokenReusedError,
)
from ninja_auth_kit.models import BlacklistedToken, UserSession
from ninja_auth_kit.models.sessions import EndReason
from ninja_auth_kit.services.internal.session_tokens import TokenPair, access_token, custom_claims, token_pair
from ninja_auth_kit.services.internal.throttling import count_refused_token
from ninja_auth_kit.short_transaction import short_atomic
from ninja_auth_kit.tokens import (
    RefreshClaims,
    is_refresh_token_digest,
    issue_refresh_token,
    read_refresh_token,
    refresh_token_digest,
    refresh_token_digests,
)

# A request that loses the race for a rotation reads the session again and finds the successor that the winner made.
_ATTEMPTS = 3


class Generation(Enum):
    """What the generation of a refresh token is to its session."""

    CURRENT = auto()
    IN_GRACE = auto()
    REUSED = auto()
    FUTURE = auto()


@sensitive_variables()
def refresh(*, token: str, client: ClientInfo) -> TokenPair:
    """Rotate a refresh token (RFC 9700 section 4.14.2).

    - The current token is replaced by a successor.
    - Its immediate predecessor gets the same successor again for `REFRESH_GRACE_PERIOD`, or with None until that
      successor is rotated. Two tabs, a lost answer or twenty parallel requests end up with one working pair.
    - Any older token, or the predecessor after that time, is reuse. It ends the session.

    Args:
        token: the refresh token, as received.
        client: the client of the request.

    Raises:
        InvalidTokenError: the token is not genuine, or its session does not exist.
        TokenExpiredError: the idle or the absolute limit of the session has passed.
        TokenReusedError: the token was reused. The session has been ended.
        SessionEndedError: the session had ended before.
        ThrottledError: too many rejected tokens from this network.
        ImproperlyConfigured: `ACCESS_TOKEN_CLAIMS` returns claims that a token cannot carry. The token is not rotated.
    """
    session_id = None
    try:
        claims = read_refresh_token(token)
        session_id = claims.session_id
        return _refresh(claims, token, client=client)
    except TokenReusedError:
        raise  # `_end_reused_session` has announced it
    except InvalidTokenError as refusal:
        count_refused_token(client)
        session = UserSession.objects.load(session_id) if session_id else None
        signals.refresh_failed.announce(
            user=session.user if session else None, client=client, session_id=session_id, reason=refusal.code
        )
        raise


@sensitive_variables()
def _refresh(claims: RefreshClaims, token: str, *, client: ClientInfo) -> TokenPair:
    for _attempt in range(_ATTEMPTS):
        now = timezone.now()
        session = _load_valid_session(claims, now)
        match _classify(claims, session, now):
            case Generation.CURRENT:
                pair = _rotate(session, token, client=client)
                if pair is not None:
                    return pair
            case Generation.IN_GRACE:
                return _repeat_successor(session, token, client=client)
            case Generation.REUSED:
                raise _end_reused_session(claims, session, client=client)
            case Generation.FUTURE:  # genuine, so the database has gone back in time, for example to a backup
                raise InvalidTokenError
    raise SessionEndedError


def _load_valid_session(claims: RefreshClaims, now: datetime) -> UserSession:
    session = UserSession.objects.load(claims.session_id)
    if session is None:
        raise InvalidTokenError
    if not session.is_valid():
        raise SessionEndedError
    if session.has_expired(now):
        raise TokenExpiredError
    return session


def _classify(claims: RefreshClaims, session: UserSession, now: datetime) -> Generation:
    """Compare the generation of a token with that of its session.

    Only the immediate predecessor has a grace period. An older token can only come from a copy. A successor counts as
    used when it has been rotated: its own generation is then the predecessor.
    """
    if claims.generation > session.generation:
        return Generation.FUTURE
    if claims.generation == session.generation:
        return Generation.CURRENT
    grace: timedelta | None = settings.REFRESH_GRACE_PERIOD
    is_parent = claims.generation == session.generation - 1
    is_recent = grace is None or (grace > timedelta(0) and now - session.refreshed_at <= grace)
    return Generation.IN_GRACE if is_parent and is_recent else Generation.REUSED


def _rotate(
    session: UserSession, token: str, *, client: ClientInfo, claims: Mapping[str, Any] | None = None
) -> TokenPair | None:
    """Move the session to its next generation, and return the new pair. None if a parallel request did it first.

    Args:
        session: the session as it was read.
        token: its current refresh token.
        client: the client of the request.
        claims: the custom claims, if they are known already.

    Raises:
        SessionEndedError: the row does not hold the digest of this token, so the kit has not written it.
    """
    if not is_refresh_token_digest(session.refresh_token, token, user_id=session.user_id):
        raise SessionEndedError
    # Before the rotation: if the custom claims fail, the refresh token stays valid.
    access = access_token(session, claims=custom_claims(session) if claims is None else claims)
    successor = issue_refresh_token(session_id=session.pk, generation=session.generation + 1)
    digest = refresh_token_digest(successor, user_id=session.user_id)
    now = timezone.now()  # after the claims, which may take a while: the grace period begins here
    expiry = min(now + settings.REFRESH_TOKEN_LIFETIME, session.expires_at)
    with short_atomic():
        if not UserSession.objects.rotate(session, token=digest, now=now, refresh_expires_at=expiry):
            return None
        _announce(session, client=client, rotated=True)
    return token_pair(session, access_token=access, refresh_token=successor)


@sensitive_variables()
def rotate_session(session_id: UUID, *, client: ClientInfo, claims: Mapping[str, Any]) -> TokenPair:
    """Rotate the refresh token of a session whose user has just proved something, and return the new pair.

    The former token has the grace period, as after a refresh.

    Args:
        session_id: the id of the session.
        client: the client of the request.
        claims: the custom claims. They are made before the user is locked.

    Raises:
        SessionEndedError: the session has ended, or the kit has not written its row.
    """
    for _attempt in range(_ATTEMPTS):
        session = UserSession.objects.load(session_id)
        if session is None or not session.is_valid():
            raise SessionEndedError
        pair = _rotate(session, _current_token(session), client=client, claims=claims)
        if pair is not None:
            return pair
    raise SessionEndedError


@sensitive_variables()
def _repeat_successor(session: UserSession, token: str, *, client: ClientInfo) -> TokenPair:
    """Return the pair of the current generation again.

    Raises:
        SessionEndedError: the current token or the presented one is blacklisted, or the kit has not written the row.
    """
    current = _current_token(session)
    is_own = is_refresh_token_digest(session.refresh_token, current, user_id=session.user_id)
    withdrawn = [session.refresh_token, *refresh_token_digests(token, user_id=session.user_id)]
    if not is_own or BlacklistedToken.objects.filter(token__in=withdrawn).exists():
        raise SessionEndedError
    access = access_token(session, claims=custom_claims(session))
    _announce(session, client=client, rotated=False)
    return token_pair(session, access_token=access, refresh_token=current)


def _current_token(session: UserSession) -> str:
    """Return the refresh token of the current generation again. Only the digest in the row says whether it is valid.

    Raises:
        InvalidTokenError: the root that the digest names is not a root any more.
    """
    return issue_refresh_token(session_id=session.pk, generation=session.generation, stored=session.refresh_token)


def _end_reused_session(claims: RefreshClaims, session: UserSession, *, client: ClientInfo) -> InvalidTokenError:
    """End the session in a transaction that commits before the error is raised, and return the error.

    If several requests find the reuse at the same time, one of them ends the session and announces it.
    """
    with atomic():
        ended = UserSession.objects.end(reason=EndReason.REUSED, ids=[session.pk])
        if ended:
            signals.refresh_reuse_detected.announce(
                user=session.user, client=client, session_id=session.pk, generation=claims.generation
            )
    return TokenReusedError() if ended else SessionEndedError()


def _announce(session: UserSession, *, client: ClientInfo, rotated: bool) -> None:
    signals.token_refreshed.announce(
        user=session.user,
        client=client,
        session_id=session.pk,
        generation=session.generation,
        rotated=rotated,
    )
