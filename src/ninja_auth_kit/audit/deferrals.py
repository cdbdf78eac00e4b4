"""The events that were refused: set aside, so that they hold up nobody, and tried again until they get through.

They get through later than younger events of the same user may have, which is the one exception to the order.
"""

from collections.abc import Sequence

from django.db import connections
from django.db.backends.utils import CursorWrapper

from ninja_auth_kit.audit.shards import Turn
from ninja_auth_kit.audit.verdicts import FINAL, ClaimedEvent, Refusal, Verdicts
from ninja_auth_kit.models import AuditDeferred, AuditOutbox

_TABLE = AuditDeferred._meta.db_table

# 5 seconds, doubled with each attempt up to 5 minutes, by the clock of the database: those of machines differ.
_LATER = "clock_timestamp() + least(interval '5 seconds' * 2 ^ least(%s, 10), interval '5 minutes')"
_REFUSED = "unnest(%s::bigint[], %s::varchar[], %s::text[]) AS refused (id, reason, error)"

# One statement: an event is in one of the two tables, whatever happens in between.
_SET_ASIDE = f"""
WITH gone AS (DELETE FROM "{AuditOutbox._meta.db_table}" WHERE id = ANY(%s) RETURNING *)
INSERT INTO "{_TABLE}"
    (id, event_id, shard, routing_key, payload, created_at, reason, last_error, attempts, state, next_attempt_at)
SELECT id, event_id, shard, routing_key, payload, created_at, reason, error, 1,
       CASE WHEN reason = ANY(%s) THEN 'parked' ELSE 'retry' END,
       CASE WHEN reason = ANY(%s) THEN NULL ELSE {_LATER % 0} END
FROM gone JOIN {_REFUSED} USING (id)
"""  # noqa: S608  # names of ours

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
    next_attempt_at = CASE WHEN refused.reason = ANY(%s) THEN NULL ELSE {_LATER % "attempts"} END
FROM {_REFUSED} WHERE event.id = refused.id
"""  # noqa: S608


def set_aside(cursor: CursorWrapper, refused: Sequence[Refusal]) -> None:
    """Move events from the outbox to the deferred, with why and until when."""
    columns = _columns(refused)
    cursor.execute(_SET_ASIDE, [columns[0], list(FINAL), list(FINAL), *columns])


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

    def claim(self, cursor: CursorWrapper, turn: Turn, *, limit: int) -> list[ClaimedEvent]:
        """Return the oldest of those that are due in the turn's shards, locked until its end."""
        cursor.execute(_CLAIM, [turn.shards, limit])
        return [ClaimedEvent(id, str(event_id), key, payload) for id, event_id, key, payload in cursor.fetchall()]

    def settle(self, cursor: CursorWrapper, turn: Turn, verdicts: Verdicts) -> None:
        """Delete what the broker has confirmed, and put off what it has refused again."""
        cursor.execute(_DELETE, [verdicts.confirmed])
        if verdicts.refused:
            cursor.execute(_TRY_LATER, [list(FINAL), list(FINAL), *_columns(verdicts.refused)])


def _columns(refused: Sequence[Refusal]) -> list[list[int] | list[str]]:
    return [[one.id for one in refused], [one.reason for one in refused], [one.error for one in refused]]
