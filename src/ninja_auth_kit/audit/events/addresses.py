"""Events of e-mail addresses: proved, changed, or not. The addresses themselves are in none of them."""

from dataclasses import dataclass

from ninja_auth_kit.audit.events.envelope import Event, NoDetails
from ninja_auth_kit.audit.events.registry import event

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
