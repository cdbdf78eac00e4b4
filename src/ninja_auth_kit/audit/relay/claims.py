"""What a relay takes from the outbox: the shards that it holds, and the oldest rows in them.

The order of each user holds with any number of relays: a user's events are in one shard, one relay at a time holds a
shard, and it publishes the rows of its shards in the order of their ids. A shard is held by an advisory lock of the
transaction in which the relay claims, publishes and deletes a batch.
"""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from django.db import connections
from django.db.backends.utils import CursorWrapper

from ninja_auth_kit.audit.broker.batch import FINAL_REASONS, ClaimedEvent, PublishResult, Refusal
from ninja_auth_kit.audit.relay import sql
from ninja_auth_kit.tenancy import lock_offset


class BatchClaim(NamedTuple):
    """What one transaction of the relay may take, and which other transactions were running when it began.

    Attributes:
        shards: the shards that it holds until it ends.
        xmin: the lowest id of the transactions that were running. All transactions with lower ids have ended.
        xid: the id of its own transaction. Transactions that were writing before it have lower ids.
    """

    shards: list[int]
    xmin: int
    xid: int


def take_shards(cursor: CursorWrapper) -> BatchClaim:
    """Take the free shards in the transaction that has just begun.

    Rows are read by a second statement, so that it sees the table as it is after the shards are locked.
    """
    cursor.execute(sql.TAKE_SHARDS, {"lock_offset": lock_offset(cursor.db)})
    *_, xmin, xid, shards = cursor.fetchone()
    return BatchClaim(shards, xmin, xid)


class OutboxReader:
    """Reads the outbox for one relay, and removes what was published or refused.

    Args:
        using: the alias of the database.
    """

    def __init__(self, *, using: str) -> None:
        self.using = using
        self._watermark = LowWatermark()

    @property
    def low_watermark(self) -> int:
        """The id up to which the outbox is empty for this relay."""
        return self._watermark.value

    def has_events(self) -> bool:
        """Return whether any event waits. An idle relay asks this instead of claiming a batch."""
        with connections[self.using].cursor() as cursor:
            cursor.execute(sql.HAS_EVENTS, {"low_watermark": self.low_watermark})
            (has_events,) = cursor.fetchone()
        return bool(has_events)

    def claim(self, cursor: CursorWrapper, claim: BatchClaim, *, limit: int) -> list[ClaimedEvent]:
        """Return the oldest events of the claim's shards. Their rows are locked until the transaction ends."""
        self._watermark.reset_if_shards_changed(claim)
        values: dict[str, Any] = {"shards": claim.shards, "low_watermark": self._watermark.value, "limit": limit}
        cursor.execute(sql.CLAIM, values)
        return [ClaimedEvent(id, str(event_id), key, payload) for id, event_id, key, payload in cursor.fetchall()]

    def settle(self, cursor: CursorWrapper, claim: BatchClaim, result: PublishResult) -> None:
        """Delete the events that the broker confirmed, and set aside those that were refused. The others stay."""
        cursor.execute(sql.DELETE_CONFIRMED, {"ids": result.confirmed})
        if result.refused:
            cursor.execute(sql.SET_ASIDE, refusal_values(result.refused))
        if result.failure is None:
            self._watermark.observe(claim, highest=result.highest)
        else:
            self._watermark.reset()


def refusal_values(refused: Sequence[Refusal]) -> dict[str, Any]:
    """Return the parameters of `sql.SET_ASIDE` and `sql.TRY_LATER`."""
    return {
        "ids": [refusal.id for refusal in refused],
        "reasons": [refusal.reason for refusal in refused],
        "errors": [refusal.error for refusal in refused],
        "final": list(FINAL_REASONS),
    }


RESET_AFTER = 2.0  # seconds
# A row's id is drawn a few instructions before its transaction gets the id that xmin takes into
# account. When a candidate is this old, no transaction is between these two steps any more.
MIN_CANDIDATE_AGE = 0.5  # seconds


class LowWatermark:
    """The id up to which the outbox is empty for one relay, so that a claim need not look there.

    Deleted rows stay in the table until VACUUM may remove them, which a single old snapshot anywhere in the database
    prevents for hours. A claim from the beginning of the table would read all of them, again and again.

    "The highest id that I have deleted" is not such an id, because rows do not become visible in the order of their
    ids. A row gets its id when it is inserted, and is visible to others when its transaction commits:

        transaction A   BEGIN   INSERT 5                            COMMIT
        transaction B                     INSERT 6, COMMIT
        relay                                               claim 1          claim 2
          sees                                              6                5
          xmin                                              id of A          above the id of claim 1
        ----------------------------------------------------------------------------------------------> time

    At claim 1, row 5 exists but is not visible. If the relay looked only above 6 from then on, it would not find row 5
    at claim 2.

    Therefore claim 1 only makes 6 a candidate, and notes the id of its own transaction (`xid`). Each later claim reads
    the `xmin` of its snapshot, the lowest id of all transactions that are running. As long as A runs, `xmin` is at
    most the id of A, which is lower than the `xid` of claim 1. Once `xmin` is higher than the `xid` of claim 1, every
    transaction that was writing at claim 1 has ended, so that no row can appear below the candidate any more. When
    that claim has published its batch, and the batch reached the candidate, every row below the candidate is gone.
    Then the watermark rises to the candidate. It must not rise before: claim 2 still has to find row 5.

    It is reset to 0

    - when the shards of the relay change, because it says nothing about rows of other shards;
    - when a batch could not be published completely, because its rows stay;
    - every 2 seconds, because `authkit_requeue` puts rows back under their old ids.
    """

    def __init__(self) -> None:
        self._value = 0
        self._shards: frozenset[int] = frozenset()
        self._candidate: _Candidate | None = None
        self._reset_at = time.monotonic()

    @property
    def value(self) -> int:
        """The id above which to look."""
        if time.monotonic() - self._reset_at > RESET_AFTER:
            self.reset()
        return self._value

    def reset_if_shards_changed(self, claim: BatchClaim) -> None:
        """Reset, at the beginning of a claim, if the relay holds other shards than before."""
        if frozenset(claim.shards) != self._shards:
            self.reset()
            self._shards = frozenset(claim.shards)

    def observe(self, claim: BatchClaim, *, highest: int) -> None:
        """Rise to the candidate if possible, and make the highest id of this batch the next one.

        Args:
            claim: the claim of a batch whose rows are gone.
            highest: the highest id of the batch.
        """
        candidate = self._candidate
        if candidate is not None and self._is_empty_below(candidate, claim, highest):
            self._value, self._candidate = candidate.id, None
        if self._candidate is None:
            self._candidate = _Candidate(highest, claim.xid, time.monotonic())

    def _is_empty_below(self, candidate: "_Candidate", claim: BatchClaim, highest: int) -> bool:
        """Return whether the batch reached the candidate, and no row can appear below the candidate any more."""
        age = time.monotonic() - candidate.observed_at
        return highest >= candidate.id and claim.xmin > candidate.xid and age > MIN_CANDIDATE_AGE

    def reset(self) -> None:
        """Look from the beginning of the table again."""
        self._value, self._candidate, self._reset_at = 0, None, time.monotonic()


class _Candidate(NamedTuple):
    id: int
    xid: int
    observed_at: float
