"""Events of your project: recorded like those of the kit, with the same guarantees and in the same documents."""

import dataclasses
import types
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ninja_auth_kit.audit.events import Event
from ninja_auth_kit.audit.events.base import PREFIX, event
from ninja_auth_kit.audit.receivers import connect_event
from ninja_auth_kit.signals import ActionSignal

D = TypeVar("D")

# What `announce` accepts in addition to the members of the class.
OPTIONAL_ARGUMENTS = {"reason", "session_id", "by", "actor_id"}
# Arguments of a signal that the receivers of the kit read. A member cannot have one of these names.
RESERVED_NAMES = OPTIONAL_ARGUMENTS | {"user", "client", "identifier", "using"}
# Not the prefix of the kit, because a later version of the kit may have an event of the same name.
DEFAULT_PREFIX = "host"


def audit_event(
    name: str,
    *,
    version: int = 1,
    outcome: Literal["success", "failure"] = "success",
    fact: bool = False,
    by: Literal["user", "anonymous", "system"] = "user",
    prefix: str = DEFAULT_PREFIX,
    reasons: Mapping[str, str] | None = None,
) -> Callable[[type[D]], type["CustomEvent"]]:
    """Turn a class with annotated members into an audit event with a signal, a type, a routing key and a schema.

        @audit_event("order.approved")
        class OrderApproved:
            \"\"\"An order was approved.\"\"\"
            order_id: int

        OrderApproved.announce(user=request.user, client=ClientInfo.of(request), order_id=7)

    Args:
        name: entity and action. The routing key is `auth.<name>.<outcome>`, the type `<prefix>.<name>.v<version>`.
        version: the version of the type. Increase it if a member is removed or changes its meaning.
        outcome: whether the action succeeded.
        fact: whether the event is true even if the transaction around it is rolled back.
        by: who acts, unless `announce` says otherwise.
        prefix: the first part of the type, such as the name of your project.
        reasons: the possible values of `reason`, each with its meaning.

    Raises:
        ValueError: the name is malformed or registered already, or the prefix is that of the kit.
        TypeError: a member has a type that JSON does not support, or a reserved name.
    """
    if prefix == PREFIX:
        raise ValueError(f"{PREFIX!r} is the prefix of the kit's own events. Use another, such as your project's.")
    register = event(
        name,
        route=f"{name}.{outcome}",
        signal="",
        by=by,
        fact=fact,
        is_aggregated=False,
        reasons=reasons,
        version=version,
        prefix=prefix,
    )

    def decorate(declared: type[D]) -> type[CustomEvent]:
        _check_members(declared)
        custom_event = register(_custom_event_class(declared))
        connect_event(custom_event.sent_by, custom_event)
        return custom_event

    return decorate


class CustomEvent(Event):
    """The base class of the events that `audit_event` makes. Use the decorator instead of subclassing it.

    Attributes:
        sent_by: the signal of the event. Its receivers are called after the commit.
        details_class: the dataclass of the details.
    """

    sent_by: ClassVar[ActionSignal]
    details_class: ClassVar[Callable[..., Any]]

    @classmethod
    def announce(cls, *, user: Any | None = None, client: Any | None = None, **details: Any) -> None:
        """Record the event in the open transaction, and send its signal after the commit.

        If the transaction is rolled back, the event is too, unless it is a fact.

        Args:
            user: the user whom the event is about, if any.
            client: the caller, as in `ClientInfo.of(request)`.
            details: the members of the class and, optionally, `reason`, `session_id`, `by` and `actor_id`.

        Raises:
            TypeError: the details are not the members of the class.
        """
        optional = {name: details.pop(name) for name in OPTIONAL_ARGUMENTS & set(details)}
        checked = cls.details_class(**details)
        cls.sent_by.announce(user=user, client=client, **vars(checked), **optional)


def _custom_event_class(declared: type) -> type[CustomEvent]:
    """Return an event class whose details are the members of `declared`, with the same name and docstring."""
    details_type: Any = dataclasses.dataclass(frozen=True, kw_only=True)(declared)

    class Declared(CustomEvent):
        # The registry compares these two names. If a module is loaded again, its event replaces
        # itself. Two different classes with the same type are refused.
        __module__ = declared.__module__
        __qualname__ = declared.__qualname__
        __doc__ = declared.__doc__

        sent_by = ActionSignal()
        details_class = details_type
        # Not only for type checkers: the parser and the schema read the members of the details from
        # this annotation, which is a different class for each event.
        details: details_type

    Declared.__name__ = declared.__name__
    return Declared


def _check_members(declared: type) -> None:
    """Raise TypeError if a member has a reserved name or a type that JSON does not support."""
    for member, hint in get_type_hints(declared).items():
        if member in RESERVED_NAMES:
            raise TypeError(
                f"{declared.__name__}.{member} has a reserved name, which every event has already. Rename the member."
            )
        if not _is_json(hint):
            raise TypeError(
                f"{declared.__name__}.{member} has a type that JSON does not support. Use str, int, float, bool, "
                "None, Literal, list[...], dict[str, ...] or a union of these."
            )


def _is_json(hint: Any) -> bool:
    if hint in {str, int, float, bool, types.NoneType}:
        return True
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return all(isinstance(value, str | int) for value in inner)
    if origin is dict:
        return inner[0] is str and _is_json(inner[1])
    return origin in {list, Union, types.UnionType} and all(map(_is_json, inner))
