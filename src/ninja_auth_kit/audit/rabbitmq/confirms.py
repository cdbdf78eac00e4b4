"""A batch on its way: which events are out, and what the broker has answered for each."""

from collections.abc import Sequence
from concurrent.futures import Future

from ninja_auth_kit.audit.claims import ClaimedEvent


class Batch:
    """The events of one batch, and the broker's answers."""

    def __init__(self, events: Sequence[ClaimedEvent]) -> None:
        self.events = events
        self.pending: dict[int, ClaimedEvent] = {}  # delivery tag -> event, in the order of the tags
        self.returned: set[str] = set()  # a return comes before the confirm of the same message
        self.confirmed: list[int] = []
        self.answered: Future[None] = Future()

    def settle(self, tag: int, *, multiple: bool, acknowledged: bool) -> None:
        """Take an answer for one tag, or for all up to it."""
        tags = [pending for pending in self.pending if pending <= tag] if multiple else [tag]
        for settled in tags:
            event = self.pending.pop(settled, None)
            if event is not None and acknowledged and event.event_id not in self.returned:
                self.confirmed.append(event.id)
        self.finish_if_answered()

    def finish_if_answered(self) -> None:
        """Tell the waiting caller when no answer is missing."""
        if not self.pending and not self.answered.done():
            self.answered.set_result(None)
