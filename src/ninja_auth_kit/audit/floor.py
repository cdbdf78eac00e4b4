"""The id below which the outbox is empty, so that a claim need not look there.

Deleted rows stay in the table until vacuum may take them, which one old snapshot anywhere in the database prevents
for hours; a claim from the beginning would read them all, again and again.

Rows commit in another order than that of their ids, so "the highest id that I have deleted" is no such id: a row below
it may come yet, and skipping it would also put it behind a younger one of the same user. The floor rises to a claimed
id only when every transaction that was writing at that claim has ended. It is forgotten every two seconds all the
same, for whoever puts rows back with their old ids.
"""

import time
from typing import NamedTuple

from ninja_auth_kit.audit.shards import Turn

LIFETIME = 2.0  # seconds
# A row's id is drawn a few instructions before its transaction gets the number that others can see.
CAUTION = 0.5


class _Candidate(NamedTuple):
    id: int
    own: int
    noted: float


class Floor:
    """The floor of one relay."""

    def __init__(self) -> None:
        self.id = 0
        self._shards: frozenset[int] = frozenset()
        self._candidate: _Candidate | None = None
        self._dropped = time.monotonic()

    def rise(self, turn: Turn) -> None:
        """Rise, at the beginning of a turn, to what was noted before if nothing can come below it any more."""
        now = time.monotonic()
        if now - self._dropped > LIFETIME or frozenset(turn.shards) != self._shards:
            self.drop()
            self._shards = frozenset(turn.shards)
        elif self._candidate and turn.oldest > self._candidate.own and now - self._candidate.noted > CAUTION:
            self.id, self._candidate = self._candidate.id, None

    def note(self, turn: Turn, *, highest: int) -> None:
        """Note, at the end of a turn, up to which id its shards are empty."""
        if self._candidate is None:
            self._candidate = _Candidate(highest, turn.own, time.monotonic())

    def drop(self) -> None:
        """Look from the beginning again."""
        self.id, self._candidate, self._dropped = 0, None, time.monotonic()
