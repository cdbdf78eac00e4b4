"""The end of every login: the gates of the features, and the only place that starts a session.

A password, and every other first factor, ends here. If a gate finds that a second factor is due, the login is pending,
and ends here again when the factor was proved. So no kind of login can forget to ask.
"""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Any, NamedTuple

from django.contrib.auth import user_logged_in
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit import features, signals
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import accounts_database, settings
from ninja_auth_kit.exceptions import EmailNotVerifiedError, InvalidCredentialsError, SessionLimitReachedError
from ninja_auth_kit.levels import described, level_of
from ninja_auth_kit.models import UserSession
from ninja_auth_kit.models.sessions import EndReason
from ninja_auth_kit.models.users import is_verified, lock_user, may_authenticate
from ninja_auth_kit.services.internal.session_tokens import TokenPair, access_token, custom_claims, token_pair
from ninja_auth_kit.short_transaction import short_atomic
from ninja_auth_kit.tokens import (
    has_known_key,
    is_password_fingerprint,
    issue_refresh_token,
    password_fingerprint,
    refresh_token_digest,
)


@dataclass(frozen=True)
class Proof:
    """How a user was authenticated.

    Attributes:
        methods: methods of `levels.METHODS`, without "mfa", which follows from the others.
        check_again: called with the locked user. It raises an exception if what was proved does not hold any more.
    """

    methods: frozenset[str]
    check_again: Callable[[Any], None] = lambda _: None


@dataclass(frozen=True)
class PendingLogin:
    """A login that waits for a second factor. It is no session, and opens no route.

    Attributes:
        challenge_token: what the second step must send.
        methods: the factors that the user has, in the words of the API.
        expires_in: seconds.
    """

    challenge_token: str
    methods: tuple[str, ...]
    expires_in: int

    def __repr__(self) -> str:
        return f"<PendingLogin {', '.join(self.methods)}>"


class PasswordHashChangedError(Exception):
    """The password hash of a user is not the one that was checked.

    Attributes:
        current_hash: the hash that the user has now.
    """

    def __init__(self, current_hash: str) -> None:
        super().__init__()
        self.current_hash = current_hash


def password_proof(checked_hash: str) -> Proof:
    """Return the proof of a login with a password.

    Args:
        checked_hash: the password hash that was checked. `check_again` raises `PasswordHashChangedError` if the user
            has another one by then.
    """

    def check_again(user: Any) -> None:
        if user.password != checked_hash:
            raise PasswordHashChangedError(user.password)

    return Proof(frozenset({"pwd"}), check_again)


@sensitive_variables()
def finish_login(
    user: Any, *, request: HttpRequest, client: ClientInfo, proof: Proof, device_token: str | None = None
) -> TokenPair | PendingLogin:
    """Start a session under the lock of the user, unless a second factor is due. Every kind of login ends here.

    Args:
        user: the user who has been authenticated.
        request: for the receivers of Django's `user_logged_in`.
        client: the client to record.
        proof: how the user was authenticated.
        device_token: the token of a remembered device, as received.

    Returns:
        The tokens, or the pending login. A pending login has ended no session and taken no slot.

    Raises:
        Exception: what `proof.check_again` raises.
        InvalidCredentialsError: the user is disabled or deleted.
        EmailNotVerifiedError: the email address is not verified.
        SessionLimitReachedError: there is no free slot, and `SESSION_LIMIT_POLICY` is "reject".
        ImproperlyConfigured: `ACCESS_TOKEN_CLAIMS` returns claims that a token cannot carry.
    """
    session = new_session(user=user, client=client, proof=proof)
    claims = _claims_before_lock(session)
    with short_atomic():
        current, active = _lock_for_login(user)
        proof.check_again(current)
        for gate in features.gates():
            asked: Proof | PendingLogin = gate(current, proof, client=client, device_token=device_token)
            if isinstance(asked, PendingLogin):
                return asked
            proof = asked
        if claims is None:
            claims = custom_claims(session)
        pair = insert_session(session, user=current, active=active, claims=claims, client=client, proof=proof)
        transaction.on_commit(
            # `type(current)`, because `user` may be a lazy object, such as `request.user`.
            lambda: user_logged_in.send_robust(sender=type(current), request=request, user=user),
            using=accounts_database(),
            robust=True,
        )
        return pair


def new_session(*, user: Any, client: ClientInfo, proof: Proof) -> UserSession:
    """Return a session that is not stored yet. Custom claims are computed from it before the user is locked.

    A gate may still add that the device is remembered, which does not change the level.
    """
    session = UserSession(id=uuid.uuid4(), user=user, ip_address=client.ip_address, user_agent=client.user_agent)
    session.authenticated_at = timezone.now()
    _set_level(session, proof)
    return session


def _set_level(session: UserSession, proof: Proof) -> None:
    session.aal, session.amr = level_of(proof.methods), " ".join(described(proof.methods))


def _claims_before_lock(session: UserSession) -> Mapping[str, Any] | None:
    """Return the custom claims, or None if the login is about to be rejected.

    The code of the project may be slow, so it runs before the user is locked. A login that will be rejected must not
    wait for it: the login of a registration that was turned away has no claims to wait for, and would be faster.
    """
    user = session.user
    if settings.ACCESS_TOKEN_CLAIMS is None or not may_authenticate(user):
        return None
    return custom_claims(session) if _is_verified_if_required(user) else None


class ActiveSessions(NamedTuple):
    """The sessions of a user that are marked active, valid or not, the oldest first, and the time before the reading.

    A refresh does not lock the user, so the expiry of a session may be later by now. Compared with that time, none
    counts as expired that was not.
    """

    time: datetime
    sessions: list[UserSession]


def _lock_for_login(user: Any) -> tuple[Any, ActiveSessions | None]:
    """Lock the user, and repeat the checks that were made before the lock. Return also the sessions, if read.

    They are read in the round trip of the lock if that does no harm:

    - With the policy "reject", what the login does before it starts its session may end others, and make room.
    - The login to a registration that was turned away locks its user as well (`uniform.burn_lock`), and must take as
      long as the login to one that waits for its owner. So neither reads sessions.
    """
    is_harmless = settings.SESSION_LIMIT_POLICY == "replace" and _is_verified_if_required(user)
    active = None
    if settings.SESSION_LIMIT is not None and is_harmless:
        now = timezone.now()
        current, sessions = UserSession.objects.lock_user_and_read_active(user.pk)
        active = ActiveSessions(now, sessions)
    else:
        current = lock_user(user.pk)
    if current is None or not may_authenticate(current):
        raise InvalidCredentialsError
    if not _is_verified_if_required(current):
        raise EmailNotVerifiedError
    return current, active


def _is_verified_if_required(user: Any) -> bool:
    return not settings.EMAIL_VERIFICATION_REQUIRED or is_verified(user)


def insert_session(
    session: UserSession,
    *,
    user: Any,
    claims: Mapping[str, Any],
    client: ClientInfo,
    proof: Proof,
    active: ActiveSessions | None = None,
) -> TokenPair:
    """Store a session, ending those that exceed the limit, and return its tokens.

    The lock of the user serializes logins. Even without it, the unique index on user and slot would refuse a second
    session in one slot.

    Args:
        session: from `new_session`.
        user: the user; locked.
        claims: the custom claims.
        client: the client of the request.
        proof: how the user was authenticated.
        active: the active sessions, if they were read when the user was locked.
    """
    now = timezone.now()
    session.user, session.login_time, session.refreshed_at, session.authenticated_at = user, now, now, now
    _set_level(session, proof)
    session.slot, ending = _free_slot(user, now, active)
    first_token = issue_refresh_token(session_id=session.pk, generation=0)
    session.refresh_token = refresh_token_digest(first_token, user_id=user.pk)
    session.refresh_expires_at = now + min(settings.REFRESH_TOKEN_LIFETIME, settings.SESSION_LIFETIME)
    session.expires_at = now + settings.SESSION_LIFETIME
    session.auth_hash = password_fingerprint(user.password)
    ended = UserSession.objects.start(session, ending=ending)
    for session_id, reason in ending.items():
        if session_id in ended:
            announce_end(user, session_id, reason, by="system", client=client)
    login = session.authentication
    signals.logged_in.announce(
        user=user, client=client, session_id=session.pk, methods=list(login.methods), acr=login.acr
    )
    return token_pair(session, access_token=access_token(session, claims=claims), refresh_token=first_token)


def _free_slot(user: Any, now: datetime, read: ActiveSessions | None) -> tuple[int | None, dict[uuid.UUID, EndReason]]:
    """Return the slot for a new session, and the sessions that end for it. No slot if sessions are not limited.

    An expiry, or a password that was changed by other means, leaves a row active and its slot taken until it is found
    here.
    """
    limit = settings.SESSION_LIMIT
    if limit is None:
        return None, {}
    time, active = read or ActiveSessions(now, UserSession.objects.active_for(user))
    reasons = {session: _reason_to_end(session, user, time) for session in active}
    ending: dict[uuid.UUID, EndReason] = {
        session.pk: reason
        for reason in (EndReason.EXPIRED, EndReason.REVOKED, EndReason.PASSWORD_CHANGED)
        for session in active
        if reasons[session] is reason
    }
    valid = [session for session in active if reasons[session] is None]
    surplus = max(0, len(valid) - limit + 1)
    if surplus and settings.SESSION_LIMIT_POLICY == "reject":
        raise SessionLimitReachedError
    ending |= {session.pk: EndReason.REPLACED for session in valid[:surplus]}
    taken = {session.slot for session in valid[surplus:]}
    return next(slot for slot in count() if slot not in taken), ending


def _reason_to_end(session: UserSession, user: Any, now: datetime) -> EndReason | None:
    """Return why an active session is not valid any more, or None if it is valid."""
    if session.has_expired(now):
        return EndReason.EXPIRED
    if is_password_fingerprint(session.auth_hash, user.password):
        return None
    # A digest under a removed root secret cannot be compared: removing the secret has ended the session.
    return EndReason.PASSWORD_CHANGED if has_known_key(session.auth_hash) else EndReason.REVOKED


def announce_end(user: Any, session_id: uuid.UUID, reason: EndReason, *, by: str, client: ClientInfo | None) -> None:
    """Announce that a session ended for a reason that has no signal of its own."""
    signals.session_revoked.announce(user=user, client=client, session_id=session_id, reason=reason.value, by=by)
