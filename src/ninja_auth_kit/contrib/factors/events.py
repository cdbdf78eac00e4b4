"""The audit events of second factors. None has a code, a secret, a credential or an address.

A consumer imports this module to know them. It needs no Django.
"""

from ninja_auth_kit.audit.events.base import Event, Members, event


class RequestDetails(Members):
    """The methods that the user can answer with."""

    methods: list[str]


@event("session.factor_requested", route="session.factor.success", signal="", by="user", ocsf="3002/99")
class FactorRequested(Event):
    """A first factor was right, and a second one is due. No session was started, and none was ended."""

    details: RequestDetails


class MethodDetails(Members):
    """The method that was tried, or null if the challenge itself was refused."""

    method: str | None


@event(
    "session.factor_failed",
    route="session.factor.failure",
    signal="",
    by="anonymous",
    fact=True,
    reasons={
        "invalid_challenge": "the challenge is not genuine, expired, used, or void since the account changed",
        "invalid_factor": "the code or the credential is wrong or was used",
    },
    ocsf="3002/99",
)
class FactorFailed(Event):
    """A second factor was refused at login."""

    details: MethodDetails


class StepUpDetails(Members):
    """The method that was proved, and the level that followed."""

    method: str
    acr: str


@event(
    "session.stepped_up",
    route="session.step_up.success",
    signal="",
    by="user",
    ocsf="3002/99",
    shared_signal="CAEP assurance-level-change",
)
class SteppedUp(Event):
    """A user who is logged in proved more, or proved it again."""

    details: StepUpDetails


class FailedStepUpDetails(Members):
    """The method that was tried."""

    method: str


@event(
    "session.step_up_failed",
    route="session.step_up.failure",
    signal="",
    by="user",
    fact=True,
    reasons={
        "invalid_challenge": "the challenge is not genuine, expired or used",
        "wrong_factor": "the code or the credential is wrong or was used",
        "wrong_password": "the password is wrong",
    },
    ocsf="3002/99",
)
class StepUpFailed(Event):
    """A step-up was refused."""

    details: FailedStepUpDetails


class FactorDetails(Members):
    """The id and the kind of the factor."""

    factor_id: str
    kind: str


@event(
    "factor.added",
    route="factor.added.success",
    signal="",
    by="user",
    ocsf="3001/10, 3007/12",
    shared_signal="CAEP credential-change",
)
class FactorAdded(Event):
    """A second factor was confirmed. If it is the first, all sessions have ended, and a new one was started.

    With `authtype` "system", it was imported from another package, and no session was started.
    """

    details: FactorDetails


@event(
    "factor.removed",
    route="factor.removed.success",
    signal="",
    by="user",
    ocsf="3001/11, 3007/13",
    shared_signal="CAEP credential-change",
)
class FactorRemoved(Event):
    """A user removed a second factor. If it was the last, all sessions have level 1."""

    details: FactorDetails


class ResetDetails(Members):
    """The kinds of the factors that were removed."""

    kinds: list[str]


@event(
    "factor.reset",
    route="factor.reset.success",
    signal="",
    by="system",
    ocsf="3001/11, 3007/13",
    shared_signal="CAEP credential-change",
)
class FactorsReset(Event):
    """An administrator or operator removed all second factors, recovery codes and remembered devices of a user."""

    details: ResetDetails


class NumberDetails(Members):
    """How many."""

    number: int


@event(
    "recovery.generated",
    route="recovery.generated.success",
    signal="",
    by="user",
    ocsf="3001/99, 3007/2",
)
class RecoveryCodesGenerated(Event):
    """New recovery codes were made. The older ones are void."""

    details: NumberDetails


class LeftDetails(Members):
    """How many recovery codes are left."""

    left: int


@event(
    "recovery.used",
    route="recovery.used.success",
    signal="",
    by="user",
    ocsf="3002/99",
)
class RecoveryCodeUsed(Event):
    """A recovery code was used, at login or for a step-up."""

    details: LeftDetails


class DeviceDetails(Members):
    """The id of the device."""

    device_id: str


@event(
    "device.remembered",
    route="device.remembered.success",
    signal="",
    by="user",
    ocsf="3001/99, 3007/99",
)
class DeviceRemembered(Event):
    """A device was remembered: a login on it is not asked for the second factor."""

    details: DeviceDetails


@event(
    "device.forgotten",
    route="device.forgotten.success",
    signal="",
    by="user",
    ocsf="3001/99, 3007/99",
)
class DevicesForgotten(Event):
    """A user let one or all remembered devices be forgotten."""

    details: NumberDetails


def connect() -> None:
    """Record the events when their signals are announced."""
    # Imported here, because a consumer without Django imports the module.
    from ninja_auth_kit.audit.receivers import connect_event
    from ninja_auth_kit.contrib.factors import signals

    for signal, kind in {
        signals.factor_requested: FactorRequested,
        signals.factor_failed: FactorFailed,
        signals.stepped_up: SteppedUp,
        signals.step_up_failed: StepUpFailed,
        signals.factor_added: FactorAdded,
        signals.factor_removed: FactorRemoved,
        signals.factors_reset: FactorsReset,
        signals.recovery_codes_generated: RecoveryCodesGenerated,
        signals.recovery_code_used: RecoveryCodeUsed,
        signals.device_remembered: DeviceRemembered,
        signals.devices_forgotten: DevicesForgotten,
    }.items():
        connect_event(signal, kind)
