"""Putting deferred events back into the outbox."""

from django.db import connections

from ninja_auth_kit.models import AuditDeferred, AuditOutbox

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


def requeue(ids: list[int], *, using: str) -> set[int]:
    """Let the relay try deferred events again, and return the ids of those that are in the outbox now.

    They get the ids that they had there before, and so are sent in that order, ahead of what is younger. Poison stays:
    it cannot be sent, now or later.

    Args:
        ids: which of the deferred events.
        using: the alias of the database.
    """
    with connections[using].cursor() as cursor:
        cursor.execute(_MOVE, [ids])
        return {id for (id,) in cursor.fetchall()}
