"""Refresh: a refresh token for a new pair. Atomic, so that it cannot be spent twice, and forgiving of lost answers."""

from datetime import datetime, timedelta

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
from ninja_auth_kit.services.internal.throttling import count_refused_token
from ninja_auth_kit.services.sessions import TokenPair, access_token, extra_claims, token_pair
from ninja_auth_kit.tokens import (
    RefreshClaims,
    is_refresh_token_digest,
    issue_refresh_token,
    read_refresh_token,
    refresh_token_digest,
)

# A caller who loses the race for a rotation reads again and finds the winner's; more often than that is no race.
_ATTEMPTS = 3


@sensitive_variables()
def refresh(*, token: str, client: ClientInfo) -> TokenPair:
    """Rotate a refresh token (RFC 9700 section 4.14.2).

    The current token gets a successor. Its immediate predecessor gets the same successor again for
    `REFRESH_GRACE_PERIOD`: two tabs, a lost answer or twenty parallel calls end up with one working pair. Anything
    older, or later, is reuse, and ends the session.

    Args:
        token: the refresh token, as it came.
        client: who is calling.

    Raises:
        InvalidTokenError: not a token of ours, or of a session that is not there.
        TokenExpiredError: the idle or the absolute limit has passed.
        TokenReusedError: it was reuse; the session is over.
        SessionEndedError: the session was over before.
        ThrottledError: too many refused tokens from this network.
        ImproperlyConfigured: `ACCESS_TOKEN_CLAIMS` gives what cannot be put into a token; nothing is rotated.
    """
    session_id = None
    try:
        claims = read_refresh_token(token)
        session_id = claims.session_id
        return _refresh(claims, token, client=client)
    except TokenReusedError:
        raise  # `_end_reused` has announced it
    except InvalidTokenError as refusal:
        count_refused_token(client)
        session = UserSession.objects.load(session_id) if session_id else None
        signals.refresh_failed.announce(
            user=session.user if session else None,
            client=client,
            session_id=session_id,
            reason=refusal.code,
        )
        raise


@sensitive_variables()
def _refresh(claims: RefreshClaims, token: str, *, client: ClientInfo) -> TokenPair:
    for _attempt in range(_ATTEMPTS):
        now = timezone.now()
        session = _live_session(claims, now)
        if claims.generation > session.generation:
            raise InvalidTokenError  # genuine, but of no generation that was: the database went back in time
        if claims.generation == session.generation:
            if not is_refresh_token_digest(session.refresh_token, token, user_id=session.user_id):
                break
            # Before the rotation: where the host's claims fail, the refresh token is not spent.
            access = access_token(session, extra=extra_claims(session))
            if _rotate(session, now, client=client):
                return token_pair(session, access_token=access)
            continue
        if not _is_in_grace(claims, session, now):
            raise _end_reused(claims, session, client=client)
        if not _has_own_token(session) or BlacklistedToken.objects.filter(token=session.refresh_token).exists():
            break
        access = access_token(session, extra=extra_claims(session))
        _announce(session, client=client, rotated=False)
        return token_pair(session, access_token=access)
    raise SessionEndedError  # the current token is on the blacklist, or the row is not as the kit wrote it


def _live_session(claims: RefreshClaims, now: datetime) -> UserSession:
    session = UserSession.objects.load(claims.session_id)
    if session is None:
        raise InvalidTokenError
    if not session.is_valid():
        raise SessionEndedError
    if session.has_expired(now):
        raise TokenExpiredError
    return session


def _rotate(session: UserSession, now: datetime, *, client: ClientInfo) -> bool:
    """Move the session to its next generation, in the row and in memory; False where somebody else did first."""
    successor = issue_refresh_token(session_id=session.pk, generation=session.generation + 1)
    digest = refresh_token_digest(successor, user_id=session.user_id)
    expiry = min(now + settings.REFRESH_TOKEN_LIFETIME, session.expires_at)
    with atomic():
        if not UserSession.objects.rotate(session, token=digest, now=now, refresh_expires_at=expiry):
            return False
        _announce(session, client=client, rotated=True)
    return True


def _is_in_grace(claims: RefreshClaims, session: UserSession, now: datetime) -> bool:
    """Tell whether this is the immediate predecessor, and still in its grace. Only the parent, never a grandparent."""
    grace: timedelta = settings.REFRESH_GRACE_PERIOD
    if grace <= timedelta(0) or claims.generation != session.generation - 1:
        return False
    return now - session.refreshed_at <= grace


def _has_own_token(session: UserSession) -> bool:
    """Tell whether the token that would be issued again is the one whose digest the row has, for this very user."""
    current = issue_refresh_token(session_id=session.pk, generation=session.generation, stored=session.refresh_token)
    return is_refresh_token_digest(session.refresh_token, current, user_id=session.user_id)


def _end_reused(claims: RefreshClaims, session: UserSession, *, client: ClientInfo) -> InvalidTokenError:
    """End the session, in a transaction of its own that commits before the error is raised; return the error.

    Of many who find the reuse at once, one ends the session and announces it.
    """
    with atomic():
        ended = UserSession.objects.end(reason=EndReason.REUSED, ids=[session.pk])
        if ended:
            signals.refresh_reuse_detected.announce(
                user=session.user,
                client=client,
                session_id=session.pk,
                generation=claims.generation,
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
