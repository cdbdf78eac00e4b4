"""The relay: it publishes the events of the outbox in order, and deletes those that the broker confirmed.

In each round, the relay connects to the broker and checks whether events wait. If so, it does the following in one
transaction:

1. Lock the free shards.
2. Read and lock their oldest rows.
3. Publish them, and wait until the broker has answered for each.
4. Delete the confirmed events, and set aside the refused ones.

If anything fails, the rows stay. An event may be published twice, with the same id, but none is lost. While the broker
is away or blocks publishers, no transaction is opened, so an outage of the broker holds none open.
"""

import logging
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, InterfaceError, connections, transaction

from ninja_auth_kit.audit.broker.batch import PublishResult
from ninja_auth_kit.audit.broker.errors import BrokerError
from ninja_auth_kit.audit.broker.publisher import RabbitMQ
from ninja_auth_kit.audit.relay.claims import OutboxReader, take_shards
from ninja_auth_kit.audit.relay.floods import flush_floods
from ninja_auth_kit.audit.relay.heartbeat import BLOCKED, WAITING, Heartbeat
from ninja_auth_kit.audit.relay.monitoring import Metrics
from ninja_auth_kit.audit.relay.retries import RetryReader
from ninja_auth_kit.audit.relay.wakeup import Wakeup
from ninja_auth_kit.conf import broker, settings
from ninja_auth_kit.exceptions import describe_database_error
from ninja_auth_kit.tenancy import is_outside_tenants

logger = logging.getLogger("ninja_auth_kit.relay")

BATCH = 500  # events; larger batches are hardly faster, and a crash repeats at most one batch
# Seconds. Less than the idle_in_transaction_session_timeout of the transaction (sql.TAKE_SHARDS).
CONFIRM_TIMEOUT = 10.0
CHORES_EVERY = 1.0  # seconds between two looks at floods and retries
FIRST_BACKOFF, LONGEST_BACKOFF = 0.5, 30.0  # seconds between attempts while the broker or the database is away


class Relay:
    """Publishes the outbox of one database. Any number of relays may run; each event is claimed by one of them.

    Args:
        publisher: the connection to the broker.
        using: the alias of the database.
        batch: the number of events that are published before their confirms are awaited.
        embedded: whether the relay is a thread of a web process.
    """

    heartbeat_class: type[Heartbeat] = Heartbeat

    def __init__(self, publisher: RabbitMQ, *, using: str, batch: int = BATCH, embedded: bool = False) -> None:
        self.publisher = publisher
        self.using = using
        self.batch = batch
        self.metrics = Metrics()
        self._outbox, self._retries = OutboxReader(using=using), RetryReader(using=using)
        self._wakeup, self._heartbeat = Wakeup(using=using), self.heartbeat_class(using=using, embedded=embedded)
        self._failures = 0
        self._chores_at = 0.0

    @property
    def low_watermark(self) -> int:
        """The id up to which the outbox is empty for this relay."""
        return self._outbox.low_watermark

    def wait_for_broker(
        self,
        stop: threading.Event,
        *,
        report_error: Callable[[BrokerError], None],
        report_alive: Callable[[], None] = lambda: None,
    ) -> bool:
        """Try to connect until it succeeds; return whether it did before `stop` was set.

        Args:
            stop: set it to give up.
            report_error: called with the error after each attempt that failed.
            report_alive: called after each attempt and each pause.
        """
        while not stop.is_set():
            try:
                self.publisher.connect()
            except BrokerError as error:
                report_error(error)
                self._record_broker_failure(error)
                self._pause(stop, report_alive)
                self._record_round(report_alive)
            else:
                self._failures = 0
                return True
        return False

    def run(self, stop: threading.Event, *, report_alive: Callable[[], None] = lambda: None) -> None:
        """Publish until `stop` is set. A batch that is being published is finished first.

        Args:
            stop: set it to end the relay.
            report_alive: called after each round and each pause, whether it succeeded or failed.
        """
        try:
            while not stop.is_set():
                if not self._round(stop):
                    self._pause(stop, report_alive)
                self._record_round(report_alive)
        finally:
            self._heartbeat.stop()
            self._disconnect()

    def _round(self, stop: threading.Event) -> bool:
        """Publish a batch, and wait if it was not full; return False if the broker or the database failed."""
        try:
            claimed = self.publish_batch()
            self._recover()
            if claimed < self.batch:
                self._wakeup.wait(stop, after=claimed)
        except BrokerError as error:
            logger.warning("%s Events wait in the outbox.", error)
            self._record_broker_failure(error)
        except (DatabaseError, InterfaceError) as error:
            logger.warning("%s", describe_database_error(error))
            self._heartbeat.record_failure(describe_database_error(error))  # written when the database is back
            self._count_failure()
            self._disconnect()
        else:
            self._heartbeat.beat()
            return True
        return False

    def drain(self) -> int:
        """Publish until the outbox has no more events for this relay, and return how many were published.

        Raises:
            BrokerError: the broker is not available, or refuses the connection.
            DatabaseError: the database is not available.
        """
        self._wakeup.is_needed = False  # it does not wait, and the connection belongs to the caller
        try:
            while self.publish_batch():
                pass
        finally:
            self.publisher.close()
        return self.metrics.published

    def publish_batch(self) -> int:
        """Publish one batch of the outbox and, once per second, the refused events that are due.

        It connects even if no event waits. So an outage of the broker is reported before the first event, not after.

        Returns:
            The number of events that were claimed.

        Raises:
            BrokerError: the broker became unavailable or timed out. What it answered for is done; the rest waits.
            DatabaseError: the database is not available.
        """
        self.publisher.connect()
        self._wakeup.listen()
        if is_time_for_chores := time.monotonic() >= self._chores_at:
            self._chores_at = time.monotonic() + CHORES_EVERY
            flush_floods(using=self.using)
        claimed = self._publish(self._outbox)
        if is_time_for_chores:
            claimed += self._publish(self._retries)
        self.metrics.record_success()
        return claimed

    def _publish(self, reader: OutboxReader | RetryReader) -> int:
        if not reader.has_events():
            return 0
        # If a broker in trouble has read a part of a failed batch, that part is published again. So
        # the next attempt after a failure is a single event.
        limit = 1 if self._failures else self.batch
        with transaction.atomic(using=self.using, durable=True), connections[self.using].cursor() as cursor:
            claim = take_shards(cursor)
            self.metrics.shards = len(claim.shards)
            events = reader.claim(cursor, claim, limit=limit) if claim.shards else []
            if not events:
                return 0
            began = time.monotonic()
            result = self.publisher.publish(events, timeout=CONFIRM_TIMEOUT)
            reader.settle(cursor, claim, result)
        self._report(result, time.monotonic() - began)
        return len(events)

    def _report(self, result: PublishResult, seconds: float) -> None:
        """Count the answers of the broker, log the refusals, and raise the failure if there was one."""
        reasons = [refusal.reason for refusal in result.refused]
        self.metrics.record_batch(seconds, confirmed=len(result.confirmed), reasons=reasons)
        if reasons:
            logger.warning(
                "RabbitMQ at %s: %d events were refused (%s). They are set aside; see authkit_status.",
                self.publisher.where,
                len(reasons),
                ", ".join(sorted(set(reasons))),
            )
        if result.failure is not None:
            raise result.failure

    def _record_broker_failure(self, error: BrokerError) -> None:
        self._count_failure()
        self.metrics.blocked = self.publisher.is_blocked
        self._heartbeat.record_failure(str(error), state=BLOCKED if self.publisher.is_blocked else WAITING)
        self._heartbeat.beat()

    def _count_failure(self) -> None:
        self._failures += 1
        self.metrics.failures += 1

    def _recover(self) -> None:
        """Forget earlier failures after a round that succeeded, and log that publishing works again."""
        if self._failures:
            logger.warning("Publishing again after %d failed attempts.", self._failures)
        self._failures = 0
        self._heartbeat.record_success()
        self.metrics.blocked = False
        self.metrics.connections = self.publisher.connections

    def _pause(self, stop: threading.Event, report_alive: Callable[[], None]) -> None:
        self._record_round(report_alive)
        stop.wait(self._backoff())

    def _record_round(self, report_alive: Callable[[], None]) -> None:
        self.metrics.record_round()
        report_alive()

    def _backoff(self) -> float:
        """Return how long to wait, with full jitter, so that many relays do not reconnect at the same moment."""
        ceiling = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(self._failures, 10))
        return random.uniform(FIRST_BACKOFF / 2, ceiling)  # noqa: S311  # jitter, not a secret

    def _disconnect(self) -> None:
        self.publisher.close()
        with suppress(DatabaseError, InterfaceError):
            connections[self.using].close()


def configured_relay(*, using: str, batch: int = BATCH, embedded: bool = False) -> Relay:
    """Return a relay for the broker of the settings.

    If the tables are in the schemas of tenants, and the connection is not in one of them, it serves all tenants.

    Raises:
        ImproperlyConfigured: `RABBITMQ_HOST` is not set.
    """
    configured = broker()
    if configured is None:
        raise ImproperlyConfigured("No broker is configured to publish to. Set RABBITMQ_HOST.")
    rabbitmq = RabbitMQ(configured, exchange=settings.AUDIT_EXCHANGE, declare=settings.AUDIT_DECLARE)
    if is_outside_tenants(connections[using]):
        from ninja_auth_kit.audit.relay.every_tenant import RelayOfEveryTenant  # it derives from Relay

        return RelayOfEveryTenant(rabbitmq, using=using, batch=batch, embedded=embedded)
    return Relay(rabbitmq, using=using, batch=batch, embedded=embedded)
