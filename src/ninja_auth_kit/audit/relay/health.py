"""The state of the outbox: how many events wait and for how long, what was refused, and which relays are connected."""

from dataclasses import dataclass

from django.db import connections

from ninja_auth_kit.audit.relay import sql
from ninja_auth_kit.audit.relay.wakeup import RELAY_NAME

COUNTED = 100_000  # events; a higher number is estimated, because counting a million rows takes seconds


@dataclass(frozen=True)
class Health:
    """The state of one outbox.

    Attributes:
        pending: the number of events that wait, which is an estimate above 100,000.
        is_estimate: whether `pending` is an estimate.
        oldest_seconds: how long the oldest event has waited.
        deferred: the number of refused events by state ("retry", "parked") and reason.
        oldest_retry_seconds: how long the oldest event has waited that was refused and is tried again.
        relays: the names of the connected relays: the host, the process id, and "embedded" for a thread of a web
            process.
    """

    pending: int
    is_estimate: bool
    oldest_seconds: float
    deferred: dict[str, dict[str, int]]
    oldest_retry_seconds: float
    relays: list[str]


def read_health(*, using: str) -> Health:
    """Return the state of the outbox of a database. It takes a few milliseconds for any number of rows.

    Raises:
        DatabaseError: the database is not available.
    """
    deferred: dict[str, dict[str, int]] = {"retry": {}, "parked": {}}
    oldest_retry = 0.0
    with connections[using].cursor() as cursor:
        cursor.execute(sql.COUNT_EVENTS, {"limit": COUNTED + 1})
        pending = cursor.fetchone()[0]
        is_estimate = pending > COUNTED
        if is_estimate:
            cursor.execute(sql.ESTIMATE_EVENTS, {"counted": pending, "table": sql.OUTBOX})
            pending = cursor.fetchone()[0]
        cursor.execute(sql.OLDEST_AGE)
        oldest = cursor.fetchone()
        cursor.execute(sql.COUNT_DEFERRED)
        for state, reason, count, seconds in cursor.fetchall():
            deferred[state][reason] = count
            oldest_retry = max(oldest_retry, seconds) if state == "retry" else oldest_retry
        cursor.execute(sql.CONNECTED_RELAYS, {"prefix": RELAY_NAME})
        relays = [name.removeprefix(RELAY_NAME).strip() for (name,) in cursor.fetchall()]
    return Health(pending, is_estimate, max(0.0, oldest[0]) if oldest else 0.0, deferred, oldest_retry, relays)
