"""From the count of a flood to an event: what `record.aggregation` counted is published when the window is over."""

import json
from datetime import datetime

from django.db import connections, transaction
from django.utils import timezone

from ninja_auth_kit.audit.record import outbox
from ninja_auth_kit.audit.record.aggregation import MIXED_PARTITION_KEYS, RECORDED_INDIVIDUALLY
from ninja_auth_kit.audit.record.cloudevent import Message, format_time, shard_of, uuid7
from ninja_auth_kit.audit.relay import sql


def flush_floods(*, using: str) -> int:
    """Put an event into the outbox for each flood whose window is over, and return the number of these events.

    The row of the flood is deleted in the same transaction. A flood without an event beyond those that were recorded
    individually needs none.

    Raises:
        DatabaseError: the database is not available.
    """
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        cursor.execute(sql.TAKE_FINISHED_FLOODS)
        floods = [(seen - RECORDED_INDIVIDUALLY, *rest) for seen, *rest in cursor.fetchall()]
        messages = [_summarize(*flood) for flood in floods if flood[0] > 0]
        for message in messages:
            outbox.insert(cursor, message)
    return len(messages)


def _summarize(
    count: int, partition_key: str, routing_key: str, payload: str, first: datetime, last: datetime
) -> Message:
    """Return one event for those that were only counted: the last of them, without what is specific to it.

    Args:
        count: the number of events that were only counted.
        partition_key: their partition key, or `MIXED_PARTITION_KEYS`. In that case they are about different users, and
            the event is about none of them.
        routing_key: their routing key.
        payload: the payload of the last of them.
        first: when the first of them was recorded.
        last: when the last of them was recorded.
    """
    cloudevent = json.loads(payload)
    event_id = uuid7()
    for name in ("correlationid", "traceparent"):
        cloudevent.pop(name, None)
    data = cloudevent["data"]
    data["session"] = {"id": None}
    if partition_key == MIXED_PARTITION_KEYS:
        partition_key = str(event_id)
        cloudevent.pop("subject", None)
        data["actor"]["id"] = None
        data["target"] |= {"id": None, "identifier_hash": None}
    data |= {"count": count, "first_time": format_time(first), "last_time": format_time(last)}
    cloudevent |= {"id": str(event_id), "time": format_time(timezone.now()), "partitionkey": partition_key}
    payload = json.dumps(cloudevent, separators=(",", ":"))
    return Message(event_id, shard_of(partition_key), routing_key, payload, partition_key)
