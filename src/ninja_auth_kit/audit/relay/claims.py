"""What the relay takes from the outbox: the shards that it holds, the rows in them, and where it need not look."""

import time
from collections.abc import Sequence
from typing import NamedTuple

from django.db import connections
from django.db.backends.utils import CursorWrapper

from ninja_auth_kit.audit.broker.batch import FINAL, ClaimedEvent, PublishResult, Refusal
from ninja_auth_kit.audit.record.cloudevent import SHARDS
from ninja_auth_kit.models import AuditDeferred, AuditOutbox

# The first half of the advisory locks' keys; the second is the shard. Any constant that is ours alone.
LOCK_CLASS = 0x4E414B31


# In one round trip: the database ends a relay that is frozen in the middle of a batch, and its shards are free for
# another; what is lost with a commit that is not flushed is the deletion of what was sent, so a duplicate and never a
# loss; which transactions may still bring rows; and the shards that are free.
_TAKE_SHARDS = """
SELECT set_config('idle_in_transaction_session_timeout', '20s', true), set_config('synchronous_commit', 'off', true),
       pg_snapshot_xmin(pg_current_snapshot())::text::bigint, pg_current_xact_id()::text::bigint,
       ARRAY(SELECT shard FROM generate_series(0, %s) AS shard WHERE pg_try_advisory_xact_lock(%s, shard))
"""


class BatchClaim(NamedTuple):
    """What one transaction of the relay may take, and what else was going on when it began.

    Attributes:
        shards: the shards that it holds until it ends.
        oldest: the number of the oldest transaction that was writing.
        own: the number of its own transaction; those that were writing before it have lower ones.
    """

    shards: list[int]
    oldest: int
    own: int


def take_shards(cursor: CursorWrapper) -> BatchClaim:
    """Take the shards that are free, in the transaction that has just begun.

    A statement of its own: the claim that follows sees the table as it is after the locks are held, without the rows
    that the shard's last holder has deleted.
    """
    cursor.execute(_TAKE_SHARDS, [SHARDS - 1, LOCK_CLASS])
    *_, oldest, own, shards = cursor.fetchone()
    return BatchClaim(shards, oldest, own)


LIFETIME = 2.0  # seconds


# A row's id is drawn a few instructions before its transaction gets the number that others can see.
CAUTION = 0.5


class _Candidate(NamedTuple):
    id: int
    own: int
    noted: float


class LowWatermark:
    """The floor of one relay."""

    def __init__(self) -> None:
        self._id = 0
        self._shards: frozenset[int] = frozenset()
        self._candidate: _Candidate | None = None
        self._dropped = time.monotonic()

    @property
    def id(self) -> int:
        """The id above which to look."""
        if time.monotonic() - self._dropped > LIFETIME:
            self.drop()
        return self._id

    def rise(self, turn: BatchClaim) -> None:
        """Rise, at the beginning of a turn, to what was noted before if nothing can come below it any more."""
        if frozenset(turn.shards) != self._shards:
            self.drop()
            self._shards = frozenset(turn.shards)
        candidate = self._candidate
        if candidate and turn.oldest > candidate.own and time.monotonic() - candidate.noted > CAUTION:
            self._id, self._candidate = candidate.id, None

    def note(self, turn: BatchClaim, *, highest: int) -> None:
        """Note, at the end of a turn, up to which id its shards are empty."""
        if self._candidate is None:
            self._candidate = _Candidate(highest, turn.own, time.monotonic())

    def drop(self) -> None:
        """Look from the beginning again."""
        self._id, self._candidate, self._dropped = 0, None, time.monotonic()


_OUTBOX, _DEFERRED = AuditOutbox._meta.db_table, AuditDeferred._meta.db_table
# 5 seconds, doubled with each attempt up to 5 minutes, by the clock of the database: those of machines differ.
RETRY_AT = "clock_timestamp() + least(interval '5 seconds' * 2 ^ least(%s, 10), interval '5 minutes')"
REFUSED_ROWS = "unnest(%s::bigint[], %s::varchar[], %s::text[]) AS refused (id, reason, error)"

# One statement: an event is in one of the two tables, whatever happens in between.
_SET_ASIDE = f"""
WITH gone AS (DELETE FROM "{AuditOutbox._meta.db_table}" WHERE id = ANY(%s) RETURNING *)
INSERT INTO "{_DEFERRED}"
    (id, event_id, shard, routing_key, payload, created_at, reason, last_error, attempts, state, next_attempt_at)
SELECT id, event_id, shard, routing_key, payload, created_at, reason, error, 1,
       CASE WHEN reason = ANY(%s) THEN 'parked' ELSE 'retry' END,
       CASE WHEN reason = ANY(%s) THEN NULL ELSE {RETRY_AT % 0} END
FROM gone JOIN {REFUSED_ROWS} USING (id)
"""  # noqa: S608  # names of ours


_CLAIM = (
    f'SELECT id, event_id, routing_key, payload FROM "{_OUTBOX}" '  # noqa: S608
    "WHERE shard = ANY(%s) AND id > %s ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED"
)


_DELETE_SENT = f'DELETE FROM "{_OUTBOX}" WHERE id = ANY(%s)'  # noqa: S608


_IS_PENDING = f'SELECT EXISTS (SELECT 1 FROM "{_OUTBOX}" WHERE id > %s)'  # noqa: S608


def set_aside(cursor: CursorWrapper, refused: Sequence[Refusal]) -> None:
    """Move events from the outbox to the deferred, with why and until when."""
    columns = refusal_columns(refused)
    cursor.execute(_SET_ASIDE, [columns[0], list(FINAL), list(FINAL), *columns])


def refusal_columns(refused: Sequence[Refusal]) -> list[list[int] | list[str]]:
    return [[one.id for one in refused], [one.reason for one in refused], [one.error for one in refused]]


class Pending:
    """The outbox as one relay sees it.

    Args:
        using: the alias of the database.
    """

    def __init__(self, *, using: str) -> None:
        self.using = using
        self._watermark = LowWatermark()

    def is_pending(self) -> bool:
        """Tell whether anything waits; the cheap question of an idle relay."""
        with connections[self.using].cursor() as cursor:
            cursor.execute(_IS_PENDING, [self._watermark.id])
            (pending,) = cursor.fetchone()
        return bool(pending)

    def claim(self, cursor: CursorWrapper, turn: BatchClaim, *, limit: int) -> list[ClaimedEvent]:
        """Return the oldest rows of the turn's shards, locked until its end."""
        self._watermark.rise(turn)
        cursor.execute(_CLAIM, [turn.shards, self._watermark.id, limit])
        return [ClaimedEvent(id, str(event_id), key, payload) for id, event_id, key, payload in cursor.fetchall()]

    def settle(self, cursor: CursorWrapper, turn: BatchClaim, verdicts: PublishResult) -> None:
        """Delete what the broker has confirmed, and set aside what was refused. What is undecided stays."""
        cursor.execute(_DELETE_SENT, [verdicts.confirmed])
        if verdicts.refused:
            set_aside(cursor, verdicts.refused)
        if verdicts.failure is None:
            self._watermark.note(turn, highest=verdicts.highest)
        else:
            self._watermark.drop()
