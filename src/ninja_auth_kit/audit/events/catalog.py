"""Every event of the kit: accounts, email addresses, passwords, sessions and rate limits.

The docstrings and the meanings of the reasons are published in docs/events.md and in the AsyncAPI document.
"""

from dataclasses import field
from typing import Literal

from ninja_auth_kit.audit.events.base import Event, Members, NoDetails, event


class RegistrationDetails(Members):
    """Whether an earlier registration of the same email address, which was not verified, was replaced."""

    replaced: bool


@event(
    "user.registered",
    route="user.registered.success",
    signal="user_registered",
    by="anonymous",
    ocsf="3001/1, 3007/1",
)
class UserRegistered(Event):
    """An account was created, or a pending one with the same email address was replaced."""

    details: RegistrationDetails


@event(
    "user.registration_failed",
    route="user.registered.failure",
    signal="registration_failed",
    by="anonymous",
    fact=True,
    reasons={
        "registration_closed": "`REGISTRATION_OPEN` is False",
        "address_in_use": "another account has verified the email address",
        "address_proved_by_another": "another account verified the email address while this registration was pending",
        "concurrent_registration": "another registration of the same email address was in progress",
        "username_taken": "another account has the username; other unique fields have such a code, too",
        "…": "the code of the first rule that the input violated, such as `password_too_short`",
    },
    ocsf="3001/1, 3007/1",
)
class RegistrationFailed(Event):
    """A registration failed and changed nothing."""

    details: NoDetails


class UpdateDetails(Members):
    """The names of the changed fields, but never their values."""

    fields: list[str]


@event(
    "user.updated",
    route="user.updated.success",
    signal="account_updated",
    by="user",
    ocsf="3001/99, 3007/2",
)
class AccountUpdated(Event):
    """A user changed fields of the account that `PROFILE_SCHEMA` allows."""

    details: UpdateDetails


class DeletionDetails(Members):
    """The number of sessions that were ended."""

    sessions_ended: int


@event(
    "user.deleted",
    route="user.deleted.success",
    signal="account_deleted",
    by="user",
    ocsf="3001/6, 3007/3",
    shared_signal="RISC account-purged",
)
class AccountDeleted(Event):
    """A user deleted the account, or `authkit_prune` deleted a registration that was never verified."""

    details: DeletionDetails


@event(
    "user.deletion_failed",
    route="user.deleted.failure",
    signal="account_deletion_failed",
    by="user",
    fact=True,
    reasons={
        "wrong_password": "the password that confirms the deletion is wrong",
        "protected": "other rows of your project depend on the user",
    },
    ocsf="3001/6, 3007/3",
)
class AccountDeletionFailed(Event):
    """The deletion of an account was refused."""

    details: NoDetails


ONE_TIME_TOKENS = {
    "invalid_token": "unknown, used, expired, or issued for another purpose",
    "superseded": "since the email was sent, the password or the email address was changed, a login or another link "
    "invalidated the token, the account was disabled, or another account verified the email address",
}


@event(
    "email.verification_requested",
    route="email.verification_requested.success",
    signal="verification_requested",
    by="anonymous",
    fact=True,
    ocsf="3001/99, 3007/99",
)
class VerificationRequested(Event):
    """A new verification link was requested, whether or not an account has the email address."""

    details: NoDetails


@event("email.verified", route="email.verified.success", signal="email_verified", by="user", ocsf="3001/99, 3007/2")
class EmailVerified(Event):
    """An email address was verified by its owner, or marked as verified by an administrator or an operator."""

    details: NoDetails


@event(
    "email.verification_failed",
    route="email.verified.failure",
    signal="verification_failed",
    by="anonymous",
    fact=True,
    reasons={**ONE_TIME_TOKENS, "wrong_password": "the password that was sent with the token is wrong"},
    ocsf="3001/99, 3007/2",
)
class VerificationFailed(Event):
    """A verification was refused because of its token or its password."""

    details: NoDetails


@event(
    "email.change_requested",
    route="email.change_requested.success",
    signal="email_change_requested",
    by="user",
    ocsf="3001/99, 3007/99",
)
class EmailChangeRequested(Event):
    """A change of the email address was requested."""

    details: NoDetails


class EmailChangeDetails(Members):
    """The number of sessions that were ended."""

    sessions_ended: int


@event(
    "email.changed",
    route="email.changed.success",
    signal="email_changed",
    by="user",
    ocsf="3001/99, 3007/2",
    shared_signal="RISC recovery-information-changed",
)
class EmailChanged(Event):
    """The email address of an account was changed, and all its sessions were ended."""

    details: EmailChangeDetails


@event(
    "email.change_failed",
    route="email.changed.failure",
    signal="email_change_failed",
    by="anonymous",
    fact=True,
    reasons={
        **ONE_TIME_TOKENS,
        "wrong_password": "the password that confirms the change is wrong",
    },
    ocsf="3001/99, 3007/2",
)
class EmailChangeFailed(Event):
    """A change of the email address was refused, when it was requested or when it was confirmed."""

    details: NoDetails


class PasswordDetails(Members):
    """The number of sessions that were ended."""

    sessions_ended: int


@event(
    "password.changed",
    route="password.changed.success",
    signal="password_changed",
    by="user",
    ocsf="3001/3, 3007/8",
    shared_signal="CAEP credential-change",
)
class PasswordChanged(Event):
    """A user changed the password. The session that changed it stays active, the others were ended."""

    details: PasswordDetails


@event(
    "password.change_failed",
    route="password.changed.failure",
    signal="password_change_failed",
    by="user",
    fact=True,
    reasons={"wrong_password": "the current password is wrong"},
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
    shared_signal="RISC recovery-activated",
)
class PasswordResetRequested(Event):
    """A password reset was requested, whether or not an account has the email address."""

    details: NoDetails


@event(
    "password.reset_completed",
    route="password.reset.success",
    signal="password_reset",
    by="anonymous",
    ocsf="3001/4, 3007/9",
    shared_signal="CAEP credential-change",
)
class PasswordReset(Event):
    """A new password was set with an emailed token, and all sessions were ended."""

    details: PasswordDetails


@event(
    "password.reset_failed",
    route="password.reset.failure",
    signal="password_reset_failed",
    by="anonymous",
    fact=True,
    reasons=ONE_TIME_TOKENS,
    ocsf="3001/4, 3007/9",
)
class PasswordResetFailed(Event):
    """A password reset was refused because of its token."""

    details: NoDetails


TOKENS = {
    "invalid_token": "not a token of the kit, or its session does not exist",
    "token_expired": "the idle limit or the absolute limit has passed",
    "session_ended": "the session had ended before",
}


class LoginDetails(Members):
    """How the user was authenticated: the methods and the level of the access token, its `amr` and `acr`."""

    # Defaults, because events of an earlier version do not have them.
    methods: list[str] = field(default_factory=list)
    acr: str = "aal1"


@event(
    "session.logged_in",
    route="session.login.success",
    signal="logged_in",
    by="user",
    ocsf="3002/1",
    shared_signal="CAEP session-established",
)
class LoggedIn(Event):
    """A session was started."""

    details: LoginDetails


@event(
    "session.login_failed",
    route="session.login.failure",
    signal="login_failed",
    by="anonymous",
    fact=True,
    reasons={
        "invalid_credentials": "unknown account, wrong password, disabled account, or no usable password",
        "email_not_verified": "the password was right, but the email address is not verified",
        "session_limit_reached": "the password was right, but the user has reached `SESSION_LIMIT`, and "
        '`SESSION_LIMIT_POLICY` is `"reject"`',
        "invalid_factor": "the emailed code was wrong, or its user is disabled",
        "invalid_challenge": "the challenge of an emailed code was not genuine, expired, used, or void since the "
        "account changed",
    },
    ocsf="3002/1",
)
class LoginFailed(Event):
    """A login was refused."""

    details: NoDetails


class RefreshDetails(Members):
    """The current generation of the session, and whether this refresh created it."""

    generation: int
    rotated: bool


@event(
    "session.refreshed",
    route="session.refresh.success",
    signal="token_refreshed",
    by="user",
    ocsf="3002/99",
    shared_signal="CAEP session-presented",
)
class TokenRefreshed(Event):
    """A refresh token was rotated, or its successor was returned again within the grace period."""

    details: RefreshDetails


@event(
    "session.refresh_failed",
    route="session.refresh.failure",
    signal="refresh_failed",
    by="anonymous",
    fact=True,
    reasons=TOKENS,
    ocsf="3002/99",
)
class RefreshFailed(Event):
    """A refresh token was refused."""

    details: NoDetails


class ReuseDetails(Members):
    """The generation of the reused token."""

    generation: int


@event(
    "session.reuse_detected",
    route="session.reuse.failure",
    signal="refresh_reuse_detected",
    by="anonymous",
    fact=True,
    is_aggregated=False,
    ocsf="3002/99",
    shared_signal="CAEP session-revoked",
)
class ReuseDetected(Event):
    """A refresh token was reused after its rotation, and its session was ended (RFC 9700 section 4.14.2)."""

    details: ReuseDetails


class LogoutDetails(Members):
    """Whether one session or all sessions of the user were ended, and how many."""

    scope: Literal["one", "all"]
    sessions_ended: int


@event(
    "session.logged_out",
    route="session.logout.success",
    signal="logged_out",
    by="user",
    ocsf="3002/2",
    shared_signal="CAEP session-revoked",
)
class LoggedOut(Event):
    """A user ended one session, or all of them."""

    details: LogoutDetails


@event(
    "session.revoked",
    route="session.revoked.success",
    signal="session_revoked",
    by="system",
    reasons={
        "replaced": "another login replaced the session, because of `SESSION_LIMIT`",
        "revoked": "revoked by the user in the list of sessions, by an administrator, or by `authkit_revoke`; or the "
        "secret under which the session was started is no longer listed",
        "expired": "the session had expired, which the next login found",
        "password_changed": "the password was changed by other means, which the next login found",
        "…": "the word given to `authkit_revoke --reason`",
    },
    ocsf="3002/2",
    shared_signal="CAEP session-revoked",
)
class SessionRevoked(Event):
    """A session was ended by another login, its expiry, the list of sessions or an operator.

    Sessions that end with a logout, a reuse, a new password, a new email address or the account are reported by the
    event of that action instead.
    """

    details: NoDetails


class ThrottleDetails(Members):
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
    """A rate limit of `THROTTLES` was reached. It is recorded once for each window of the limit."""

    details: ThrottleDetails
