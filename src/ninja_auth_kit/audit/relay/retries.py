"""The events that were refused: set aside, so that they hold up nobody, and tried again until they get through.

They get through later than younger events of the same user may have, which is the one exception to the order.
"""

from django.db import connections
from django.db.backends.utils import CursorWrapper

from ninja_auth_kit.audit.broker.batch import FINAL, ClaimedEvent, PublishResult
from ninja_auth_kit.audit.relay.claims import REFUSED_ROWS, RETRY_AT, BatchClaim, refusal_columns
from ninja_auth_kit.models import AuditDeferred, AuditOutbox

_TABLE = AuditDeferred._meta.db_table

_ARE_DUE = "state = 'retry' AND next_attempt_at <= clock_timestamp()"
_IS_DUE = f'SELECT EXISTS (SELECT 1 FROM "{_TABLE}" WHERE {_ARE_DUE})'  # noqa: S608
_CLAIM = f"""
SELECT id, event_id, routing_key, payload FROM "{_TABLE}"
WHERE {_ARE_DUE} AND shard = ANY(%s) ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
"""  # noqa: S608
_DELETE = f'DELETE FROM "{_TABLE}" WHERE id = ANY(%s)'  # noqa: S608
_TRY_LATER = f"""
UPDATE "{_TABLE}" AS event
SET attempts = attempts + 1, reason = refused.reason, last_error = refused.error,
    state = CASE WHEN refused.reason = ANY(%s) THEN 'parked' ELSE 'retry' END,
    next_attempt_at = CASE WHEN refused.reason = ANY(%s) THEN NULL ELSE {RETRY_AT % "attempts"} END
FROM {REFUSED_ROWS} WHERE event.id = refused.id
"""  # noqa: S608


class Deferred:
    """The deferred events as one relay sees them; it takes those that are due.

    Args:
        using: the alias of the database.
    """

    def __init__(self, *, using: str) -> None:
        self.using = using

    def is_pending(self) -> bool:
        """Tell whether any is due."""
        with connections[self.using].cursor() as cursor:
            cursor.execute(_IS_DUE)
            (due,) = cursor.fetchone()
        return bool(due)

    def claim(self, cursor: CursorWrapper, turn: BatchClaim, *, limit: int) -> list[ClaimedEvent]:
        """Return the oldest of those that are due in the turn's shards, locked until its end."""
        cursor.execute(_CLAIM, [turn.shards, limit])
        return [ClaimedEvent(id, str(event_id), key, payload) for id, event_id, key, payload in cursor.fetchall()]

    def settle(self, cursor: CursorWrapper, turn: BatchClaim, verdicts: PublishResult) -> None:
        """Delete what the broker has confirmed, and put off what it has refused again."""
        cursor.execute(_DELETE, [verdicts.confirmed])
        if verdicts.refused:
            cursor.execute(_TRY_LATER, [list(FINAL), list(FINAL), *refusal_columns(verdicts.refused)])


# One statement: an event is in one of the two tables, whatever happens in between.
_MOVE = f"""
WITH moved AS (
    DELETE FROM "{AuditDeferred._meta.db_table}" WHERE id IN (
        SELECT id FROM "{AuditDeferred._meta.db_table}" WHERE id = ANY(%s) AND reason <> 'poison'
        ORDER BY id FOR UPDATE SKIP LOCKED
    )
    RETURNING id, event_id, shard, routing_key, payload, created_at
)
INSERT INTO "{AuditOutbox._meta.db_table}" (id, event_id, shard, routing_key, payload, created_at)
SELECT id, event_id, shard, routing_key, payload, created_at FROM moved ORDER BY id
RETURNING id
"""  # noqa: S608  # names of ours

_DISCARD = f"""
DELETE FROM "{AuditDeferred._meta.db_table}" WHERE id IN (
    SELECT id FROM "{AuditDeferred._meta.db_table}" WHERE id = ANY(%s) ORDER BY id FOR UPDATE SKIP LOCKED
)
RETURNING id
"""  # noqa: S608


def requeue(ids: list[int], *, using: str) -> set[int]:
    """Let the relay try deferred events again, and return the ids of those that are in the outbox now.

    They get the ids that they had there before, and so are sent in that order, ahead of what is younger. Poison stays:
    it cannot be sent, now or later.

    Args:
        ids: which of the deferred events.
        using: the alias of the database.
    """
    return _ids_of(_MOVE, ids, using=using)


def discard(ids: list[int], *, using: str) -> set[int]:
    """Delete deferred events, which nobody will ever get then, and return the ids of those that are gone.

    What a relay has in its hands at the moment stays.

    Args:
        ids: which of the deferred events.
        using: the alias of the database.
    """
    return _ids_of(_DISCARD, ids, using=using)


def _ids_of(statement: str, ids: list[int], *, using: str) -> set[int]:
    with connections[using].cursor() as cursor:
        cursor.execute(statement, [ids])
        return {id for (id,) in cursor.fetchall()}
