"""A batch that is being published: which events were sent, and what the broker has answered for each."""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import NamedTuple


class ClaimedEvent(NamedTuple):
    """A row that a relay has locked until its transaction ends."""

    id: int
    event_id: str
    routing_key: str
    payload: str


class Refusal(NamedTuple):
    """An event that was not accepted although the connection worked.

    Attributes:
        id: the id of its row.
        reason: "unroutable" or "nacked" if the broker refused it, which may accept it later; "poison" or "too_large"
            if the relay did not send it.
        error: a sentence for operators.
    """

    id: int
    reason: str
    error: str


# Events that can never be sent. They wait for an operator.
FINAL_REASONS = ("poison", "too_large")


@dataclass
class PublishResult:
    """What became of the events of a batch.

    Attributes:
        highest: the highest row id of the batch.
        confirmed: the row ids of the events that the broker confirmed and routed.
        refused: the events that the broker refused, or that cannot be sent.
        failure: why the other events got no answer, or None. They are treated as if they had never been sent.
    """

    highest: int = 0
    confirmed: list[int] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    failure: Exception | None = None


class Batch:
    """The events of one batch. The answers of the broker fill `result`.

    Attributes:
        answered: done when no answer is missing.
    """

    def __init__(self, events: Sequence[ClaimedEvent]) -> None:
        self.events = events
        self.result = PublishResult(highest=events[-1].id if events else 0)
        self.answered: Future[None] = Future()
        self._unanswered: dict[int, ClaimedEvent] = {}
        self._tags: deque[int] = deque()  # in ascending order, for answers with `multiple`
        self._returned: dict[str, str] = {}

    def mark_sent(self, tag: int, event: ClaimedEvent) -> None:
        """Record the delivery tag under which an event was sent."""
        self._unanswered[tag] = event
        self._tags.append(tag)

    def refuse(self, event: ClaimedEvent, reason: str, error: str) -> None:
        """Record that an event was refused, by the broker or because it cannot be sent."""
        self.result.refused.append(Refusal(event.id, reason, error))

    def mark_returned(self, event_id: str, error: str) -> None:
        """Record that the broker could not route an event. It confirms the event after that all the same."""
        self._returned[event_id] = error

    def settle(self, tag: int, *, multiple: bool, acknowledged: bool) -> None:
        """Record the answer for a delivery tag or, with `multiple`, for all tags up to it."""
        if multiple:
            while self._tags and self._tags[0] <= tag:
                self._settle(self._tags.popleft(), acknowledged=acknowledged)
        else:
            self._settle(tag, acknowledged=acknowledged)
        self.finish_if_answered()

    def _settle(self, tag: int, *, acknowledged: bool) -> None:
        event = self._unanswered.pop(tag, None)
        if event is None:
            return
        if not acknowledged:
            self.refuse(event, "nacked", "The broker refused it: a queue is full, or the broker had an error.")
        elif event.event_id in self._returned:
            self.refuse(event, "unroutable", self._returned[event.event_id])
        else:
            self.result.confirmed.append(event.id)

    def finish_if_answered(self) -> None:
        """Complete `answered` if no answer is missing."""
        if not self._unanswered and not self.answered.done():
            self.answered.set_result(None)
