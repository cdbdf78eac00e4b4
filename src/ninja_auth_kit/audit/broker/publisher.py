"""What the relay publishes with: connect when needed, publish a batch, leave at any doubt."""

import os
import random
import socket
import ssl
from collections.abc import Sequence

import pika

from ninja_auth_kit.audit.broker.batch import Batch, ClaimedEvent, PublishResult
from ninja_auth_kit.audit.broker.connection import Connection
from ninja_auth_kit.audit.broker.errors import BrokerError, quieten_pika
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
        self.connections = 0
        self._connection: Connection | None = None
        self._process = 0
        quieten_pika()

    def connect(self) -> None:
        """Connect and see to the topology, unless that is done.

        Raises:
            BrokerError: it did not work, or the broker blocks publishers because its memory or disk is full.
        """
        if self._process != os.getpid():  # a fork has no thread to serve what it has inherited
            self._connection, self._process = None, os.getpid()
        if self._connection is not None and self._connection.blocked and not self._connection.lost:
            raise self._connection.blocked
        if self._connection is None or self._connection.lost or self._connection.is_spent:
            self.close()
            self._connection = self._open()
            self.connections += 1

    def publish(self, events: Sequence[ClaimedEvent], *, timeout: float) -> PublishResult:
        """Publish a batch, persistent and mandatory, and wait until the broker has answered for each event.

        Args:
            events: in the order in which they are to arrive.
            timeout: seconds to wait for all the answers.

        Returns:
            A verdict for each event that has one. After a failure the connection is not used again: a late confirm
            must not count for another batch.
        """
        batch = Batch(events)
        if self._connection is None:
            batch.verdicts.failure = BrokerError("there is no connection", host=self.where, port=self.address.port)
            return batch.verdicts
        batch.verdicts.failure = self._connection.publish(batch, timeout)
        if batch.verdicts.failure is not None and not self._connection.blocked:
            self.close()
        return batch.verdicts

    @property
    def where(self) -> str:
        """The host that it is connected to, or those that it would connect to."""
        return self._connection.parameters.host if self._connection else ", ".join(self.address.hosts)

    @property
    def is_blocked(self) -> bool:
        """Whether the broker has said that it takes nothing for now."""
        return self._connection is not None and self._connection.blocked is not None

    def close(self) -> None:
        """Close the connection and end its thread."""
        if self._connection is not None and self._process == os.getpid():
            self._connection.stop()
        self._connection = None

    def _open(self) -> Connection:
        """Try each host once, in an order of its own, so that many relays spread over a cluster."""
        failure: BrokerError | None = None
        for host in random.sample(self.address.hosts, len(self.address.hosts)):
            connection = Connection(_parameters(self.address, host), self.exchange, self.declare)
            try:
                connection.start()
            except BrokerError as error:
                connection.stop()
                failure = error
            else:
                return connection
        raise failure or BrokerError("no host is named", host="", port=self.address.port)


def _parameters(address: Broker, host: str) -> pika.ConnectionParameters:
    """Return how to connect. One try, for the relay backs off by itself; a dead peer is found within 15 seconds.

    A connection that is blocked stays, however long: what it has sent is published once the broker reads again, and
    a new one would bring it once more.
    """
    context = ssl.create_default_context() if address.tls else None
    return pika.ConnectionParameters(
        host=host,
        port=address.port,
        virtual_host=address.vhost,
        credentials=pika.PlainCredentials(address.user, address.password),
        ssl_options=pika.SSLOptions(context, host) if context else None,
        heartbeat=15,
        connection_attempts=1,
        socket_timeout=5,
        stack_timeout=10,
        tcp_options={"TCP_USER_TIMEOUT": 15_000},
        client_properties={"connection_name": f"ninja_auth_kit relay {socket.gethostname()} {os.getpid()}"},
    )
