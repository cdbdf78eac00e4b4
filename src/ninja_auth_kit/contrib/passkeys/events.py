"""The audit events of passkeys. They have no credential id, public key or challenge.

A consumer imports this module to know them. It needs no Django.
"""

from ninja_auth_kit.audit.events.base import Event, Members, event


class PasskeyDetails(Members):
    """The id of the factor."""

    factor_id: str


@event(
    "passkey.clone_suspected",
    route="passkey.clone.failure",
    signal="",
    by="anonymous",
    fact=True,
    ocsf="3002/99",
)
class CloneSuspected(Event):
    """A passkey signed with a counter that did not rise, and was refused. There may be a copy of it."""

    details: PasskeyDetails


def connect() -> None:
    """Record the events when their signals are announced."""
    # Imported here, because a consumer without Django imports the module.
    from ninja_auth_kit.audit.receivers import connect_event
    from ninja_auth_kit.contrib.passkeys import signals

    connect_event(signals.clone_suspected, CloneSuspected)
