"""What every event has: the attributes of a CloudEvent, and five blocks of data that are the same in each."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal, TypeVar, get_type_hints


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
    outcome_word: ClassVar[Literal["success", "failure"]] = "success"
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


E = TypeVar("E", bound=Event)

PREFIX = "ninja-auth-kit"
_NAME = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*")
_ROUTE = re.compile(r"(?:[a-z][a-z0-9_]*\.){2}(?:success|failure)")

_by_type: dict[str, type[Event]] = {}


def event(
    name: str,
    *,
    route: str,
    signal: str,
    by: str,
    fact: bool = False,
    merges: bool | None = None,
    reasons: Mapping[str, str] | None = None,
    ocsf: str = "",
    twin: str = "",
    version: int = 1,
    prefix: str = PREFIX,
) -> Callable[[type[E]], type[E]]:
    """Make a class of events a kind, with a place on the list. Its docstring says when it happens.

    Args:
        name: entity and action, as in the CloudEvents type `ninja-auth-kit.<name>.v1`.
        route: entity, action and outcome, as in the routing key `auth.<route>`.
        signal: the name of the signal in `ninja_auth_kit.signals` that announces it, or "" for one of a host.
        by: who acts, where the signal does not say it. An "admin" is never the rule, so only the signal says it.
        fact: True of what is so even if everything around it rolls back.
        merges: whether many from one network become one with a count; as `fact` says unless told otherwise.
        reasons: the words that `reason` can be, each with what it means.
        ocsf: class and activity in the Open Cybersecurity Schema Framework.
        twin: the event of CAEP or RISC that says the same.
        version: of the type; a new one breaks with the one before.
        prefix: of the type.

    Raises:
        ValueError: the name or the route is no such word, or the type is taken.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of an event: entity and action, such as 'order.approved'.")
    if not _ROUTE.fullmatch(route):
        raise ValueError(f"{route!r} is no route: entity, action and 'success' or 'failure', with dots between.")

    def add(kind: type[E]) -> type[E]:
        kind = dataclasses.dataclass(frozen=True, kw_only=True)(kind)
        kind.name, kind.type, kind.routing_key = name, f"{prefix}.{name}.v{version}", f"auth.{route}"
        kind.outcome_word = "failure" if route.endswith(".failure") else "success"
        kind.signal, kind.by, kind.fact = signal, by, fact
        kind.merges = fact if merges is None else merges
        kind.reasons, kind.ocsf, kind.twin = reasons or {}, ocsf, twin
        kind.detail_names = tuple(field.name for field in dataclasses.fields(details_of(kind)))
        known = _by_type.setdefault(kind.type, kind)
        if (known.__module__, known.__qualname__) != (kind.__module__, kind.__qualname__):
            raise ValueError(f"There is an event {kind.type!r} already: {known.__module__}.{known.__qualname__}.")
        _by_type[kind.type] = kind
        return kind

    return add


def details_of(kind: type[Event]) -> Any:
    """Return the dataclass of the details of a kind of event."""
    return get_type_hints(kind)["details"]


def all_events() -> tuple[type[Event], ...]:
    """Return every kind of event, those of the host behind those of the kit."""
    return tuple(_by_type.values())


def event_class(type: str) -> type[Event] | None:
    """Return the class of a CloudEvents type, such as `ninja-auth-kit.session.logged_in.v1`, or None."""
    return _by_type.get(type)
