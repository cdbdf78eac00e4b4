"""The relay: moves events from the outbox to the broker, in order, and deletes what the broker has confirmed.

One round: is the broker there? is anything to publish? then, in one transaction, take the free shards, read their
oldest rows, publish them, wait until the broker has said something of each, delete the confirmed and set aside the
refused, commit. Whatever goes wrong leaves rows where they are: an event may be sent twice, with the same id, but none
is lost. Nothing is claimed while the broker is away or blocks, so an outage holds no transaction open.
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
from ninja_auth_kit.audit.record import aggregation
from ninja_auth_kit.audit.relay.claims import Pending, take_shards
from ninja_auth_kit.audit.relay.monitoring import Metrics
from ninja_auth_kit.audit.relay.retries import Deferred
from ninja_auth_kit.audit.relay.wakeup import Wakeup
from ninja_auth_kit.conf import broker, settings
from ninja_auth_kit.exceptions import describe_database_error

logger = logging.getLogger("ninja_auth_kit.relay")

BATCH = 500  # where throughput has flattened; a crash repeats at most so many
CONFIRM_TIMEOUT = 10.0  # seconds; less than the database allows a transaction to idle
CHORES_EVERY = 1.0  # seconds
FIRST_BACKOFF, LONGEST_BACKOFF = 0.5, 30.0  # seconds between tries when the broker or the database is away


class Relay:
    """Publishes the outbox of one database. Many may run; each event is in the hands of one.

    Args:
        publisher: where to publish.
        using: the alias of the database.
        batch: how many events are published before their confirms are awaited.
        embedded: whether it is a thread of a web process.
    """

    def __init__(self, publisher: RabbitMQ, *, using: str, batch: int = BATCH, embedded: bool = False) -> None:
        self.publisher = publisher
        self.using = using
        self.batch = batch
        self.metrics = Metrics()
        self._pending, self._deferred = Pending(using=using), Deferred(using=using)
        self._wakeup = Wakeup(using=using, embedded=embedded)
        self._failures = 0
        self._chores_at = 0.0

    def run(self, stop: threading.Event, *, alive: Callable[[], None] = lambda: None) -> None:
        """Publish until told to stop; a batch in flight is finished first.

        Args:
            stop: set to end it.
            alive: called after each round and each pause, whatever came of it.
        """
        try:
            while not stop.is_set():
                if not self._round(stop):
                    self._pause(stop, alive)
                self._live(alive)
        finally:
            self._leave()

    def wait_for_broker(
        self, stop: threading.Event, *, tell: Callable[[BrokerError], None], alive: Callable[[], None] = lambda: None
    ) -> bool:
        """Connect, as often as it takes; return whether that was done before it was told to stop.

        Args:
            stop: set to give up.
            tell: called with what went wrong, after each try that failed.
            alive: called after each try and each pause.
        """
        while not stop.is_set():
            try:
                self.publisher.connect()
            except BrokerError as error:
                tell(error)
                self._failed()
                self._pause(stop, alive)
                self._live(alive)
            else:
                self._failures = 0
                return True
        return False

    def drain(self) -> int:
        """Publish until nothing is left that this relay may take, and return how many were published.

        Raises:
            BrokerError: the broker is away, or refuses.
            DatabaseError: the database is away.
        """
        try:
            while self.publish_batch():
                pass
        finally:
            self.publisher.close()
        return self.metrics.published

    def publish_batch(self) -> int:
        """Publish one batch, and what is due of the deferred events; return how many events were dealt with.

        Connects even if nothing waits: that the broker is away is said before the first event, not after it.

        Raises:
            BrokerError: the broker went away or timed out; what it has answered for is done, the others wait.
            DatabaseError: the database is away.
        """
        self.publisher.connect()
        self._wakeup.greet()
        if is_time := time.monotonic() >= self._chores_at:
            self._chores_at = time.monotonic() + CHORES_EVERY
            aggregation.flush(using=self.using)
        settled = self._publish(self._pending)
        if is_time:
            settled += self._publish(self._deferred)
        self.metrics.succeeded()
        return settled

    def _publish(self, source: Pending | Deferred) -> int:
        if not source.is_pending():
            return 0
        # What a broker that is ill has read of a failed batch comes twice, so the next try brings it one event.
        limit = 1 if self._failures else self.batch
        with transaction.atomic(using=self.using, durable=True), connections[self.using].cursor() as cursor:
            turn = take_shards(cursor)
            self.metrics.shards = len(turn.shards)
            events = source.claim(cursor, turn, limit=limit) if turn.shards else []
            if not events:
                return 0
            began = time.monotonic()
            verdicts = self.publisher.publish(events, timeout=CONFIRM_TIMEOUT)
            source.settle(cursor, turn, verdicts)
        self._count(verdicts, time.monotonic() - began)
        return len(events)

    def _count(self, verdicts: PublishResult, seconds: float) -> None:
        reasons = [refusal.reason for refusal in verdicts.refused]
        self.metrics.answered(seconds, confirmed=len(verdicts.confirmed), reasons=reasons)
        if reasons:
            host, port = self.publisher.where, self.publisher.address.port
            logger.warning(
                "RabbitMQ at %s:%s: %d events were refused (%s). They are set aside; see authkit_status.",
                host,
                port,
                len(reasons),
                ", ".join(sorted(set(reasons))),
            )
        if verdicts.failure is not None:
            raise verdicts.failure

    def _round(self, stop: threading.Event) -> bool:
        """Publish a batch, and wait if it was not full; False where the broker or the database did not play along."""
        try:
            settled = self.publish_batch()
            self._recovered()
            if settled < self.batch:
                self._wakeup.wait(stop, after=settled)
        except BrokerError as error:
            logger.warning("%s Events wait in the outbox.", error)
            self.metrics.blocked = self.publisher.is_blocked
        except (DatabaseError, InterfaceError) as error:
            logger.warning("%s", describe_database_error(error))
            self._leave()
        else:
            return True
        self._failed()
        return False

    def _failed(self) -> None:
        self._failures += 1
        self.metrics.failures += 1

    def _pause(self, stop: threading.Event, alive: Callable[[], None]) -> None:
        self._live(alive)
        stop.wait(self._backoff())

    def _live(self, alive: Callable[[], None]) -> None:
        self.metrics.went_round()
        alive()

    def _recovered(self) -> None:
        if self._failures:
            logger.warning("Publishing, after %d failed tries.", self._failures)
        self._failures = 0
        self.metrics.blocked = False
        self.metrics.connections = self.publisher.connections

    def _backoff(self) -> float:
        """Return how long to wait, with full jitter, so that many relays do not come back at once."""
        ceiling = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(self._failures, 10))
        return random.uniform(FIRST_BACKOFF / 2, ceiling)  # noqa: S311  # jitter, not a secret

    def _leave(self) -> None:
        self.publisher.close()
        with suppress(DatabaseError, InterfaceError):
            connections[self.using].close()


def configured_relay(*, using: str, batch: int = BATCH, embedded: bool = False) -> Relay:
    """Return a relay as the settings describe the broker.

    Raises:
        ImproperlyConfigured: there is no `RABBITMQ_HOST`.
    """
    configured = broker()
    if configured is None:
        raise ImproperlyConfigured("There is no broker to publish to: set RABBITMQ_HOST.")
    rabbitmq = RabbitMQ(configured, exchange=settings.AUDIT_EXCHANGE, declare=settings.AUDIT_DECLARE)
    return Relay(rabbitmq, using=using, batch=batch, embedded=embedded)
