"""The relay: moves events from the outbox to the broker, in order, and deletes what the broker has confirmed.

One round: is the broker there? is anything to publish? then, in one transaction, take the free shards, read their
oldest rows, publish them, wait until the broker has confirmed each, delete the confirmed, commit. Whatever goes wrong
leaves rows where they are: an event may be sent twice, with the same id, but none is lost. Nothing is claimed while
the broker is away or blocks, so an outage holds no transaction open.
"""

import logging
import random
import threading
from collections.abc import Callable
from contextlib import suppress

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, InterfaceError, connections, transaction

from ninja_auth_kit.audit import claims
from ninja_auth_kit.audit.rabbitmq import BrokerError, RabbitMQ
from ninja_auth_kit.conf import broker, settings

logger = logging.getLogger("ninja_auth_kit.relay")

BATCH = 500  # where throughput has flattened; a crash repeats at most so many
CONFIRM_TIMEOUT = 10.0  # seconds; less than the database allows a transaction to idle
SHORTEST_PAUSE, LONGEST_PAUSE = 0.005, 0.25  # seconds between looks at the outbox
FIRST_BACKOFF, LONGEST_BACKOFF = 0.5, 30.0  # seconds between tries when the broker or the database is away


class Relay:
    """Publishes the outbox of one database. Many may run; each event is in the hands of one.

    Args:
        publisher: where to publish.
        using: the alias of the database.
        batch: how many events are published before their confirms are awaited.
    """

    def __init__(self, publisher: RabbitMQ, *, using: str, batch: int = BATCH) -> None:
        self.publisher = publisher
        self.using = using
        self.batch = batch
        self.published = 0
        self._failures = 0

    def run(self, stop: threading.Event) -> None:
        """Publish until told to stop; a batch in flight is finished first."""
        pause = SHORTEST_PAUSE
        try:
            while not stop.is_set():
                sent = self._attempt()
                if sent is None:
                    stop.wait(self._backoff())
                    continue
                pause = SHORTEST_PAUSE if sent else min(pause * 2, LONGEST_PAUSE)
                stop.wait(pause if sent < self.batch else 0)
        finally:
            self._leave()

    def wait_for_broker(self, stop: threading.Event, *, tell: Callable[[BrokerError], None]) -> bool:
        """Connect, as often as it takes; return whether that was done before it was told to stop.

        Args:
            stop: set to give up.
            tell: called with what went wrong, after each try that failed.
        """
        while not stop.is_set():
            try:
                self.publisher.connect()
            except BrokerError as error:
                tell(error)
                self._failures += 1
                stop.wait(self._backoff())
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
        return self.published

    def publish_batch(self) -> int:
        """Publish one batch and return how many events the broker has confirmed.

        Connects even if nothing waits: that the broker is away is said before the first event, not after it.

        Raises:
            BrokerError: the broker went away, timed out or refused; the confirmed are deleted, the others wait.
            DatabaseError: the database is away.
        """
        self.publisher.connect()
        if not claims.is_pending(using=self.using):
            return 0
        with transaction.atomic(using=self.using, durable=True), connections[self.using].cursor() as cursor:
            events = claims.claim(cursor, limit=self.batch)
            if not events:
                return 0
            confirmed, failure = self.publisher.publish(events, timeout=CONFIRM_TIMEOUT)
            claims.delete(cursor, confirmed)
        self.published += len(confirmed)
        if failure is not None:
            raise failure
        return len(confirmed)

    def _attempt(self) -> int | None:
        """Publish a batch; None where the broker or the database did not play along, which is logged once per try."""
        try:
            sent = self.publish_batch()
        except BrokerError as error:
            logger.warning("%s Events wait in the outbox.", error)
        except (DatabaseError, InterfaceError) as error:
            logger.warning("The database is away (%s).", type(error).__name__)
            self._leave()
        else:
            if self._failures:
                logger.warning("Publishing, after %d failed tries.", self._failures)
            self._failures = 0
            return sent
        self._failures += 1
        return None

    def _backoff(self) -> float:
        """Return how long to wait, with full jitter, so that many relays do not come back at once."""
        ceiling = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(self._failures, 10))
        return random.uniform(FIRST_BACKOFF / 2, ceiling)  # noqa: S311  # jitter, not a secret

    def _leave(self) -> None:
        self.publisher.close()
        with suppress(DatabaseError, InterfaceError):
            connections[self.using].close()


def configured_relay(*, using: str, batch: int = BATCH) -> Relay:
    """Return a relay as the settings describe the broker.

    Raises:
        ImproperlyConfigured: there is no `RABBITMQ_HOST`.
    """
    configured = broker()
    if configured is None:
        raise ImproperlyConfigured("There is no broker to publish to: set RABBITMQ_HOST.")
    rabbitmq = RabbitMQ(configured, exchange=settings.AUDIT_EXCHANGE, declare=settings.AUDIT_DECLARE)
    return Relay(rabbitmq, using=using, batch=batch)
