"""From the body of a message to an event."""

import json
from functools import cache
from typing import Any

from ninja_auth_kit.audit.events.base import Event, UnknownEvent, event_class


class InvalidEventError(ValueError):
    """A message is not a valid event. The text says what is wrong, without the content of the message."""


def parse(body: bytes | str) -> Event:
    """Return the event of a message.

    Unknown members are ignored, so later versions may add some without a new version of the type. An event of an
    unknown type is returned as an `UnknownEvent`.

    Args:
        body: the body of the message.

    Raises:
        InvalidEventError: the message is not a valid event.
    """
    try:
        cloudevent = json.loads(body)
        kind = event_class(cloudevent["type"])
        members = {**cloudevent.pop("data"), **cloudevent}
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise InvalidEventError(f"The message is not a CloudEvent ({type(error).__name__}).") from None
    if kind is not None:
        return _validated(kind, members)
    return _validated(UnknownEvent, {**members, "kind": cloudevent["type"]})


def _validated(kind: Any, members: dict[str, Any]) -> Event:
    from pydantic import ValidationError

    try:
        event: Event = _adapter(kind).validate_python(members)
    except ValidationError as error:
        members_at_fault = (".".join(map(str, fault["loc"])) for fault in error.errors(include_input=False))
        raise InvalidEventError(
            f"The message is not a valid {kind.__name__}. Missing or invalid: {', '.join(members_at_fault)}."
        ) from None
    return event


@cache
def _adapter(kind: Any) -> Any:
    # Imported here, so that a process that only records events never loads pydantic.
    from pydantic import TypeAdapter

    return TypeAdapter(kind)
