"""Floods: many failures of one kind from one network are a few events and a count, and none is lost.

Of the first events of a window each is told; those after them are only counted, exactly and across processes, in one
row, by the statement that would have written their own. Once the window is over the relay makes one event of that row.
So an attack fills neither the disk nor the stream.
"""

import json
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connections, transaction
from django.utils import timezone

from ninja_auth_kit.audit.events import Event
from ninja_auth_kit.audit.record import outbox
from ninja_auth_kit.audit.record.cloudevent import Message, as_text, shard_of, uuid7
from ninja_auth_kit.models import AuditFlood
from ninja_auth_kit.tokens import bucket_id

WINDOW = 10  # seconds
_AT_ONCE = 500

_OVER = f"""
DELETE FROM "{AuditFlood._meta.db_table}" WHERE id IN (
    SELECT id FROM "{AuditFlood._meta.db_table}" WHERE started_at <= clock_timestamp() - interval '{WINDOW} seconds'
    LIMIT {_AT_ONCE} FOR UPDATE SKIP LOCKED
) RETURNING seen, lane, routing_key, payload, first_at, last_at
"""  # noqa: S608  # names of ours


def flood_of(kind: type[Event], said: dict[str, Any]) -> UUID | None:
    """Return the id of the flood that an event may be one of, or None where each event counts by itself.

    Events of one flood have the kind, the network, the reason and the details in common.
    """
    if not kind.merges:
        return None
    client = said.get("client")
    details = [said[name] for name in kind.detail_names]
    return bucket_id(f"flood {kind.type} {client and client.network} {said.get('reason')} {details}")


def flush(*, using: str) -> int:
    """Put an event for each flood whose window is over into the outbox, and return how many.

    Raises:
        DatabaseError: the database is away.
    """
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        cursor.execute(_OVER)
        floods = [(seen - outbox.TOLD_SINGLY, *rest) for seen, *rest in cursor.fetchall()]
        merged = [_merged(*flood) for flood in floods if flood[0] > 0]
        for message in merged:
            outbox.insert(cursor, message)
    return len(merged)


def _merged(count: int, lane: str, routing_key: str, payload: str, first: datetime, last: datetime) -> Message:
    """Return the event that stands for those that were not told: the last of them, less what is its alone."""
    said = json.loads(payload)
    event_id = uuid7()
    for name in ("correlationid", "traceparent"):
        said.pop(name, None)
    data = said["data"]
    data["session"] = {"id": None}
    if lane == outbox.MIXED:
        lane = str(event_id)
        said.pop("subject", None)
        data["actor"]["id"] = None
        data["target"] |= {"id": None, "identifier_hash": None}
    data |= {"count": count, "first_time": as_text(first), "last_time": as_text(last)}
    said |= {"id": str(event_id), "time": as_text(timezone.now()), "partitionkey": lane}
    return Message(event_id, shard_of(lane), routing_key, json.dumps(said, separators=(",", ":")), lane)
