"""The list of all kinds of events, and the decorator that puts one on it."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_type_hints

from ninja_auth_kit.audit.events.envelope import Event

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


def outcome_of(kind: type[Event]) -> str:
    """Return "success" or "failure"."""
    return kind.routing_key.rpartition(".")[2]
