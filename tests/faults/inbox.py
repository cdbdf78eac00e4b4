"""What has come in for a case: a queue of its own, and the catch-all stream beside it."""

import contextlib
from collections.abc import Callable, Iterator

import pika
from pika.adapters.blocking_connection import BlockingChannel

QUIET, PATIENCE = 0.5, 5.0  # seconds without a message, when all are here and when some are not


class Inbox:
    """A queue for every event of a case, read when all is over: in the order in which the relay has published.

    Args:
        port: of the broker.
        exchange: which is declared too.
    """

    def __init__(self, port: int, exchange: str) -> None:
        self.port, self.exchange, self.vhost = port, exchange, "/"
        self.queue, self.stream = (exchange.removesuffix(".events") + kind for kind in (".inbox", ".audit"))
        with self._channel() as channel:
            channel.queue_declare(self.queue, durable=True, arguments={"x-queue-type": "quorum"})
        self.bind()

    def bind(self) -> None:
        """Let events come in."""
        with self._channel() as channel:
            channel.exchange_declare(self.exchange, "topic", durable=True)
            channel.queue_bind(self.queue, self.exchange, "#")

    def unbind(self) -> None:
        """Let no more events come in."""
        with self._channel() as channel:
            channel.queue_unbind(self.queue, self.exchange, "#")

    def delete_exchange(self) -> None:
        """Delete the exchange, and with it its bindings; what is in the queue stays."""
        with self._channel() as channel:
            channel.exchange_delete(self.exchange)

    def read(self, is_all: Callable[[], bool]) -> Iterator[bytes]:
        """Take out every message, and wait a little longer than that, so that a duplicate is not missed.

        Args:
            is_all: tells whether everything is here that must come.
        """
        with self._channel() as channel:
            for _tag, body in _until_quiet(
                channel.consume(self.queue, auto_ack=True, inactivity_timeout=QUIET), is_all
            ):
                yield body

    def read_stream(self, is_all: Callable[[], bool]) -> Iterator[bytes]:
        """Read the stream, from its beginning."""
        with self._channel() as channel:
            channel.basic_qos(prefetch_count=500)
            first = {"x-stream-offset": "first"}
            for tag, body in _until_quiet(
                channel.consume(self.stream, arguments=first, inactivity_timeout=QUIET), is_all
            ):
                yield body
                channel.basic_ack(tag)

    def remove(self) -> None:
        """Leave nothing behind for the next case."""
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
            # Not channel.cancel(): it would return prefetched messages, and a stream takes none back.
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
