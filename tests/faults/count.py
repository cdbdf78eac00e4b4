"""Compare the events that arrived with those that were committed."""

import json
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.faults.writer import ROLLED_BACK

REFRESHED = "ninja-auth-kit.session.refreshed.v1"


@dataclass
class Count:
    """The arrivals of one case, compared with the sessions in the database.

    Attributes:
        truth: the last generation of each session, which has an event for each generation from 1.
        received: how many of these events arrived, each counted once.
        duplicates: how many arrivals repeat the id of an earlier one.
        disorder: how many first arrivals came after a later event of the same session.
        rolled_back: how many arrivals are of a transaction that was rolled back.
        phantoms: how many arrivals match no generation of a session, or repeat one under another id.
        others: how many events of each other type arrived.
    """

    truth: Mapping[uuid.UUID, int]
    received: int = 0
    duplicates: int = 0
    disorder: int = 0
    rolled_back: int = 0
    phantoms: int = 0
    others: Counter[str] = field(default_factory=Counter)
    _ids: set[str] = field(default_factory=set, repr=False)
    _seen: set[tuple[uuid.UUID, int]] = field(default_factory=set, repr=False)
    _last: dict[uuid.UUID, int] = field(default_factory=dict, repr=False)

    @property
    def expected(self) -> int:
        """Return how many events must arrive."""
        return sum(self.truth.values())

    @property
    def lost(self) -> int:
        """Return how many events did not arrive."""
        return self.expected - self.received

    def take(self, body: bytes | str) -> None:
        """Count a message. Messages must be passed in the order of their arrival."""
        event = json.loads(body)
        if event["id"] in self._ids:
            self.duplicates += 1
        elif event["type"] == REFRESHED and event["data"]["details"]["rotated"]:
            self._take(event["data"])
        else:
            self.others[event["type"]] += 1
        self._ids.add(event["id"])

    def _take(self, data: Mapping[str, Any]) -> None:
        session, generation = uuid.UUID(data["session"]["id"]), data["details"]["generation"]
        if session == ROLLED_BACK:
            self.rolled_back += 1
        elif (session, generation) in self._seen or not 0 < generation <= self.truth.get(session, 0):
            self.phantoms += 1
        else:
            self.received += 1
            self.disorder += generation < self._last.get(session, 0)
            self._last[session] = max(generation, self._last.get(session, 0))
        self._seen.add((session, generation))
