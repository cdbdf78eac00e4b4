"""Events of sessions: they begin, are refreshed and end, or do not."""

from dataclasses import dataclass
from typing import Literal

from ninja_auth_kit.audit.events.envelope import Event, NoDetails
from ninja_auth_kit.audit.events.registry import event

TOKENS = {
    "invalid_token": "no token of ours, or of no session that is there",
    "token_expired": "the idle or the absolute limit has passed",
    "session_ended": "the session was over before",
}


@event(
    "session.logged_in",
    route="session.login.success",
    signal="logged_in",
    by="user",
    ocsf="3002/1",
    twin="CAEP session-established",
)
class LoggedIn(Event):
    """A session began."""

    details: NoDetails


@event(
    "session.login_failed",
    route="session.login.failure",
    signal="login_failed",
    by="anonymous",
    fact=True,
    reasons={
        "invalid_credentials": "unknown, wrong, disabled, or without a usable password",
        "email_not_verified": "the password was right, and the address is not proved",
        "session_limit_reached": "the password was right, and `SESSION_LIMIT_POLICY` is to reject",
    },
    ocsf="3002/1",
)
class LoginFailed(Event):
    """A login was refused."""

    details: NoDetails


@dataclass(frozen=True, kw_only=True)
class RefreshDetails:
    """Which generation the session has now, and whether this refresh made it."""

    generation: int
    rotated: bool


@event(
    "session.refreshed",
    route="session.refresh.success",
    signal="token_refreshed",
    by="user",
    ocsf="3002/5",
    twin="CAEP session-presented",
)
class TokenRefreshed(Event):
    """A refresh token was rotated, or its successor handed out once more in the grace period."""

    details: RefreshDetails


@event(
    "session.refresh_failed",
    route="session.refresh.failure",
    signal="refresh_failed",
    by="anonymous",
    fact=True,
    reasons=TOKENS,
    ocsf="3002/5",
)
class RefreshFailed(Event):
    """A refresh token was refused."""

    details: NoDetails


@dataclass(frozen=True, kw_only=True)
class ReuseDetails:
    """The generation of the token that came back."""

    generation: int


@event(
    "session.reuse_detected",
    route="session.reuse.failure",
    signal="refresh_reuse_detected",
    by="anonymous",
    fact=True,
    merges=False,
    ocsf="3002/99",
    twin="RISC credential-compromise, CAEP session-revoked",
)
class ReuseDetected(Event):
    """A refresh token that had been rotated came back, and its session was ended (RFC 9700 section 4.14.2)."""

    details: ReuseDetails


@dataclass(frozen=True, kw_only=True)
class LogoutDetails:
    """Whether one session ended or all of the user's, and how many those were."""

    scope: Literal["one", "all"]
    sessions_ended: int


@event(
    "session.logged_out",
    route="session.logout.success",
    signal="logged_out",
    by="user",
    ocsf="3002/2",
    twin="CAEP session-revoked",
)
class LoggedOut(Event):
    """The user ended one session, or all of them."""

    details: LogoutDetails


@event(
    "session.revoked",
    route="session.revoked.success",
    signal="session_revoked",
    by="system",
    reasons={
        "replaced": "by another login, as `SESSION_LIMIT` has it",
        "revoked": "by the user from the list of sessions, by an administrator, or by `authkit_revoke`; or the secret "
        "that it began under is listed no more",
        "expired": "it had expired, which the next login has found",
        "password_changed": "the password was changed by other means, which the next login has found",
        "…": "the word that was given to `authkit_revoke --reason`",
    },
    ocsf="3002/2",
    twin="CAEP session-revoked",
)
class SessionRevoked(Event):
    """A session was ended by another login, its expiry, the list of sessions or an operator.

    Those that end by a logout, a reuse, or with a password, an address or an account, are told by the event of that.
    """

    details: NoDetails
