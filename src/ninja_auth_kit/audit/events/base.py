"""The members that every event has, and the registry of the event classes."""

import dataclasses
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal, TypeVar, get_type_hints

# Of every message, and without a charset: JSON has no such parameter (RFC 8259 section 11), and consumers compare
# the content type as a whole.
CONTENT_TYPE = "application/cloudevents+json"


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Who acted.

    `type` is "user" (the user whom the event is about), "admin", "anonymous" (not authenticated) or "system" (a rule).
    """

    type: Literal["user", "admin", "anonymous", "system"]
    id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Target:
    """The user whom the event is about.

    `identifier_hash` is a keyed pseudonym of the identifier that was entered. The same identifier has the same
    pseudonym. The identifier itself is never in an event.
    """

    type: Literal["user"] = "user"
    id: str | None = None
    identifier_hash: str | None = None


@dataclass(frozen=True, kw_only=True)
class Session:
    """The session that the event is about. Its id is the `sid` of its access tokens."""

    id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Client:
    """The caller: the IP address as `AUDIT_IP` allows, and at most 256 characters of the `User-Agent` header."""

    ip: str | None = None
    user_agent: str = ""


@dataclass(frozen=True, kw_only=True)
class NoDetails:
    """The event has no details."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """An audit event, as a consumer receives it.

    Attributes:
        id: unique together with `source`. An event that is delivered twice has the same id.
        source: the issuer of the access tokens.
        time: when the event was recorded.
        subject: `user/<id>` if the user is known.
        partitionkey: events with the same partition key arrive in the order in which they happened.
        correlationid: the `X-Request-ID` of the request.
        traceparent: the W3C trace context of the request.
        authtype: who acted, as defined by the CloudEvents extension: "user", "unauthenticated" or "system".
        outcome: whether the action succeeded.
        reason: why the action failed, or why a session was ended. One of `reasons`, to which later versions may add.
        details: the members that only this event has.
        count: the number of events that this one represents, which is more than 1 for a flood.
        first_time: when the first of these events was recorded.
        last_time: when the last of these events was recorded.
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

    # The same for all events of a class, and set by the decorator `event`.
    type: ClassVar[str] = ""
    name: ClassVar[str] = ""
    routing_key: ClassVar[str] = ""
    outcome_word: ClassVar[Literal["success", "failure"]] = "success"
    signal: ClassVar[str] = ""
    by: ClassVar[str] = "user"
    fact: ClassVar[bool] = False
    is_aggregated: ClassVar[bool] = False
    reasons: ClassVar[Mapping[str, str]] = {}
    ocsf: ClassVar[str] = ""
    shared_signal: ClassVar[str] = ""
    detail_names: ClassVar[tuple[str, ...]] = ()


@dataclass(frozen=True, kw_only=True)
class UnknownEvent(Event):
    """An event of a type that this version does not know. Acknowledge and ignore it. `details` is a plain dict."""

    kind: str = ""
    details: dict[str, Any]


E = TypeVar("E", bound=Event)

PREFIX = "ninja-auth-kit"
_NAME = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*")
_ROUTE = re.compile(r"(?:[a-z][a-z0-9_]*\.){2}(?:success|failure)")

_by_type: dict[str, type[Event]] = {}
_making = threading.Lock()


def event(
    name: str,
    *,
    route: str,
    signal: str,
    by: str,
    fact: bool = False,
    is_aggregated: bool | None = None,
    reasons: Mapping[str, str] | None = None,
    ocsf: str = "",
    shared_signal: str = "",
    version: int = 1,
    prefix: str = PREFIX,
) -> Callable[[type[E]], type[E]]:
    """Register a class of events. The docstring of the class says when the event happens.

    Args:
        name: entity and action, as in the CloudEvents type `ninja-auth-kit.<name>.v1`.
        route: entity, action and outcome, as in the routing key `auth.<route>`.
        signal: the name of the signal in `ninja_auth_kit.signals` that announces the event, or "" for a custom event.
        by: who acts, unless the signal says otherwise. It is never "admin", which only the signal can say.
        fact: whether the event is true even if the transaction around it is rolled back.
        is_aggregated: whether many events from one network become one with a count. By default, `fact`.
        reasons: the possible values of `reason`, each with its meaning.
        ocsf: class and activity in the Open Cybersecurity Schema Framework.
        shared_signal: the CAEP or RISC event with the same meaning (OpenID Shared Signals).
        version: the version of the type. A new version is incompatible with the one before.
        prefix: the first part of the type.

    Raises:
        ValueError: the name or the route is malformed, or the type is registered already.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a valid event name. Use entity and action, such as 'order.approved'.")
    if not _ROUTE.fullmatch(route):
        raise ValueError(
            f"{route!r} is not a valid route. Use entity, action and outcome, such as 'order.approved.success'. The "
            "outcome is 'success' or 'failure'."
        )

    def add(kind: type[E]) -> type[E]:
        # Not yet a dataclass of its own, see `with_own_fields`: only its parser needs that, and the methods that
        # Python generates for each event class are a noticeable part of the start of a process.
        kind.name, kind.type, kind.routing_key = name, f"{prefix}.{name}.v{version}", f"auth.{route}"
        kind.outcome_word = "failure" if route.endswith(".failure") else "success"
        kind.signal, kind.by, kind.fact = signal, by, fact
        kind.is_aggregated = fact if is_aggregated is None else is_aggregated
        kind.reasons, kind.ocsf, kind.shared_signal = reasons or {}, ocsf, shared_signal
        kind.detail_names = tuple(field.name for field in dataclasses.fields(details_of(kind)))
        existing = _by_type.setdefault(kind.type, kind)
        if (existing.__module__, existing.__qualname__) != (kind.__module__, kind.__qualname__):
            raise ValueError(
                f"The event {kind.type!r} exists already: {existing.__module__}.{existing.__qualname__}. Use another "
                "name, prefix or version."
            )
        _by_type[kind.type] = kind
        return kind

    return add


def with_own_fields(kind: type[E]) -> type[E]:
    """Make an event class a dataclass of its own, whose field `details` has the type that the class declares."""
    with _making:
        if "__dataclass_fields__" not in vars(kind):
            dataclasses.dataclass(frozen=True, kw_only=True)(kind)
    return kind


def details_of(kind: type[Event]) -> Any:
    """Return the dataclass of the details of an event class."""
    return get_type_hints(kind)["details"]


def all_events() -> tuple[type[Event], ...]:
    """Return all event classes: those of the kit, then those of your project."""
    return tuple(_by_type.values())


def event_class(type: str) -> type[Event] | None:
    """Return the class of a CloudEvents type such as `ninja-auth-kit.session.logged_in.v1`, or None."""
    return _by_type.get(type)
