"""What the broker has said of the events of a batch."""

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
class Verdicts:
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
