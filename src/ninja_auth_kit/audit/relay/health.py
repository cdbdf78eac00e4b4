"""How the outbox is doing: what waits, how long, what was refused, and who publishes it."""

from dataclasses import dataclass

from django.db import connections

from ninja_auth_kit.audit.relay.wakeup import RELAY_NAME
from ninja_auth_kit.models import AuditDeferred, AuditOutbox

COUNTED = 100_000  # rows; more are estimated, for counting a million takes seconds

_OUTBOX, _DEFERRED = AuditOutbox._meta.db_table, AuditDeferred._meta.db_table
_COUNT = f'SELECT count(*) FROM (SELECT 1 FROM "{_OUTBOX}" LIMIT %s) AS first_rows'  # noqa: S608  # names of ours
_ESTIMATE = "SELECT greatest(n_live_tup, %s) FROM pg_stat_user_tables WHERE relid = to_regclass(%s)"
_OLDEST = f"""
SELECT coalesce(extract(epoch FROM clock_timestamp() - created_at), 0)::float8
FROM "{_OUTBOX}" ORDER BY id LIMIT 1
"""  # noqa: S608
_BY_REASON = f"""
SELECT state, reason, count(*), extract(epoch FROM clock_timestamp() - min(created_at))::float8
FROM "{_DEFERRED}" GROUP BY state, reason ORDER BY 1, 2
"""  # noqa: S608
_RELAYS = """
SELECT application_name FROM pg_stat_activity
WHERE datname = current_database() AND starts_with(application_name, %s) ORDER BY 1
"""


@dataclass(frozen=True)
class Health:
    """The state of one outbox.

    Attributes:
        pending: how many events wait; above 100,000 an estimate.
        is_estimate: whether it is one.
        oldest_seconds: how long the first of them has waited.
        deferred: how many events were refused, by state ("retry", "parked") and reason.
        oldest_retry_seconds: how long the oldest event has waited that was refused and is tried again.
        relays: what the database sessions of the relays call themselves: host, process, and "embedded" for a thread
            of a web process.
    """

    pending: int
    is_estimate: bool
    oldest_seconds: float
    deferred: dict[str, dict[str, int]]
    oldest_retry_seconds: float
    relays: list[str]


def read_health(*, using: str) -> Health:
    """Look at the outbox of a database. It costs a few milliseconds, however many rows there are.

    Raises:
        DatabaseError: the database is away.
    """
    deferred: dict[str, dict[str, int]] = {"retry": {}, "parked": {}}
    oldest_retry = 0.0
    with connections[using].cursor() as cursor:
        cursor.execute(_COUNT, [COUNTED + 1])
        pending = cursor.fetchone()[0]
        is_estimate = pending > COUNTED
        if is_estimate:
            cursor.execute(_ESTIMATE, [pending, f'"{_OUTBOX}"'])
            pending = cursor.fetchone()[0]
        cursor.execute(_OLDEST)
        oldest = cursor.fetchone()
        cursor.execute(_BY_REASON)
        for state, reason, count, seconds in cursor.fetchall():
            deferred[state][reason] = count
            oldest_retry = max(oldest_retry, seconds) if state == "retry" else oldest_retry
        cursor.execute(_RELAYS, [RELAY_NAME])
        relays = [name.removeprefix(RELAY_NAME).strip() for (name,) in cursor.fetchall()]
    return Health(pending, is_estimate, max(0.0, oldest[0]) if oldest else 0.0, deferred, oldest_retry, relays)
