"""An event as an AMQP message, or why it cannot be one."""

import json
from datetime import datetime

from pika.spec import BasicProperties

from ninja_auth_kit.audit.verdicts import ClaimedEvent

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
LARGEST_KEY = 255  # bytes, as AMQP 0-9-1 has it
LARGEST_PAYLOAD = 65_536  # bytes; the kit's own events have less than 4,000


class UnsendableError(Exception):
    """An event cannot be sent, now or later.

    Args:
        reason: "poison" or "too_large".
        error: what an operator reads of it.
    """

    def __init__(self, reason: str, error: str) -> None:
        super().__init__(error)
        self.reason = reason


def message(event: ClaimedEvent) -> tuple[bytes, BasicProperties]:
    """Return body and properties of the message of an event.

    Everything that pika would refuse half-way is refused here: an exception in the middle of a publish takes the
    channel with it, and so the whole batch.

    Raises:
        UnsendableError: it cannot be sent.
    """
    key, body = event.routing_key.encode(), event.payload.encode()
    if len(key) > LARGEST_KEY:
        raise UnsendableError("poison", f"Its routing key has {len(key)} bytes; AMQP allows {LARGEST_KEY}.")
    if len(body) > LARGEST_PAYLOAD:
        raise UnsendableError("too_large", f"It has {len(body)} bytes; the relay sends up to {LARGEST_PAYLOAD}.")
    try:
        properties = _properties(event, json.loads(body))
        properties.encode()
    except Exception as error:
        raise UnsendableError("poison", f"It is no CloudEvent that can be sent: {type(error).__name__}.") from error
    return body, properties


def _properties(event: ClaimedEvent, said: dict[str, str]) -> BasicProperties:
    traceparent = said.get("traceparent")
    moment = said.get("time")
    return BasicProperties(
        content_type=CONTENT_TYPE,
        delivery_mode=2,
        message_id=event.event_id,
        type=said.get("type"),
        timestamp=int(datetime.fromisoformat(moment).timestamp()) if moment else None,
        app_id="ninja_auth_kit",
        headers={"traceparent": traceparent} if traceparent else None,
    )
