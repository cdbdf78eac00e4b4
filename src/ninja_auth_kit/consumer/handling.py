"""What becomes of one message: which handlers it is for, whether it is new, and what the broker is told."""

import logging
import threading
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Generic, TypeVar

from ninja_auth_kit.audit.events import Event, InvalidEventError, UnknownEvent, parse
from ninja_auth_kit.consumer.stores import AwayError, Store

logger = logging.getLogger("ninja_auth_kit.consumer")

D = TypeVar("D")
# Seconds before each delivery after the first: a minute in all, for what a handler calls to be restarted meanwhile.
PAUSES = (2.0, 4.0, 8.0, 16.0, 30.0)
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds before a store that is away is tried again


class UnacceptableError(Exception):
    """Raise this in a handler for an event that it will never handle: it goes to the dead letters at once."""


class Answer(Enum):
    """What the broker is told."""

    DONE = "done"
    AGAIN = "again"
    DEAD = "dead"


class Handling(Generic[D]):
    """The handlers of a consumer, and the work on a message.

    Args:
        store: remembers what was handled.
        stop: set when the consumer is to end.
        pauses: seconds before each delivery after the first; after so many more an event goes to the dead letters.
    """

    def __init__(self, store: Store[D], stop: threading.Event, pauses: Sequence[float] = PAUSES) -> None:
        self.store, self.stop, self.pauses = store, stop, pauses
        self.handlers: list[tuple[type[Event], Callable[[Any, D], None]]] = []

    def bindings(self) -> list[str]:
        """Return the routing keys of the events that there are handlers for."""
        return sorted({kind.routing_key or "auth.#" for kind, _ in self.handlers})

    def answer(self, body: bytes, *, deliveries: int) -> Answer | None:
        """Handle a message, and return what to tell the broker. Raises nothing.

        None where it is to stop: what is not answered goes back to the queue when the channel closes, and not before,
        when it would come here again.

        Args:
            body: the body of the message.
            deliveries: how often it was delivered before.
        """
        if self.stop.is_set():
            return None
        try:
            event = parse(body)
        except InvalidEventError as error:
            logger.error("A message goes to the dead letters. %s", error)
            return Answer.DEAD
        handlers = [handler for kind, handler in self.handlers if _is_for(kind, event)]
        if not handlers:
            return Answer.DONE
        try:
            return self._handled(event, handlers)
        except UnacceptableError:
            logger.exception("Event %s goes to the dead letters.", event.id)
            return Answer.DEAD
        except Exception:
            return self._failed(event, deliveries)

    def _failed(self, event: Event, deliveries: int) -> Answer:
        """Pause, and ask for the event again; after the last delivery say that it goes to the dead letters."""
        if deliveries >= len(self.pauses):
            logger.exception(
                "Event %s was not handled in %d deliveries. It goes to the dead letters.", event.id, deliveries + 1
            )
            return Answer.DEAD
        pause = self.pauses[deliveries]
        logger.exception("Event %s was not handled. It comes again in %g seconds.", event.id, pause)
        self.stop.wait(pause)
        return Answer.AGAIN

    def _handled(self, event: Event, handlers: list[Callable[[Any, D], None]]) -> Answer | None:
        """Handle an event; while the store is away try again here, for a delivery that is given back counts."""
        pause = FIRST_PAUSE
        while True:
            try:
                with self.store.once(event) as (is_new, db):
                    for handler in handlers if is_new else ():
                        handler(event, db)
            except AwayError as error:
                logger.warning("The store is away (%s). Event %s waits.", error, event.id)
            else:
                return Answer.DONE
            if self.stop.wait(pause):
                return None
            pause = min(pause * 2, LONGEST_PAUSE)


def _is_for(kind: type[Event], event: Event) -> bool:
    """Tell whether a handler of a kind is for an event; one of `Event` is for all that are known."""
    if kind is Event:
        return not isinstance(event, UnknownEvent)
    return isinstance(event, kind)
