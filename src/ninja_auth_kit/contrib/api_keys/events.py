"""The audit events of API keys. None has a key, a part of one, or its name.

A consumer imports this module to know them. It needs no Django.
"""

from ninja_auth_kit.audit.events.base import Event, Members, event


class NewKeyDetails(Members):
    """The id of the key, what it allows, and the time (RFC 3339) until which it is valid."""

    key_id: str
    scopes: list[str]
    expires_at: str


@event("api_key.created", route="api_key.created.success", signal="", by="user", ocsf="3001/99, 3007/99")
class KeyCreated(Event):
    """A user created an API key."""

    details: NewKeyDetails


class KeyDetails(Members):
    """The id of the key."""

    key_id: str


@event(
    "api_key.revoked",
    route="api_key.revoked.success",
    signal="",
    by="user",
    reasons={
        "revoked": "revoked by the owner, by an administrator, or by `authkit_revoke`",
        "password_reset": "the password was reset by email",
        "…": "the word given to `authkit_revoke --reason`",
    },
    ocsf="3001/99, 3007/99",
)
class KeyRevoked(Event):
    """An API key was revoked. Keys that are deleted together with their user have no event."""

    details: KeyDetails


class RefusedKeyDetails(Members):
    """The id of the key, or null if there is no such key."""

    key_id: str | None


@event(
    "api_key.refused",
    route="api_key.refused.failure",
    signal="",
    by="anonymous",
    fact=True,
    reasons={
        "invalid_key": "there is no such key, or its row is not as the kit has written it",
        "expired": "the key has expired",
        "user_disabled": "the owner may not log in",
        "insufficient_scope": "the key does not have a scope that the route requires",
    },
    ocsf="3002/99",
)
class KeyRefused(Event):
    """A request with an API key was refused."""

    details: RefusedKeyDetails


def connect() -> None:
    """Record the events when their signals are announced."""
    # Imported here, because a consumer without Django imports the module.
    from ninja_auth_kit.audit.receivers import connect_event
    from ninja_auth_kit.contrib.api_keys import signals

    connect_event(signals.api_key_created, KeyCreated)
    connect_event(signals.api_key_revoked, KeyRevoked)
    connect_event(signals.api_key_refused, KeyRefused)
