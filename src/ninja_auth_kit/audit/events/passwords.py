"""Events of passwords: changed, reset, or not."""

from dataclasses import dataclass

from ninja_auth_kit.audit.events.addresses import ONE_TIME_TOKENS
from ninja_auth_kit.audit.events.envelope import Event, NoDetails
from ninja_auth_kit.audit.events.registry import event


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
