"""Sessions: starting one within the limit, checking the one of an access token, listing and ending them."""

import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Any

from django.contrib.auth import user_logged_in
from django.core.exceptions import ImproperlyConfigured
from django.db import Error, transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit import signals
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import accounts_database, atomic, imported_callable, settings
from ninja_auth_kit.exceptions import (
    EmailNotVerifiedError,
    InvalidCredentialsError,
    InvalidTokenError,
    ServiceUnavailableError,
    SessionEndedError,
    SessionLimitReachedError,
    SessionNotFoundError,
)
from ninja_auth_kit.models import UserSession
from ninja_auth_kit.models.sessions import EndReason
from ninja_auth_kit.models.users import is_verified, lock_user, may_authenticate
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
    """An access token and a refresh token, with their lifetimes in seconds. Only this class holds tokens in clear."""

    access_token: str
    expires_in: int
    refresh_token: str
    refresh_expires_in: int
    session_id: uuid.UUID

    def __repr__(self) -> str:
        return f"<TokenPair of session {self.session_id}>"


def start_session(user: Any, *, request: HttpRequest, client: ClientInfo | None = None) -> TokenPair:
    """Start a session for a user whom your project has authenticated, such as by single sign-on.

    Every rule of a login applies except the password: a disabled user is rejected, so is an unverified email address
    if `EMAIL_VERIFICATION_REQUIRED` is on, `SESSION_LIMIT` ends or rejects sessions, the token has the claims of
    `ACCESS_TOKEN_CLAIMS`, and the kit's signals, its audit events and Django's `user_logged_in` are sent. Rate limits
    do not apply: no password can be guessed here. Call it outside your own transactions.

    Args:
        user: a saved user.
        request: for the receivers of Django's `user_logged_in`, and for the client.
        client: the client to record, if it is not the client of the request.

    Raises:
        InvalidCredentialsError: the user is disabled or deleted.
        EmailNotVerifiedError: the email address is not verified.
        SessionLimitReachedError: the user has `SESSION_LIMIT` sessions, and `SESSION_LIMIT_POLICY` is "reject".
        ImproperlyConfigured: `ACCESS_TOKEN_CLAIMS` returns claims that a token cannot carry.
        ValueError: the user is not saved.
    """
    if user._state.adding:  # a UUID primary key is set before the user is saved
        raise ValueError("start_session() needs a saved user.")
    client = client or ClientInfo.of(request)
    try:
        return finish_login(user, request=request, client=client)
    except (InvalidCredentialsError, EmailNotVerifiedError, SessionLimitReachedError) as refusal:
        signals.login_failed.announce(user=user, client=client, identifier=user.get_username(), reason=refusal.code)
        raise


class PasswordHashChangedError(Exception):
    """The password hash of a user is not the one that was checked.

    Attributes:
        current_hash: the hash that the user has now.
    """

    def __init__(self, current_hash: str) -> None:
        super().__init__()
        self.current_hash = current_hash


@sensitive_variables()
def finish_login(user: Any, *, request: HttpRequest, client: ClientInfo, checked_hash: str | None = None) -> TokenPair:
    """Start a session under the lock of the user. Every kind of login ends here.

    Args:
        user: the user who has been authenticated.
        request: for the receivers of Django's `user_logged_in`.
        client: the client to record.
        checked_hash: the password hash that was checked; None if the login did not use a password.

    Raises:
        PasswordHashChangedError: the user does not have the hash any more that was checked.
        InvalidCredentialsError: the user is disabled or deleted.
        EmailNotVerifiedError: the email address is not verified.
        SessionLimitReachedError: there is no free slot, and `SESSION_LIMIT_POLICY` is "reject".
        ImproperlyConfigured: `ACCESS_TOKEN_CLAIMS` returns claims that a token cannot carry.
    """
    session = new_session(user=user, client=client)
    claims = _claims_before_lock(session)
    with atomic():
        current = _lock_for_login(user)
        if checked_hash is not None and current.password != checked_hash:
            raise PasswordHashChangedError(current.password)
        if claims is None:
            claims = custom_claims(session)
        pair = insert_session(session, user=current, claims=claims, client=client)
        transaction.on_commit(
            # `type(current)`, because `user` may be a lazy object, such as `request.user`.
            lambda: user_logged_in.send_robust(sender=type(current), request=request, user=user),
            using=accounts_database(),
            robust=True,
        )
        return pair


def new_session(*, user: Any, client: ClientInfo) -> UserSession:
    """Return a session that is not stored yet. Custom claims are computed from it before the user is locked."""
    return UserSession(id=uuid.uuid4(), user=user, ip_address=client.ip_address, user_agent=client.user_agent)


def _claims_before_lock(session: UserSession) -> Mapping[str, Any] | None:
    """Return the custom claims, or None if the login is about to be rejected.

    The code of the project may be slow, so it runs before the user is locked. A login that will be rejected must not
    wait for it: the login of a registration that was turned away has no claims to wait for, and would be faster.
    """
    user = session.user
    if settings.ACCESS_TOKEN_CLAIMS is None or not may_authenticate(user):
        return None
    return custom_claims(session) if not settings.EMAIL_VERIFICATION_REQUIRED or is_verified(user) else None


def _lock_for_login(user: Any) -> Any:
    """Lock the user, and repeat the checks that were made before the lock."""
    current = lock_user(user.pk)
    if current is None or not may_authenticate(current):
        raise InvalidCredentialsError
    if settings.EMAIL_VERIFICATION_REQUIRED and not is_verified(current):
        raise EmailNotVerifiedError
    return current


def insert_session(session: UserSession, *, user: Any, claims: Mapping[str, Any], client: ClientInfo) -> TokenPair:
    """Store a session, ending those that exceed the limit, and return its tokens.

    The lock of the user serialises logins. Even without it, the unique index on user and slot would refuse a second
    session in one slot.
    """
    now = timezone.now()
    session.user, session.login_time, session.refreshed_at = user, now, now
    session.slot = _free_slot(user, client=client)
    first_token = issue_refresh_token(session_id=session.pk, generation=0)
    session.refresh_token = refresh_token_digest(first_token, user_id=user.pk)
    session.refresh_expires_at = now + min(settings.REFRESH_TOKEN_LIFETIME, settings.SESSION_LIFETIME)
    session.expires_at = now + settings.SESSION_LIFETIME
    session.auth_hash = password_fingerprint(user.password)
    UserSession.objects.start(session)
    signals.logged_in.announce(user=user, client=client, session_id=session.pk)
    return token_pair(session, access_token=access_token(session, claims=claims))


def _free_slot(user: Any, *, client: ClientInfo) -> int | None:
    """Return a free slot of the user, ending sessions if the policy says so. None if sessions are not limited."""
    limit = settings.SESSION_LIMIT
    if limit is None:
        return None
    valid = _end_invalid_sessions(user, client=client)
    surplus = max(0, len(valid) - limit + 1)
    if surplus and settings.SESSION_LIMIT_POLICY == "reject":
        raise SessionLimitReachedError
    _end_sessions(user, valid[:surplus], EndReason.REPLACED, client=client)
    taken = {session.slot for session in valid[surplus:]}
    return next(slot for slot in count() if slot not in taken)


def _end_invalid_sessions(user: Any, *, client: ClientInfo) -> list[UserSession]:
    """End the active rows that are not valid any more, because they occupy slots. Return the valid ones, oldest first.

    An expiry, or a password that was changed by other means, leaves a row active until it is found here.
    """
    now = timezone.now()
    active = UserSession.objects.active_for(user)
    reasons = {session: _reason_to_end(session, user, now) for session in active}
    for reason in (EndReason.EXPIRED, EndReason.REVOKED, EndReason.PASSWORD_CHANGED):
        _end_sessions(user, [session for session in active if reasons[session] is reason], reason, client=client)
    return [session for session in active if reasons[session] is None]


def _reason_to_end(session: UserSession, user: Any, now: datetime) -> EndReason | None:
    """Return why an active session is not valid any more, or None if it is valid."""
    if session.has_expired(now):
        return EndReason.EXPIRED
    if is_password_fingerprint(session.auth_hash, user.password):
        return None
    # A digest under a removed root secret cannot be compared: removing the secret has ended the session.
    return EndReason.PASSWORD_CHANGED if has_known_key(session.auth_hash) else EndReason.REVOKED


def _end_sessions(user: Any, sessions: list[UserSession], reason: EndReason, *, client: ClientInfo) -> None:
    if not sessions:
        return
    for ended in UserSession.objects.end(reason=reason, ids=[session.pk for session in sessions]):
        _announce_end(user, ended.id, reason, by="system", client=client)


def custom_claims(session: UserSession) -> Mapping[str, Any]:
    """Return the claims of `ACCESS_TOKEN_CLAIMS` for a session. Call it before locking: it runs code of the project.

    Raises:
        ImproperlyConfigured: the setting does not name a callable, or the callable does not return a mapping.
        Exception: whatever the callable raises. No token is issued then.
    """
    make_claims = imported_callable("ACCESS_TOKEN_CLAIMS")
    if make_claims is None:
        return {}
    claims = make_claims(session.user, session)
    if not isinstance(claims, Mapping):
        kind = type(claims).__name__
        raise ImproperlyConfigured(f"NINJA_AUTH_KIT['ACCESS_TOKEN_CLAIMS'] must return a mapping, not {kind}.")
    return claims


def access_token(session: UserSession, *, claims: Mapping[str, Any]) -> str:
    """Return a new access token of a session, with custom claims."""
    return issue_access_token(user_id=str(session.user_id), session_id=session.pk, extra=claims)


def token_pair(session: UserSession, *, access_token: str) -> TokenPair:
    """Return an access token together with the current refresh token of its session."""
    return TokenPair(
        access_token=access_token,
        expires_in=int(settings.ACCESS_TOKEN_LIFETIME.total_seconds()),
        refresh_token=issue_refresh_token(
            session_id=session.pk, generation=session.generation, stored=session.refresh_token
        ),
        refresh_expires_in=max(0, round((session.refresh_expires_at - timezone.now()).total_seconds())),
        session_id=session.pk,
    )


@sensitive_variables()
def check_access_token(token: str, *, with_email: bool = False) -> UserSession:
    """Return the valid session of an access token, with its user, by one query.

    Args:
        token: the access token.
        with_email: whether the same query loads `user.authkit_email`, which says whether the address is verified.

    Raises:
        InvalidTokenError: the token is not genuine, or its session or user does not exist.
        TokenExpiredError: the token has expired.
        SessionEndedError: the session ended, for example by a logout, another login, a changed password, a disabled
            account, or the absolute limit.
        ServiceUnavailableError: the database did not answer. The request is rejected (ASVS 16.5.3).
    """
    return session_for(read_access_token(token), with_email=with_email)


def session_for(claims: AccessClaims, *, with_email: bool = False) -> UserSession:
    """Return the valid session of the claims of an access token; see `check_access_token`."""
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


def list_sessions(*, user: Any) -> QuerySet[UserSession]:
    """Return the valid sessions of a user, newest first."""
    now = timezone.now()
    valid = UserSession.objects.filter(user=user, is_active=True, refresh_expires_at__gt=now)
    return valid.filter(auth_hash__in=password_fingerprints(user.password)).order_by("-login_time")


def end_session(*, user: Any, session_id: str, client: ClientInfo) -> None:
    """End one session of a user, at the user's own request.

    Args:
        user: the user who is logged in.
        session_id: the id as received. Text that is not a UUID is not the id of a session.
        client: the client of the request.

    Raises:
        SessionNotFoundError: the user has no active session with this id.
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


def _announce_end(user: Any, session_id: uuid.UUID, reason: EndReason, *, by: str, client: ClientInfo) -> None:
    signals.session_revoked.announce(user=user, client=client, session_id=session_id, reason=reason.value, by=by)
