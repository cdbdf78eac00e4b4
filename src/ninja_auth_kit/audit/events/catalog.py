"""Every event of the kit: of accounts, email addresses, passwords, sessions and limits."""

from dataclasses import dataclass
from typing import Literal

from ninja_auth_kit.audit.events.base import Event, NoDetails, event


@dataclass(frozen=True, kw_only=True)
class RegistrationDetails:
    """Whether a registration of the same address, which nobody had proved, was replaced."""

    replaced: bool


@event(
    "user.registered",
    route="user.registered.success",
    signal="user_registered",
    by="anonymous",
    ocsf="3001/1, 3007/1",
)
class UserRegistered(Event):
    """An account was made, or a pending one of the same address was replaced."""

    details: RegistrationDetails


@event(
    "user.registration_failed",
    route="user.registered.failure",
    signal="registration_failed",
    by="anonymous",
    fact=True,
    reasons={
        "registration_closed": "`REGISTRATION_OPEN` is off",
        "address_in_use": "somebody has proved the address",
        "address_proved_by_another": "somebody else proved the address while this registration waited",
        "concurrent_registration": "another of the same address was at it",
        "username_taken": "somebody has the name",
        "…": "the code of the first rule that the input broke, such as `password_too_short`",
    },
    ocsf="3001/1, 3007/1",
)
class RegistrationFailed(Event):
    """A registration changed nothing."""

    details: NoDetails


@dataclass(frozen=True, kw_only=True)
class UpdateDetails:
    """The names of the fields that changed; never their values."""

    fields: list[str]


@event(
    "user.updated",
    route="user.updated.success",
    signal="account_updated",
    by="user",
    ocsf="3007/2",
    twin="CAEP token-claims-change",
)
class AccountUpdated(Event):
    """A user changed fields of the account, as `PROFILE_SCHEMA` allows."""

    details: UpdateDetails


@dataclass(frozen=True, kw_only=True)
class DeletionDetails:
    """How many sessions ended with it."""

    sessions_ended: int


@event(
    "user.deleted",
    route="user.deleted.success",
    signal="account_deleted",
    by="user",
    ocsf="3001/6, 3007/3",
    twin="RISC account-purged",
)
class AccountDeleted(Event):
    """A user deleted the account."""

    details: DeletionDetails


@event(
    "user.deletion_failed",
    route="user.deleted.failure",
    signal="account_deletion_failed",
    by="user",
    fact=True,
    reasons={
        "wrong_password": "the password that was to confirm it is not the account's",
        "protected": "rows of the host need the user",
    },
    ocsf="3001/6, 3007/3",
)
class AccountDeletionFailed(Event):
    """The deletion of an account was refused."""

    details: NoDetails


ONE_TIME_TOKENS = {
    "invalid_token": "unknown, used, expired, or for another purpose",
    "superseded": "since it was mailed the password or the address has changed, a login or another link has voided "
    "it, the account was disabled, or somebody else has proved the address",
}


@event(
    "email.verification_requested",
    route="email.verification_requested.success",
    signal="verification_requested",
    by="anonymous",
    fact=True,
    ocsf="3007/99",
)
class VerificationRequested(Event):
    """A new verification link was asked for, whether or not anybody has the address."""

    details: NoDetails


@event("email.verified", route="email.verified.success", signal="email_verified", by="user", ocsf="3007/2")
class EmailVerified(Event):
    """An address was proved, or vouched for by an administrator."""

    details: NoDetails


@event(
    "email.verification_failed",
    route="email.verified.failure",
    signal="verification_failed",
    by="anonymous",
    fact=True,
    reasons={**ONE_TIME_TOKENS, "wrong_password": "the password beside the token is not the account's"},
    ocsf="3007/2",
)
class VerificationFailed(Event):
    """A verification token or its password was refused."""

    details: NoDetails


@event(
    "email.change_requested",
    route="email.change_requested.success",
    signal="email_change_requested",
    by="user",
    ocsf="3007/99",
)
class EmailChangeRequested(Event):
    """A link to another address was asked for."""

    details: NoDetails


@dataclass(frozen=True, kw_only=True)
class EmailChangeDetails:
    """How many sessions ended with it."""

    sessions_ended: int


@event(
    "email.changed",
    route="email.changed.success",
    signal="email_changed",
    by="user",
    ocsf="3007/2",
    twin="RISC identifier-changed",
)
class EmailChanged(Event):
    """An account has another address, and all sessions have ended."""

    details: EmailChangeDetails


@event(
    "email.change_failed",
    route="email.changed.failure",
    signal="email_change_failed",
    by="anonymous",
    fact=True,
    reasons={
        **ONE_TIME_TOKENS,
        "wrong_password": "the password that was to confirm it is not the account's",
    },
    ocsf="3007/2",
)
class EmailChangeFailed(Event):
    """Another address was refused, when it was asked for or when it was confirmed."""

    details: NoDetails


@dataclass(frozen=True, kw_only=True)
class PasswordDetails:
    """How many sessions ended with the old password."""

    sessions_ended: int


@event(
    "password.changed",
    route="password.changed.success",
    signal="password_changed",
    by="user",
    ocsf="3001/3, 3007/8",
    twin="CAEP credential-change",
)
class PasswordChanged(Event):
    """A user changed the password; that session lives on, the others have ended."""

    details: PasswordDetails


@event(
    "password.change_failed",
    route="password.changed.failure",
    signal="password_change_failed",
    by="user",
    fact=True,
    reasons={"wrong_password": "the current password is another"},
    ocsf="3001/3, 3007/8",
)
class PasswordChangeFailed(Event):
    """A change of the password was refused."""

    details: NoDetails


@event(
    "password.reset_requested",
    route="password.reset_requested.success",
    signal="password_reset_requested",
    by="anonymous",
    fact=True,
    ocsf="3001/4, 3007/9",
    twin="RISC recovery-activated",
)
class PasswordResetRequested(Event):
    """A link for a new password was asked for, whether or not anybody has the address."""

    details: NoDetails


@event(
    "password.reset_completed",
    route="password.reset.success",
    signal="password_reset",
    by="anonymous",
    ocsf="3001/4, 3007/9",
    twin="CAEP credential-change",
)
class PasswordReset(Event):
    """A new password was set with a mailed token, and all sessions have ended."""

    details: PasswordDetails


@event(
    "password.reset_failed",
    route="password.reset.failure",
    signal="password_reset_failed",
    by="anonymous",
    fact=True,
    reasons=ONE_TIME_TOKENS,
    ocsf="3007/9",
)
class PasswordResetFailed(Event):
    """A token for a new password was refused."""

    details: NoDetails


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


@dataclass(frozen=True, kw_only=True)
class ThrottleDetails:
    """The rule of `THROTTLES` whose limit was reached."""

    rule: str


@event(
    "request.throttled",
    route="request.throttled.failure",
    signal="request_throttled",
    by="anonymous",
    fact=True,
)
class RequestThrottled(Event):
    """A limit of `THROTTLES` was reached; told once for each window of it."""

    details: ThrottleDetails
