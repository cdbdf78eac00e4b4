"""Handling one message: which handlers it is for, whether it is new, and how to answer the broker.

The store counts the tries, because no version of RabbitMQ counts them. Before 4.3 a quorum queue counts a delivery for
each message that a consumer had not answered when it stopped, even if no handler saw it. 4.3 does so, too, when a
channel is closed, but it does not count a `basic.nack`.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Generic, TypeVar

from ninja_auth_kit.audit.events import Event, InvalidEventError, UnknownEvent, parse
from ninja_auth_kit.consumer.stores import AwayError, Store

logger = logging.getLogger("ninja_auth_kit.consumer")

D = TypeVar("D")
T = TypeVar("T")
# Seconds before each try after the first. They add up to a minute, so that a service that a handler
# calls can be restarted in the meantime.
PAUSES = (2.0, 4.0, 8.0, 16.0, 30.0)
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds between two attempts while the store is not available


class UnacceptableError(Exception):
    """Raise this in a handler for an event that it can never handle. The event becomes a dead letter at once."""


class StoppedError(Exception):
    """The consumer ends before the message was handled."""


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
        pauses: seconds before each try after the first. When they are used up, an event becomes a dead letter.
    """

    def __init__(self, store: Store[D], stop: threading.Event, pauses: Sequence[float] = PAUSES) -> None:
        self.store, self.stop, self.pauses = store, stop, pauses
        self.handlers: list[tuple[type[Event], Callable[[Any, D], None]]] = []

    def bindings(self) -> list[str]:
        """Return the routing keys of the events that have a handler."""
        return sorted({kind.routing_key or "auth.#" for kind, _ in self.handlers})

    def handle(self, body: bytes, *, is_redelivered: bool) -> Answer | None:
        """Handle a message, and return the answer to the broker. It raises no exception.

        It returns None if the consumer ends. A message without an answer goes back to the queue when the channel is
        closed. If it were requeued before, this consumer would receive it again.

        Args:
            body: the body of the message.
            is_redelivered: whether the message was delivered before, to this consumer or another one.
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
            return self._handle_event(event, handlers, is_redelivered=is_redelivered)
        except StoppedError:
            return None
        except Exception:  # of the store, which cannot count the tries of this event
            logger.exception("Event %s becomes a dead letter, because its tries cannot be counted.", event.id)
            return Answer.DEAD_LETTER

    def _handle_event(self, event: Event, handlers: list[Callable[[Any, D], None]], *, is_redelivered: bool) -> Answer:
        """Call the handlers of an event that is new, and count the tries.

        A try is counted after it failed. If the event was delivered before, it is counted before it begins: it may be
        the event that ends the process each time.
        """
        tries = self._count_try(event) if is_redelivered else 0
        if tries > len(self.pauses) + 1:
            logger.error(
                "Event %s becomes a dead letter. After %d tries there is no result: the handler seems to end the "
                "process, or the process was killed each time.",
                event.id,
                tries - 1,
            )
            return self._make_dead_letter(event)
        try:
            self._when_available(lambda: self._call_handlers(event, handlers), event)
        except StoppedError:
            raise
        except UnacceptableError:
            logger.exception("Event %s becomes a dead letter.", event.id)
            return self._make_dead_letter(event)
        except BaseException:  # SystemExit, or CancelledError of asyncio: without an answer the event would wait
            return self._retry_later(event, tries or self._count_try(event))
        return Answer.ACKNOWLEDGE

    def _call_handlers(self, event: Event, handlers: list[Callable[[Any, D], None]]) -> None:
        with self.store.once(event) as (is_new, db):
            for handler in handlers if is_new else ():
                handler(event, db)

    def _retry_later(self, event: Event, tries: int) -> Answer:
        """Pause, and have the event delivered again. After the last try it becomes a dead letter."""
        if tries > len(self.pauses):
            logger.exception("Event %s was not handled in %d tries. It becomes a dead letter.", event.id, tries)
            return self._make_dead_letter(event)
        # The number is 0 if another process has handled a copy of the event in the meantime.
        pause = self.pauses[max(tries, 1) - 1] if self.pauses else 0
        logger.exception("Event %s was not handled. It is delivered again in %g seconds.", event.id, pause)
        self.stop.wait(pause)
        return Answer.REQUEUE

    def _make_dead_letter(self, event: Event) -> Answer:
        """Forget the tries of an event, so that it has all of them again if you move it back into the queue."""
        self._when_available(lambda: self.store.forget_tries(event), event)
        return Answer.DEAD_LETTER

    def _count_try(self, event: Event) -> int:
        return self._when_available(lambda: self.store.count_try(event), event)

    def _when_available(self, use_store: Callable[[], T], event: Event) -> T:
        """Use the store. While it is not available, try again: an outage does not count as a try."""
        pause = FIRST_PAUSE
        while True:
            try:
                return use_store()
            except AwayError as error:
                logger.warning("The store is not available (%s). Event %s waits.", error, event.id)
            if self.stop.wait(pause):
                raise StoppedError
            pause = min(pause * 2, LONGEST_PAUSE)


def _is_for(kind: type[Event], event: Event) -> bool:
    """Return whether a handler of an event class is for an event. A handler of `Event` is for all known events."""
    if kind is Event:
        return not isinstance(event, UnknownEvent)
    return isinstance(event, kind)
