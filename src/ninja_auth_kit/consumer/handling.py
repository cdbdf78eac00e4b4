"""Handling one message: which handlers it is for, whether it is new, and how to answer the broker."""

import logging
import threading
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Generic, TypeVar

from ninja_auth_kit.audit.events import Event, InvalidEventError, UnknownEvent, parse
from ninja_auth_kit.consumer.stores import AwayError, Store

logger = logging.getLogger("ninja_auth_kit.consumer")

D = TypeVar("D")
# Seconds before each delivery after the first. They add up to a minute, so that a service that a
# handler calls can be restarted in the meantime.
PAUSES = (2.0, 4.0, 8.0, 16.0, 30.0)
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds between two attempts while the store is not available


class UnacceptableError(Exception):
    """Raise this in a handler for an event that it can never handle. The event becomes a dead letter at once."""


class Answer(Enum):
    """The answer to the broker for a delivery."""

    ACKNOWLEDGE = "acknowledge"
    REQUEUE = "requeue"
    DEAD_LETTER = "dead letter"


class MessageHandler(Generic[D]):
    """Handles the messages of a consumer with the handlers that were registered.

    Args:
        store: remembers which events were handled.
        stop: set when the consumer ends.
        pauses: seconds before each delivery after the first. When they are used up, an event becomes a dead letter.
    """

    def __init__(self, store: Store[D], stop: threading.Event, pauses: Sequence[float] = PAUSES) -> None:
        self.store, self.stop, self.pauses = store, stop, pauses
        self.handlers: list[tuple[type[Event], Callable[[Any, D], None]]] = []

    def bindings(self) -> list[str]:
        """Return the routing keys of the events that have a handler."""
        return sorted({kind.routing_key or "auth.#" for kind, _ in self.handlers})

    def handle(self, body: bytes, *, deliveries: int) -> Answer | None:
        """Handle a message, and return the answer to the broker. It raises no exception.

        It returns None if the consumer ends. A message without an answer goes back to the queue when the channel is
        closed. If it were requeued before, this consumer would receive it again.

        Args:
            body: the body of the message.
            deliveries: how many times the message was delivered before.
        """
        if self.stop.is_set():
            return None
        try:
            event = parse(body)
        except InvalidEventError as error:
            logger.error("A message becomes a dead letter. %s", error)
            return Answer.DEAD_LETTER
        handlers = [handler for kind, handler in self.handlers if _is_for(kind, event)]
        if not handlers:
            return Answer.ACKNOWLEDGE
        try:
            return self._call_handlers(event, handlers)
        except UnacceptableError:
            logger.exception("Event %s becomes a dead letter.", event.id)
            return Answer.DEAD_LETTER
        except Exception:
            return self._retry_later(event, deliveries)

    def _call_handlers(self, event: Event, handlers: list[Callable[[Any, D], None]]) -> Answer | None:
        """Call the handlers of an event that is new.

        While the store is not available, this method tries again itself: requeueing would count as a delivery.
        """
        pause = FIRST_PAUSE
        while True:
            try:
                with self.store.once(event) as (is_new, db):
                    for handler in handlers if is_new else ():
                        handler(event, db)
            except AwayError as error:
                logger.warning("The store is not available (%s). Event %s waits.", error, event.id)
            else:
                return Answer.ACKNOWLEDGE
            if self.stop.wait(pause):
                return None
            pause = min(pause * 2, LONGEST_PAUSE)

    def _retry_later(self, event: Event, deliveries: int) -> Answer:
        """Pause, and have the event delivered again. After the last delivery it becomes a dead letter."""
        if deliveries >= len(self.pauses):
            logger.exception(
                "Event %s was not handled in %d deliveries. It becomes a dead letter.", event.id, deliveries + 1
            )
            return Answer.DEAD_LETTER
        pause = self.pauses[deliveries]
        logger.exception("Event %s was not handled. It is delivered again in %g seconds.", event.id, pause)
        self.stop.wait(pause)
        return Answer.REQUEUE


def _is_for(kind: type[Event], event: Event) -> bool:
    """Return whether a handler of an event class is for an event. A handler of `Event` is for all known events."""
    if kind is Event:
        return not isinstance(event, UnknownEvent)
    return isinstance(event, kind)
