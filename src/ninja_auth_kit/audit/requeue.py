"""Putting deferred events back into the outbox, or giving them up."""

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
