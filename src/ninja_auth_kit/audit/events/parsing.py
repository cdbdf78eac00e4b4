"""From the body of a message to the event that it is."""

import json
from functools import cache
from typing import Any

from ninja_auth_kit.audit.events.base import Event, UnknownEvent, event_class


class InvalidEventError(ValueError):
    """A message is no CloudEvent of this kit; the text says what is wrong, without its content."""


def parse(body: bytes | str) -> Event:
    """Return the event that a message is.

    Members that are not known are ignored, and so may be added without a new version. An event whose type is not
    known is an `UnknownEvent`.

    Args:
        body: the body of the message, as it came.

    Raises:
        InvalidEventError: it is no event.
    """
    try:
        said = json.loads(body)
        kind = event_class(said["type"])
        members = {**said.pop("data"), **said}
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise InvalidEventError(f"It is no CloudEvent: {type(error).__name__}.") from None
    if kind is not None:
        return _built(kind, members)
    return _built(UnknownEvent, {**members, "kind": said["type"]})


def _built(kind: Any, members: dict[str, Any]) -> Event:
    from pydantic import ValidationError

    try:
        built: Event = _adapter(kind).validate_python(members)
    except ValidationError as error:
        places = ", ".join(".".join(map(str, fault["loc"])) for fault in error.errors(include_input=False))
        raise InvalidEventError(f"It is no {kind.__name__}: {places}.") from None
    return built


@cache
def _adapter(kind: Any) -> Any:
    # Here and not above: whoever only writes events never loads pydantic.
    from pydantic import TypeAdapter

    return TypeAdapter(kind)
