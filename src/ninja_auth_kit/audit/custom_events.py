"""Events of the host: on the same stream, with the same promises, and in the same documents."""

import dataclasses
import types
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ninja_auth_kit.audit.events import Event
from ninja_auth_kit.audit.events.base import event
from ninja_auth_kit.audit.receivers import listen
from ninja_auth_kit.signals import ActionSignal

D = TypeVar("D")
ABOUT = {"reason", "session_id", "by", "actor_id"}  # what `announce` takes beside the members of the class
TAKEN = ABOUT | {"user", "client", "identifier", "using"}  # what the kit's own receivers read of a signal
HOST_PREFIX = "host"  # `ninja-auth-kit` is the kit's: a later version of it may have an event of the same name


class CustomEvent(Event):
    """An event of the host; made by `audit_event`, not by hand."""

    sent_by: ClassVar[ActionSignal]

    @classmethod
    def announce(cls, *, user: Any | None = None, client: Any | None = None, **details: Any) -> None:
        """Record the event, in the transaction that is open; one that rolls back takes it along, unless it is a fact.

        Args:
            user: whom it is about, if anybody.
            client: who called: `ClientInfo.of(request)`.
            details: the members of its class, and `reason`, `session_id`, `by` and `actor_id` where they say more.

        Raises:
            TypeError: the details are not those of the class.
        """
        about = {name: details.pop(name) for name in ABOUT & set(details)}
        made = cls.details_class(**details)
        cls.sent_by.announce(user=user, client=client, **vars(made), **about)

    details_class: ClassVar[Callable[..., Any]]


def audit_event(
    name: str,
    *,
    version: int = 1,
    outcome: Literal["success", "failure"] = "success",
    fact: bool = False,
    by: Literal["user", "anonymous", "system"] = "user",
    prefix: str = HOST_PREFIX,
    reasons: Mapping[str, str] | None = None,
) -> Callable[[type[D]], type[CustomEvent]]:
    """Make a class of details an event of its own, with a signal, a type, a routing key and a schema.

        @audit_event("order.approved")
        class OrderApproved:
            \"\"\"An order was approved.\"\"\"
            order_id: int

        OrderApproved.announce(user=request.user, client=ClientInfo.of(request), order_id=7)

    Args:
        name: entity and action; the routing key is `auth.<name>.<outcome>`, the type `<prefix>.<name>.v<version>`.
        version: of the type. A new one, where what was there is gone or means something else.
        outcome: whether the action was done.
        fact: True of what is so even if the transaction around it rolls back.
        by: who acts, where `announce` does not say it.
        prefix: of the type, such as the name of your project; not the kit's own.
        reasons: the words that `reason` can be, each with what it means.

    Raises:
        ValueError: the name is none, or taken, or the prefix is the kit's.
        TypeError: a member has no type, or one that JSON does not have, or a name that says something else already.
    """
    if prefix == "ninja-auth-kit":
        raise ValueError("'ninja-auth-kit' is the prefix of the kit's own events; name another.")

    def make(declared: type[D]) -> type[CustomEvent]:
        _refuse_odd_members(declared)
        add = event(
            name,
            route=f"{name}.{outcome}",
            signal="",
            by=by,
            fact=fact,
            merges=False,
            reasons=reasons,
            version=version,
            prefix=prefix,
        )
        kind = add(_class_around(declared))
        listen(kind.sent_by, kind)
        return kind

    return make


def _class_around(declared: type) -> type[CustomEvent]:
    """Return a class of events whose details are the members of a class, under its name and with its docstring."""
    details: type = dataclasses.dataclass(frozen=True, kw_only=True)(declared)
    members: dict[str, Any] = {
        "__annotations__": {"details": details},
        "__doc__": declared.__doc__,
        "__module__": declared.__module__,
        "__qualname__": declared.__qualname__,
        "sent_by": ActionSignal(),
        "details_class": staticmethod(details),
    }
    return types.new_class(declared.__name__, (CustomEvent,), {}, lambda space: space.update(members))


def _refuse_odd_members(declared: type) -> None:
    for member, hint in get_type_hints(declared).items():
        if member in TAKEN:
            raise TypeError(f"{declared.__name__}.{member}: every event says that already; name the member otherwise.")
        if not _is_json(hint):
            raise TypeError(
                f"{declared.__name__}.{member} is none of what JSON has: text, numbers, bool, lists, dicts."
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
