"""The queue that collects the events of a case, and the catch-all stream beside it."""

import contextlib
from collections.abc import Callable, Iterator

import pika
from pika.adapters.blocking_connection import BlockingChannel

# Seconds without a message until reading ends, if all have arrived and if not.
QUIET, PATIENCE = 0.5, 5.0


class Inbox:
    """A queue that collects every event of a case, in the order in which the relay publishes them.

    Args:
        port: the port of the broker.
        exchange: the exchange, which is declared too.
    """

    def __init__(self, port: int, exchange: str) -> None:
        self.port, self.exchange, self.vhost = port, exchange, "/"
        self.queue, self.stream = (exchange.removesuffix(".events") + kind for kind in (".inbox", ".audit"))
        with self._channel() as channel:
            channel.queue_declare(self.queue, durable=True, arguments={"x-queue-type": "quorum"})
        self.bind()

    def bind(self) -> None:
        """Bind the queue to the exchange."""
        with self._channel() as channel:
            channel.exchange_declare(self.exchange, "topic", durable=True)
            channel.queue_bind(self.queue, self.exchange, "#")

    def unbind(self) -> None:
        """Remove the binding, so that no more events are routed to the queue."""
        with self._channel() as channel:
            channel.queue_unbind(self.queue, self.exchange, "#")

    def delete_exchange(self) -> None:
        """Delete the exchange and its bindings. The queue keeps its messages."""
        with self._channel() as channel:
            channel.exchange_delete(self.exchange)

    def read(self, is_all: Callable[[], bool]) -> Iterator[bytes]:
        """Read every message, and wait a little longer, in order not to miss a duplicate.

        Args:
            is_all: a function that returns whether every expected message has arrived.
        """
        with self._channel() as channel:
            for _tag, body in _until_quiet(
                channel.consume(self.queue, auto_ack=True, inactivity_timeout=QUIET), is_all
            ):
                yield body

    def read_stream(self, is_all: Callable[[], bool]) -> Iterator[bytes]:
        """Read the stream from its beginning."""
        with self._channel() as channel:
            channel.basic_qos(prefetch_count=500)
            first = {"x-stream-offset": "first"}
            for tag, body in _until_quiet(
                channel.consume(self.stream, arguments=first, inactivity_timeout=QUIET), is_all
            ):
                yield body
                channel.basic_ack(tag)

    def remove(self) -> None:
        """Delete the queue, the stream and the exchange."""
        with contextlib.suppress(pika.exceptions.AMQPError), self._channel() as channel:
            for queue in (self.queue, self.stream):
                channel.queue_delete(queue)
            channel.exchange_delete(self.exchange)

    @contextlib.contextmanager
    def _channel(self) -> Iterator[BlockingChannel]:
        connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", self.port, self.vhost))
        try:
            yield connection.channel()
        finally:
            # `channel.cancel()` would return prefetched messages to the queue, which a stream does
            # not support.
            with contextlib.suppress(pika.exceptions.AMQPError):
                connection.close()


def _until_quiet(messages: Iterator[tuple[object, ...]], is_all: Callable[[], bool]) -> Iterator[tuple[int, bytes]]:
    quiet = 0.0
    for method, _properties, body in messages:
        if method is not None:
            quiet = 0.0
            yield method.delivery_tag, body
            continue
        quiet += QUIET
        if quiet >= (QUIET if is_all() else PATIENCE):
            return
