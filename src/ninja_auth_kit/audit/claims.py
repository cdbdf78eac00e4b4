"""What the relay does with the outbox: claim the oldest rows, and delete what the broker has confirmed.

Order per user holds with any number of relays: a user's events are in one shard, one relay at a time holds a shard,
and it sends what it holds in the order of the ids. A shard is held by a transaction-level advisory lock, which
needs no clock and no lease and is gone when its relay is.
"""

from typing import NamedTuple

from django.db import connections
from django.db.backends.utils import CursorWrapper

from ninja_auth_kit.audit.events import SHARDS
from ninja_auth_kit.models import AuditOutbox

# The first half of the advisory locks' keys; the second is the shard. Any constant that is ours alone.
LOCK_CLASS = 0x4E414B31

_TABLE = AuditOutbox._meta.db_table

# The database ends a relay that is frozen in the middle of a batch, and its shards are free for another.
_LIMIT_FREEZE = "SET LOCAL idle_in_transaction_session_timeout = '20s'"
# What is lost with this commit is the deletion of what was sent: a duplicate, never a loss.
_COMMIT_LIGHTLY = "SET LOCAL synchronous_commit = off"

_LOCK_SHARDS = "SELECT shard FROM generate_series(0, %s) AS shard WHERE pg_try_advisory_xact_lock(%s, shard)"
_CLAIM = (
    f'SELECT id, event_id, routing_key, payload FROM "{_TABLE}" '  # noqa: S608
    "WHERE shard = ANY(%s) ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED"
)
_DELETE = f'DELETE FROM "{_TABLE}" WHERE id = ANY(%s)'  # noqa: S608
_PENDING = f'SELECT EXISTS (SELECT 1 FROM "{_TABLE}")'  # noqa: S608


class ClaimedEvent(NamedTuple):
    """A row that this relay holds until its transaction ends."""

    id: int
    event_id: str
    routing_key: str
    payload: str


def is_pending(*, using: str) -> bool:
    """Tell whether anything waits; the cheap question of an idle relay."""
    with connections[using].cursor() as cursor:
        cursor.execute(_PENDING)
        (pending,) = cursor.fetchone()
    return bool(pending)


def claim(cursor: CursorWrapper, *, limit: int) -> list[ClaimedEvent]:
    """Take the shards that are free and return their oldest rows, locked; inside a transaction.

    Two statements, not one: the second sees the table as it is after the locks are held, without the rows that the
    shard's last holder has deleted.
    """
    cursor.execute(_LIMIT_FREEZE)
    cursor.execute(_COMMIT_LIGHTLY)
    cursor.execute(_LOCK_SHARDS, [SHARDS - 1, LOCK_CLASS])
    shards = [shard for (shard,) in cursor.fetchall()]
    if not shards:
        return []
    cursor.execute(_CLAIM, [shards, limit])
    return [ClaimedEvent(id, str(event_id), key, payload) for id, event_id, key, payload in cursor.fetchall()]


def delete(cursor: CursorWrapper, ids: list[int]) -> None:
    """Delete the rows that the broker has confirmed."""
    cursor.execute(_DELETE, [ids])
