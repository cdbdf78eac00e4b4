"""What every event has: the attributes of a CloudEvent, and five blocks of data that are the same in each."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Who acts: "user" (whom it is about), "admin", "anonymous" (nothing is proved yet) or "system" (a rule)."""

    type: Literal["user", "admin", "anonymous", "system"]
    id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Target:
    """Whom it is about. What was typed is never here, only a keyed pseudonym of it, the same for the same words."""

    type: Literal["user"] = "user"
    id: str | None = None
    identifier_hash: str | None = None


@dataclass(frozen=True, kw_only=True)
class Session:
    """Which session, the `sid` of its access tokens."""

    id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Client:
    """From where: the address as `AUDIT_IP` lets it out, and at most 256 characters of the browser's name."""

    ip: str | None = None
    user_agent: str = ""


@dataclass(frozen=True, kw_only=True)
class NoDetails:
    """Nothing of its own."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """An audit event, as a consumer gets it.

    Attributes:
        id: unique together with `source`, and the same when an event comes twice.
        source: the issuer of the access tokens.
        time: when it was recorded.
        subject: `user/<id>`, where a user is known.
        partitionkey: events with the same one arrive in the order in which they happened.
        correlationid: of one request, its `X-Request-ID`.
        traceparent: the W3C trace context of the request.
        authtype: who acted, in the words of the CloudEvents extension: "user", "unauthenticated" or "system".
        outcome: whether the action was done.
        reason: why it failed, or why a session was ended; a word of `reasons`, to which others may be added.
        details: what this kind of event has of its own.
        count: how many events this one stands for; more than 1 in a flood.
        first_time: when the first of them was recorded.
        last_time: when the last of them was recorded.
    """

    id: str
    source: str
    time: datetime
    partitionkey: str
    authtype: str
    outcome: Literal["success", "failure"]
    actor: Actor
    target: Target
    session: Session
    client: Client
    details: Any
    subject: str | None = None
    correlationid: str | None = None
    traceparent: str | None = None
    reason: str | None = None
    count: int = 1
    first_time: datetime | None = None
    last_time: datetime | None = None

    # Of the kind of event, set by `registry.event`.
    type: ClassVar[str] = ""
    name: ClassVar[str] = ""
    routing_key: ClassVar[str] = ""
    signal: ClassVar[str] = ""
    by: ClassVar[str] = "user"
    fact: ClassVar[bool] = False
    merges: ClassVar[bool] = False
    reasons: ClassVar[Mapping[str, str]] = {}
    ocsf: ClassVar[str] = ""
    twin: ClassVar[str] = ""
    detail_names: ClassVar[tuple[str, ...]] = ()


@dataclass(frozen=True, kw_only=True)
class UnknownEvent(Event):
    """An event of a kind that this version does not know; `details` is a plain dict. Acknowledge and ignore it."""

    kind: str = ""
    details: dict[str, Any]
