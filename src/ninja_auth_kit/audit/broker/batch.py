"""A batch on its way: which events are out, and what the broker has answered for each."""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import NamedTuple


class ClaimedEvent(NamedTuple):
    """A row that a relay holds until its transaction ends."""

    id: int
    event_id: str
    routing_key: str
    payload: str


class Refusal(NamedTuple):
    """An event that did not get through although the broker was there.

    Attributes:
        id: the id of its row.
        reason: "unroutable" or "nacked" by the broker, who may take it another time; "poison" or "too_large" by us.
        error: what an operator reads of it.
    """

    id: int
    reason: str
    error: str


# What cannot be sent, now or later, waits for a person.
FINAL = ("poison", "too_large")


@dataclass
class PublishResult:
    """One verdict for each event of a batch that has one.

    Attributes:
        highest: the highest id of the batch.
        confirmed: ids of rows whose event the broker has confirmed and routed.
        refused: what it, or we, refused.
        failure: what kept the others from a verdict, or None; they are as if they had never been sent.
    """

    highest: int = 0
    confirmed: list[int] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    failure: Exception | None = None


class Batch:
    """The events of one batch, and the broker's answers, which fill `verdicts`."""

    def __init__(self, events: Sequence[ClaimedEvent]) -> None:
        self.events = events
        self.verdicts = PublishResult(highest=events[-1].id if events else 0)
        self.answered: Future[None] = Future()
        self._pending: dict[int, ClaimedEvent] = {}
        self._tags: deque[int] = deque()  # in their order, for answers to all up to one
        self._returned: dict[str, str] = {}

    def sent(self, tag: int, event: ClaimedEvent) -> None:
        """Note under which delivery tag an event has left."""
        self._pending[tag] = event
        self._tags.append(tag)

    def refuse(self, event: ClaimedEvent, reason: str, error: str) -> None:
        """Note that an event does not leave at all."""
        self.verdicts.refused.append(Refusal(event.id, reason, error))

    def returned(self, event_id: str, error: str) -> None:
        """Note that the broker had nowhere to route an event to; its confirm comes after that."""
        self._returned[event_id] = error

    def settle(self, tag: int, *, multiple: bool, acknowledged: bool) -> None:
        """Take an answer for one tag, or for all up to it."""
        if multiple:
            while self._tags and self._tags[0] <= tag:
                self._settle(self._tags.popleft(), acknowledged=acknowledged)
        else:
            self._settle(tag, acknowledged=acknowledged)
        self.finish_if_answered()

    def _settle(self, tag: int, *, acknowledged: bool) -> None:
        event = self._pending.pop(tag, None)
        if event is None:
            return
        if not acknowledged:
            self.refuse(event, "nacked", "The broker refused it: a queue is full, or it had an error of its own.")
        elif event.event_id in self._returned:
            self.refuse(event, "unroutable", self._returned[event.event_id])
        else:
            self.verdicts.confirmed.append(event.id)

    def finish_if_answered(self) -> None:
        """Tell the waiting caller when no answer is missing."""
        if not self._pending and not self.answered.done():
            self.answered.set_result(None)
