"""The outbox: writing the row of an event in the transaction of what happened, and waking the relay.

Raw SQL and one statement, whatever it does: it runs in every login, and the ORM would take more time than PostgreSQL.

Facts survive rollback: what is so even if everything around it is undone is recorded apart from it. A failed login has
failed, and a token that came back has come back, whatever becomes of the transaction in which the host found out. Such
an event is written over a connection of its own, which commits at once.
"""

import logging
import time
from contextlib import closing
from typing import Any
from uuid import UUID

from django.db import DatabaseError, InterfaceError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from ninja_auth_kit.audit.record import outbox
from ninja_auth_kit.audit.record.cloudevent import Message
from ninja_auth_kit.conf import settings
from ninja_auth_kit.models import AuditFlood, AuditOutbox

logger = logging.getLogger("ninja_auth_kit.audit")

CHANNEL = "ninja_auth_kit_outbox"  # of NOTIFY, which wakes the relay
WAKE_EVERY = 0.1  # seconds: a NOTIFY in each commit would cost half of the commits that PostgreSQL can do
LOOK_EVERY = 1000  # events
FORGOTTEN = 300  # seconds that the oldest event may wait before it is said that nobody publishes

TOLD_SINGLY = 10  # events of a flood
MIXED = "*"  # the lane of a flood whose events have several

_SAID = "said AS (SELECT %s::uuid AS event_id, %s::smallint AS shard, %s AS routing_key, %s AS payload)"
_ROW = f"""
INSERT INTO "{AuditOutbox._meta.db_table}" (event_id, shard, routing_key, payload)
SELECT event_id, shard, routing_key, payload FROM said
"""  # noqa: S608  # names of ours
_FLOOD = f"""flood AS (
    INSERT INTO "{AuditFlood._meta.db_table}" AS known
        (id, lane, routing_key, payload, seen, started_at, first_at, last_at)
    SELECT %s::uuid, %s, routing_key, payload, 1, clock_timestamp(), clock_timestamp(), clock_timestamp() FROM said
    ON CONFLICT (id) DO UPDATE SET
        seen = known.seen + 1, payload = excluded.payload, last_at = excluded.last_at,
        first_at = CASE WHEN known.seen = {TOLD_SINGLY} THEN excluded.first_at ELSE known.first_at END,
        lane = CASE WHEN known.seen = {TOLD_SINGLY} OR known.lane = excluded.lane THEN excluded.lane ELSE '{MIXED}' END
    RETURNING seen <= {TOLD_SINGLY} AS is_told
)"""  # noqa: S608
_WAKE = f"SELECT pg_notify('{CHANNEL}', '') FROM written"  # noqa: S608
_OLDEST = f"""
SELECT extract(epoch FROM clock_timestamp() - created_at)::float8
FROM "{AuditOutbox._meta.db_table}" ORDER BY id LIMIT 1
"""  # noqa: S608

_woken = 0.0
_written = 0


def write(message: Message, *, using: str, flood: UUID | None = None) -> None:
    """Write the row of an event, in the transaction that is open.

    Args:
        message: the event.
        using: the alias of the database.
        flood: the id of the flood that it may be one of, or None where each event counts.
    """
    with connections[using].cursor() as cursor:
        insert(cursor, message, flood=flood)
        _look_for_a_relay(cursor)


def insert(cursor: CursorWrapper, message: Message, *, flood: UUID | None = None) -> None:
    """Write the row of an event over any connection."""
    values: list[Any] = [message.event_id, message.shard, message.routing_key, message.payload]
    if flood is not None:
        values += [flood, message.lane]
    cursor.execute(_statement(flood=flood is not None, wake=_is_time_to_wake()), values)


def _statement(*, flood: bool, wake: bool) -> str:
    row = f"{_ROW}, flood WHERE is_told" if flood else _ROW
    parts = [_SAID, *([_FLOOD] if flood else []), *([f"written AS ({row} RETURNING 1)"] if wake else [])]
    return f"WITH {', '.join(parts)} {_WAKE if wake else row}"


def _is_time_to_wake() -> bool:
    """Tell whether to notify, at most every 100 ms in a process; the relay looks again soon after it was woken."""
    global _woken
    now = time.monotonic()
    if not settings.AUDIT_LISTEN or now - _woken < WAKE_EVERY:
        return False
    _woken = now
    return True


def _look_for_a_relay(cursor: CursorWrapper) -> None:
    """Say, now and then, that events wait which nobody seems to publish."""
    global _written
    _written += 1
    if _written % LOOK_EVERY:
        return
    cursor.execute(_OLDEST)
    oldest = cursor.fetchone()
    if oldest and oldest[0] > FORGOTTEN:
        logger.error("Audit events wait for %d seconds. Is authkit_relay running? See authkit_status.", oldest[0])


logger = logging.getLogger("ninja_auth_kit.audit")


def is_in_transaction(*, using: str) -> bool:
    """Tell whether a transaction is open that might undo what is written now.

    That of Django's TestCase is none: a second connection would leave rows behind, and would not see the test's own.
    """
    blocks = connections[using].atomic_blocks
    return bool(blocks) and not any(getattr(block, "_from_testcase", False) for block in blocks)


def unpooled_connection(*, using: str) -> BaseDatabaseWrapper:
    """Return another connection to a database, closed yet, and never one of the host's pool (`OPTIONS["pool"]`)."""
    apart = connections[using].copy()
    apart.settings_dict["OPTIONS"].pop("pool", None)
    return apart


def write_separately(message: Message, *, using: str, flood: UUID | None) -> bool:
    """Write the row of a fact and commit it, whatever is going on in this thread's transaction.

    Returns:
        False where that connection could not be had, such as where PostgreSQL has as many as it allows.
    """
    # Not from the host's pool: a thread that holds one and waits for another may wait for itself.
    apart = unpooled_connection(using=using)
    try:
        with closing(apart), apart.cursor() as cursor:
            outbox.insert(cursor, message, flood=flood)
    except (DatabaseError, InterfaceError) as error:
        logger.warning(
            "No second connection to the database (%s). A fact is in the transaction of what surrounds it, and lost "
            "if that is rolled back.",
            type(error).__name__,
        )
        return False
    return True
