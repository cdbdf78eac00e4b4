"""The outbox: the statement that records an event, and the connection on which it runs.

`write` records a change, such as a login, in the open transaction. The row is committed or rolled back together with
the action that it reports.

`write_fact` records a fact, which is true even if everything around it is rolled back. A failed login has failed, and
a reused token was reused, whatever becomes of the transaction in which your project found out. If a transaction is
open, the row of a fact is written over a second connection, which commits at once.

An event takes one statement of raw SQL, whatever that does. It runs in every login, and building the same query with
the ORM takes longer than PostgreSQL needs to run it.
"""

import logging
import time
from contextlib import closing
from typing import Any
from uuid import UUID

from django.db import DatabaseError, InterfaceError, connections
from django.db.backends.utils import CursorWrapper

from ninja_auth_kit.audit.record.aggregation import MIXED_PARTITION_KEYS, RECORDED_INDIVIDUALLY
from ninja_auth_kit.audit.record.cloudevent import Message
from ninja_auth_kit.conf import settings
from ninja_auth_kit.connection_state import connection_state, unpooled_connection
from ninja_auth_kit.models import AuditFlood, AuditOutbox
from ninja_auth_kit.short_transaction import insert_last

logger = logging.getLogger("ninja_auth_kit.audit")

CHANNEL = "ninja_auth_kit_outbox"  # NOTIFY on this channel wakes the relay
NOTIFY_EVERY = 0.1  # seconds: a NOTIFY in each commit would halve the commits per second of PostgreSQL
CHECK_EVERY = 1000  # events that a process writes between two checks of the oldest
MAX_AGE = 300  # seconds that the oldest event may wait before an error is logged

_notified_at = 0.0
_written = 0


def write(message: Message, *, using: str, flood_id: UUID | None = None) -> None:
    """Write the row of an event in the open transaction.

    Args:
        message: the event.
        using: the alias of the database.
        flood_id: the id of the flood that the event belongs to, or None to record it in any case.
    """
    _log_if_unpublished(using=using)
    if flood_id is None:
        insert_last(_insertion, message, using=using)
        return
    with connections[using].cursor() as cursor:
        insert(cursor, message, flood_id=flood_id)


def write_fact(message: Message, *, using: str, flood_id: UUID | None) -> None:
    """Write the row of a fact so that it survives a rollback of the open transaction.

    If a second connection is not available, write it in the open transaction, and not as part of a flood: the row
    that counts would be locked until your project commits.
    """
    if not is_in_transaction(using=using):
        write(message, using=using, flood_id=flood_id)
    elif not write_separately(message, using=using, flood_id=flood_id):
        write(message, using=using)


def is_in_transaction(*, using: str) -> bool:
    """Return whether a transaction is open that might roll back what is written now.

    The transaction of Django's TestCase does not count: a second connection would leave rows behind after the test,
    and would not see the rows that the test has written.
    """
    blocks = connections[using].atomic_blocks
    return bool(blocks) and not any(getattr(block, "_from_testcase", False) for block in blocks)


def write_separately(message: Message, *, using: str, flood_id: UUID | None) -> bool:
    """Write the row of a fact over a second connection and commit it; return whether that was possible.

    It is not possible if PostgreSQL accepts no further connection, for example.
    """
    restore = connection_state(connections[using])
    # Not from the project's pool: a thread that holds one connection and waits for another may wait
    # for itself.
    separate = unpooled_connection(using=using)
    try:
        with closing(separate):
            restore(separate)
            with separate.cursor() as cursor:
                insert(cursor, message, flood_id=flood_id)
    except (DatabaseError, InterfaceError) as error:
        logger.warning(
            "Could not open a second connection to the database (%s). An audit event that must survive a rollback was "
            "written in the open transaction, and is lost if that is rolled back.",
            type(error).__name__,
        )
        return False
    return True


# The values of the events, named once for the parts that follow.
NEW_EVENTS = "new_event (event_id, shard, routing_key, payload) AS (VALUES {rows})"
NEW_EVENT = "(%(event_id_{n})s::uuid, %(shard_{n})s::smallint, %(routing_key_{n})s, %(payload_{n})s)"

# The rows of the events, in their order. `id` and `created_at` are set by the database.
INSERT_EVENT = f"""
INSERT INTO "{AuditOutbox._meta.db_table}" (event_id, shard, routing_key, payload)
SELECT event_id, shard, routing_key, payload FROM new_event
"""  # noqa: S608  # the names of the kit's own tables

# Count the event in the row of its flood. The row keeps what the relay needs to make one event of
# those that were only counted: the payload of the last, the times of the first and the last, and
# their partition key, or MIXED_PARTITION_KEYS if they have several. The comparisons with
# RECORDED_INDIVIDUALLY are true for the first of them.
#
# It is a part of the statement that inserts the event, because the new count decides whether the
# event gets a row. An upsert locks the row, so the count is exact across processes. Reading the
# count first and inserting afterwards would let concurrent requests read the same count, and
# record more events than intended.
COUNT_IN_FLOOD = f"""
flood AS (
    INSERT INTO "{AuditFlood._meta.db_table}" AS known
        (id, lane, routing_key, payload, seen, started_at, first_at, last_at)
    SELECT %(flood_id)s::uuid, %(partition_key)s, routing_key, payload,
           1, clock_timestamp(), clock_timestamp(), clock_timestamp()
    FROM new_event
    ON CONFLICT (id) DO UPDATE SET
        seen = known.seen + 1,
        payload = excluded.payload,
        last_at = excluded.last_at,
        first_at = CASE
            WHEN known.seen = {RECORDED_INDIVIDUALLY} THEN excluded.first_at
            ELSE known.first_at
        END,
        lane = CASE
            WHEN known.seen = {RECORDED_INDIVIDUALLY} OR known.lane = excluded.lane THEN excluded.lane
            ELSE '{MIXED_PARTITION_KEYS}'
        END
    RETURNING seen <= {RECORDED_INDIVIDUALLY} AS is_recorded
)
"""  # noqa: S608

# Wake the relay. PostgreSQL delivers the notification when the transaction commits, so the relay
# finds the row. As a part of the statement it needs no round trip, and it is not sent if the event
# was only counted.
NOTIFY_RELAY = f"SELECT pg_notify('{CHANNEL}', '') FROM inserted"  # noqa: S608

OLDEST_AGE = f"""
SELECT extract(epoch FROM clock_timestamp() - created_at)::float8
FROM "{AuditOutbox._meta.db_table}" ORDER BY id LIMIT 1
"""  # noqa: S608


def insert(cursor: CursorWrapper, message: Message, *, flood_id: UUID | None = None) -> None:
    """Write the row of an event with a cursor of any connection."""
    cursor.execute(*_insertion([message], flood_id=flood_id))


def _insertion(messages: list[Message], *, flood_id: UUID | None = None) -> tuple[str, dict[str, Any]]:
    """Return the statement that writes the rows of events, and its parameters. Only a single event has a flood."""
    values: dict[str, Any] = {}
    for n, message in enumerate(messages):
        values |= {
            f"event_id_{n}": message.event_id,
            f"shard_{n}": message.shard,
            f"routing_key_{n}": message.routing_key,
            f"payload_{n}": message.payload,
        }
    if flood_id is not None:
        values |= {"flood_id": flood_id, "partition_key": messages[0].partition_key}
    statement = _statement(len(messages), is_in_flood=flood_id is not None, notify=_is_time_to_notify())
    return statement, values


def _statement(events: int, *, is_in_flood: bool, notify: bool) -> str:
    """Return the statement for events: with or without counting them, with or without a notification."""
    parts = [NEW_EVENTS.format(rows=", ".join(NEW_EVENT.format(n=n) for n in range(events)))]
    insert_event = INSERT_EVENT
    if is_in_flood:
        parts.append(COUNT_IN_FLOOD)
        insert_event = f"{INSERT_EVENT}, flood WHERE is_recorded"
    if not notify:
        return f"WITH {', '.join(parts)} {insert_event}"
    parts.append(f"inserted AS ({insert_event} RETURNING 1)")
    return f"WITH {', '.join(parts)} {NOTIFY_RELAY}"


def _is_time_to_notify() -> bool:
    """Return whether to notify: at most every 100 ms per process, because the relay looks again soon after it woke."""
    global _notified_at
    now = time.monotonic()
    if not settings.AUDIT_LISTEN or now - _notified_at < NOTIFY_EVERY:
        return False
    _notified_at = now
    return True


def _log_if_unpublished(*, using: str) -> None:
    """Log an error, at each thousandth event, if events wait so long that no relay seems to publish them."""
    global _written
    _written += 1
    if _written % CHECK_EVERY:
        return
    with connections[using].cursor() as cursor:
        cursor.execute(OLDEST_AGE)
        oldest = cursor.fetchone()
    if oldest and oldest[0] > MAX_AGE:
        logger.error("Audit events wait for %d seconds. Is authkit_relay running? See authkit_status.", oldest[0])
