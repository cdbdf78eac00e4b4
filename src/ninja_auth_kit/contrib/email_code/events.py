"""The audit events of email codes. They have no code and no address.

A consumer imports this module to know them. It needs no Django.
"""

from ninja_auth_kit.audit.events.base import Event, NoDetails, event


@event(
    "login_code.requested",
    route="login_code.requested.success",
    signal="",
    by="anonymous",
    fact=True,
    ocsf="3002/99",
)
class LoginCodeRequested(Event):
    """A code for a login was requested, whether or not an account has the email address."""

    details: NoDetails


def connect() -> None:
    """Record the events when their signals are announced."""
    # Imported here, because a consumer without Django imports the module.
    from ninja_auth_kit.audit.receivers import connect_event
    from ninja_auth_kit.contrib.email_code import signals

    connect_event(signals.login_code_requested, LoginCodeRequested)
