"""The publisher of the relay: it connects when needed, publishes batches, and reconnects if in doubt."""

import os
import random
import socket
from collections.abc import Sequence

import pika

from ninja_auth_kit.audit.broker.batch import Batch, ClaimedEvent, PublishResult
from ninja_auth_kit.audit.broker.connection import Connection
from ninja_auth_kit.audit.broker.errors import BrokerError, quieten_pika
from ninja_auth_kit.conf import Broker, BrokerAddress
from ninja_auth_kit.tls import TLSFileError


class RabbitMQ:
    """Publishes batches over a connection that is opened when it is needed.

    Args:
        broker: the addresses and the credentials of the broker.
        exchange: the topic exchange of the events.
        declare: whether to declare the exchange and the catch-all stream. Otherwise the exchange must exist.
    """

    def __init__(self, broker: Broker, *, exchange: str, declare: bool) -> None:
        self.broker, self.exchange, self.declare = broker, exchange, declare
        self.connections = 0
        self._connection: Connection | None = None
        self._process_id = 0
        quieten_pika()

    def connect(self) -> None:
        """Connect and declare or check the exchange, unless that has been done.

        Raises:
            BrokerError: it failed, or the broker blocks publishers because its memory or disk is full.
        """
        if self._process_id != os.getpid():  # a forked process has no thread that serves the inherited connection
            self._connection, self._process_id = None, os.getpid()
        if self._connection is not None and self._connection.blocked and not self._connection.failure:
            raise self._connection.blocked
        if self._connection is None or self._connection.failure or self._connection.has_missing_answers:
            self.close()
            self._connection = self._open()
            self.connections += 1

    def publish(self, events: Sequence[ClaimedEvent], *, timeout: float) -> PublishResult:
        """Publish a batch, persistent and mandatory, and wait until the broker has answered for each event.

        Args:
            events: in the order in which they must arrive.
            timeout: the number of seconds to wait for all answers.

        Returns:
            What became of each event. After a failure the connection is not used again: a late confirm must not count
            for another batch.
        """
        batch = Batch(events)
        if self._connection is None:
            batch.result.failure = BrokerError("not connected", *self.broker.addresses[0])
            return batch.result
        batch.result.failure = self._connection.publish(batch, timeout)
        if batch.result.failure is not None and not self._connection.blocked:
            self.close()
        return batch.result

    @property
    def where(self) -> str:
        """The host and port that it is connected to. Without a connection, all that are configured."""
        if self._connection:
            return str(BrokerAddress(self._connection.parameters.host, self._connection.parameters.port))
        return ", ".join(map(str, self.broker.addresses))

    @property
    def is_blocked(self) -> bool:
        """Whether the broker has announced that it accepts no messages for now."""
        return self._connection is not None and self._connection.blocked is not None

    def close(self) -> None:
        """Close the connection and end its thread."""
        if self._connection is not None and self._process_id == os.getpid():
            self._connection.stop()
        self._connection = None

    def _open(self) -> Connection:
        """Try each host once, in random order, so that many relays are spread over a cluster."""
        failure: BrokerError | None = None
        for address in random.sample(self.broker.addresses, len(self.broker.addresses)):
            try:
                connection = Connection(_parameters(self.broker, address), self.exchange, self.declare)
            except TLSFileError as error:  # files are not complete while they are replaced
                failure = BrokerError(f"TLS: {error}", *address)
                continue
            try:
                connection.start()
            except BrokerError as error:
                connection.stop()
                failure = error
            else:
                return connection
        raise failure or BrokerError("no host is configured", host="", port=0)


def _parameters(broker: Broker, address: BrokerAddress) -> pika.ConnectionParameters:
    """Return the connection parameters.

    pika makes one attempt, because the relay has its own backoff. A dead peer is detected within 15 seconds. A blocked
    connection is kept for any time: what was sent is published once the broker reads again, and a new connection would
    send it once more.

    Raises:
        TLSFileError: a file of the TLS settings cannot be used.
    """
    return pika.ConnectionParameters(
        host=address.host,
        port=address.port,
        virtual_host=broker.vhost,
        credentials=pika.PlainCredentials(broker.user, broker.password),
        ssl_options=pika.SSLOptions(broker.tls.context(), address.host) if broker.tls else None,
        heartbeat=15,
        connection_attempts=1,
        socket_timeout=5,
        stack_timeout=10,
        tcp_options={"TCP_USER_TIMEOUT": 15_000},
        client_properties={"connection_name": f"ninja_auth_kit relay {socket.gethostname()} {os.getpid()}"},
    )
