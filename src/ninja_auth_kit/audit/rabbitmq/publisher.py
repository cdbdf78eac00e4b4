"""What the relay publishes with: connect when needed, publish a batch, leave at any doubt."""

import logging
import os
import socket
import ssl
from collections.abc import Sequence

import pika

from ninja_auth_kit.audit.claims import ClaimedEvent
from ninja_auth_kit.audit.rabbitmq.confirms import Batch
from ninja_auth_kit.audit.rabbitmq.connection import Connection
from ninja_auth_kit.audit.rabbitmq.failures import BrokerError
from ninja_auth_kit.conf import Broker


class RabbitMQ:
    """Publishes batches over a connection that it opens when it is needed.

    Args:
        address: where, and as whom.
        exchange: the topic exchange of the events.
        declare: whether to declare the exchange and the catch-all stream, or only to look whether the exchange exists.
    """

    def __init__(self, address: Broker, *, exchange: str, declare: bool) -> None:
        self.address, self.exchange, self.declare = address, exchange, declare
        self._connection: Connection | None = None
        _quieten_pika()

    def connect(self) -> None:
        """Connect and see to the topology, unless that is done.

        Raises:
            BrokerError: it did not work, or the broker blocks publishers because its memory or disk is full.
        """
        if self._connection is None or self._connection.lost is not None:
            self.close()
            self._connection = Connection(_parameters(self.address), self.exchange, self.declare)
            self._connection.start()
        if self._connection.blocked:
            raise self._error("it blocks publishers: its memory or its disk is full")

    def publish(self, events: Sequence[ClaimedEvent], *, timeout: float) -> tuple[list[int], BrokerError | None]:
        """Publish a batch, persistent and mandatory, and wait until the broker has answered for each event.

        Args:
            events: in the order in which they are to arrive.
            timeout: seconds to wait for all the answers.

        Returns:
            The row ids of the events that the broker has confirmed and routed, and what went wrong with the others, or
            None. After a timeout the connection is closed: a late confirm must not count for another batch.
        """
        batch = Batch(events)
        if self._connection is None:
            return [], self._error("there is no connection")
        failure = self._connection.publish(batch, timeout)
        if failure is not None:
            self.close()
        elif len(batch.confirmed) < len(events):
            failure = self._error(f"{len(events) - len(batch.confirmed)} events were refused or routed nowhere")
        return list(batch.confirmed), failure

    def close(self) -> None:
        """Close the connection and end its thread."""
        if self._connection is not None:
            self._connection.stop()
            self._connection = None

    def _error(self, cause: str) -> BrokerError:
        return BrokerError(cause, host=self.address.host, port=self.address.port)


def _parameters(address: Broker) -> pika.ConnectionParameters:
    """Return how to connect. One try, for the relay backs off by itself; a dead peer is found within 15 seconds."""
    context = ssl.create_default_context() if address.tls else None
    return pika.ConnectionParameters(
        host=address.host,
        port=address.port,
        virtual_host=address.vhost,
        credentials=pika.PlainCredentials(address.user, address.password),
        ssl_options=pika.SSLOptions(context, address.host) if context else None,
        heartbeat=15,
        blocked_connection_timeout=30,
        connection_attempts=1,
        socket_timeout=5,
        stack_timeout=10,
        tcp_options={"TCP_USER_TIMEOUT": 15_000},
        client_properties={"connection_name": f"ninja_auth_kit relay {socket.gethostname()} {os.getpid()}"},
    )


def _quieten_pika() -> None:
    """Keep pika from logging ten lines for each failed try, unless the host has chosen a level for it."""
    pika_logger = logging.getLogger("pika")
    if pika_logger.level == logging.NOTSET:
        pika_logger.setLevel(logging.CRITICAL)
