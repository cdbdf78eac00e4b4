"""The members that every event has, and the registry of the event classes."""

import dataclasses
import re
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from inspect import get_annotations
from typing import Any, ClassVar, Literal, Self, TypeVar, dataclass_transform, get_type_hints

# Of every message, and without a charset: JSON has no such parameter (RFC 8259 section 11), and consumers compare
# the content type as a whole.
CONTENT_TYPE = "application/cloudevents+json"


M = TypeVar("M", bound="Members")

_declaring = threading.RLock()
_declared: set[type] = set()


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(dataclasses.field,))
class Members:
    """The base class of an event and of what is inside: each subclass is a frozen dataclass.

    It becomes one when it is first needed, because a process that only records events never needs it, and the methods
    that Python generates for so many dataclasses are a noticeable part of the start of a web worker.
    """

    def __new__(cls, **members: Any) -> Self:
        """Return an empty instance. Python then calls the `__init__` of the dataclass."""
        return super().__new__(as_dataclass(cls))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Callable[[Any], Any]) -> Any:
        """Let pydantic, which parses events and describes them, see the dataclass."""
        as_dataclass(cls)
        return handler(source)


def as_dataclass(kind: type[M]) -> type[M]:
    """Make a subclass of `Members` and its base classes dataclasses, and return it."""
    if kind not in _declared:
        with _declaring:  # another thread may have begun, and a dataclass is not usable before it is complete
            for one in reversed(kind.__mro__):
                if issubclass(one, Members) and one is not Members and one not in _declared:
                    dataclasses.dataclass(frozen=True, kw_only=True)(one)
                    _declared.add(one)
    return kind


class Actor(Members):
    """Who acted.

    `type` is "user" (the user whom the event is about), "admin", "anonymous" (not authenticated) or "system" (a rule).
    """

    type: Literal["user", "admin", "anonymous", "system"]
    id: str | None = None


class Target(Members):
    """The user whom the event is about.

    `identifier_hash` is a keyed pseudonym of the identifier that was entered. The same identifier has the same
    pseudonym. The identifier itself is never in an event.
    """

    type: Literal["user"] = "user"
    id: str | None = None
    identifier_hash: str | None = None


class Session(Members):
    """The session that the event is about. Its id is the `sid` of its access tokens."""

    id: str | None = None


class Client(Members):
    """The caller: the IP address as `AUDIT_IP` allows, and at most 256 characters of the `User-Agent` header."""

    ip: str | None = None
    user_agent: str = ""


class NoDetails(Members):
    """The event has no details."""


class Event(Members):
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


class UnknownEvent(Event):
    """An event of a type that this version does not know. Acknowledge and ignore it. `details` is a plain dict."""

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
        kind.name, kind.type, kind.routing_key = name, f"{prefix}.{name}.v{version}", f"auth.{route}"
        kind.outcome_word = "failure" if route.endswith(".failure") else "success"
        kind.signal, kind.by, kind.fact = signal, by, fact
        kind.is_aggregated = fact if is_aggregated is None else is_aggregated
        kind.reasons, kind.ocsf, kind.shared_signal = reasons or {}, ocsf, shared_signal
        kind.detail_names = _names_of(get_annotations(kind, eval_str=True)["details"])
        existing = _by_type.setdefault(kind.type, kind)
        if (existing.__module__, existing.__qualname__) != (kind.__module__, kind.__qualname__):
            raise ValueError(
                f"The event {kind.type!r} exists already: {existing.__module__}.{existing.__qualname__}. Use another "
                "name, prefix or version."
            )
        _by_type[kind.type] = kind
        return kind

    return add


def details_of(kind: type[Event]) -> Any:
    """Return the dataclass of the details of an event class."""
    details = get_type_hints(kind)["details"]
    return as_dataclass(details) if issubclass(details, Members) else details


def _names_of(details: Any) -> tuple[str, ...]:
    """Return the names of the members of details, which need not be a dataclass yet."""
    if dataclasses.is_dataclass(details):
        return tuple(field.name for field in dataclasses.fields(details))
    return tuple(name for one in reversed(details.__mro__) for name in get_annotations(one))


def all_events() -> tuple[type[Event], ...]:
    """Return all event classes: those of the kit, then those of your project."""
    return tuple(_by_type.values())


def event_class(type: str) -> type[Event] | None:
    """Return the class of a CloudEvents type such as `ninja-auth-kit.session.logged_in.v1`, or None."""
    return _by_type.get(type)
