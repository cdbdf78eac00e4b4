"""Who sends what: the shards, and the turn of the relay that holds them.

Order per user holds with any number of relays: a user's events are in one shard, one relay at a time holds a shard,
and it sends what it holds in the order of the ids. A shard is held by a transaction-level advisory lock, which
needs no clock and no lease and is gone when its relay is.
"""

from typing import NamedTuple

from django.db.backends.utils import CursorWrapper

from ninja_auth_kit.audit.events import SHARDS

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


class Turn(NamedTuple):
    """What one transaction of the relay may take, and what else was going on when it began.

    Attributes:
        shards: the shards that it holds until it ends.
        oldest: the number of the oldest transaction that was writing.
        own: the number of its own transaction; those that were writing before it have lower ones.
    """

    shards: list[int]
    oldest: int
    own: int


def take_shards(cursor: CursorWrapper) -> Turn:
    """Take the shards that are free, in the transaction that has just begun.

    A statement of its own: the claim that follows sees the table as it is after the locks are held, without the rows
    that the shard's last holder has deleted.
    """
    cursor.execute(_TAKE_SHARDS, [SHARDS - 1, LOCK_CLASS])
    *_, oldest, own, shards = cursor.fetchone()
    return Turn(shards, oldest, own)
