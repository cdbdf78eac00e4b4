"""The state of the outbox: how many events wait and for how long, what was refused, and which relays run."""

from collections import Counter
from dataclasses import dataclass

from django.db import connections

from ninja_auth_kit.audit.relay import sql
from ninja_auth_kit.audit.relay.heartbeat import PUBLISHING
from ninja_auth_kit.tenancy import is_outside_tenants, tenant_of, tenants

COUNTED = 100_000  # events; a higher number is estimated, because counting a million rows takes seconds


@dataclass(frozen=True)
class RelayHealth:
    """A relay that had a heartbeat within the last two minutes.

    Attributes:
        id: what tells relays apart. In containers, many have the process id 1, and several may have the same host.
        host: the name of the machine.
        process_id: the process id.
        is_embedded: whether it is a thread of a web process.
        state: "publishing", "waiting" (for the broker) or "blocked" (by the broker).
        running_seconds: how long it has been running.
        seen_seconds: the age of its last heartbeat.
        failure: the last failure of the broker or the database, or "". It may be over.
        failed_seconds: how long ago that was, or None.
    """

    id: str
    host: str
    process_id: int
    is_embedded: bool
    state: str
    running_seconds: float
    seen_seconds: float
    failure: str
    failed_seconds: float | None

    @property
    def is_publishing(self) -> bool:
        """Whether its last round succeeded."""
        return self.state == PUBLISHING

    def __str__(self) -> str:
        return f"{self.host} {self.process_id}" + " embedded" * self.is_embedded


@dataclass(frozen=True)
class Health:
    """The state of one outbox.

    Attributes:
        pending: the number of events that wait, which is an estimate above 100,000.
        is_estimate: whether `pending` is an estimate.
        oldest_seconds: how long the oldest event has waited.
        deferred: the number of refused events by state ("retry", "parked") and reason.
        oldest_retry_seconds: how long the oldest event has waited that was refused and is tried again.
        relays: the relays that run.
    """

    pending: int
    is_estimate: bool
    oldest_seconds: float
    deferred: dict[str, dict[str, int]]
    oldest_retry_seconds: float
    relays: list[RelayHealth]


def read_health(*, using: str) -> Health:
    """Return the state of the outbox of a database. It takes a few milliseconds for any number of rows.

    If the tables are in the schemas of tenants, and the connection is not in one of them, it is that of all tenants,
    and takes a few milliseconds for each.

    Raises:
        DatabaseError: the database is not available.
    """
    connection = connections[using]
    if not is_outside_tenants(connection):
        return _read_health(using=using)
    total = Health(0, False, 0.0, {"retry": {}, "parked": {}}, 0.0, [])
    for tenant in tenants(connection):
        with tenant_of(connection, tenant):
            total = _sum(total, _read_health(using=using))
    return total


def _sum(one: Health, other: Health) -> Health:
    """Return the state of two outboxes together."""
    deferred = {
        state: dict(Counter(reasons) + Counter(other.deferred[state])) for state, reasons in one.deferred.items()
    }
    return Health(
        one.pending + other.pending,
        one.is_estimate or other.is_estimate,
        max(one.oldest_seconds, other.oldest_seconds),
        deferred,
        max(one.oldest_retry_seconds, other.oldest_retry_seconds),
        _without_repetitions([*one.relays, *other.relays]),
    )


def _without_repetitions(relays: list[RelayHealth]) -> list[RelayHealth]:
    """Return each relay once. A relay of all tenants has a heartbeat in each schema."""
    latest = {relay.id: relay for relay in sorted(relays, key=lambda relay: -relay.seen_seconds)}
    return sorted(latest.values(), key=lambda relay: (str(relay), relay.id))


def _read_health(*, using: str) -> Health:
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
        cursor.execute(sql.RUNNING_RELAYS)
        relays = [RelayHealth(*row) for row in cursor.fetchall()]
    return Health(pending, is_estimate, max(0.0, oldest[0]) if oldest else 0.0, deferred, oldest_retry, relays)
