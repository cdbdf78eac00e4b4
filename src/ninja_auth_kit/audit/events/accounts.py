"""Events of accounts: made, changed, deleted, or not."""

from dataclasses import dataclass

from ninja_auth_kit.audit.events.envelope import Event, NoDetails
from ninja_auth_kit.audit.events.registry import event


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
