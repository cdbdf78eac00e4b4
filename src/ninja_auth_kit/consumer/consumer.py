"""The consumer: one connection whose heartbeats flow in this thread, and the handlers in another."""

import _thread
import logging
import random
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import pika
from pika.adapters.blocking_connection import BlockingChannel

from ninja_auth_kit.audit.broker.errors import BrokerError
from ninja_auth_kit.audit.events import Event
from ninja_auth_kit.consumer import connections, consumer
from ninja_auth_kit.consumer.handling import PAUSES, Answer, Handling, UnacceptableError
from ninja_auth_kit.consumer.stores import Store

__all__ = ["Consumer", "UnacceptableError"]

logger = logging.getLogger("ninja_auth_kit.consumer")

E = TypeVar("E", bound=Event)
D = TypeVar("D")

FIRST_BACKOFF, LONGEST_BACKOFF = 0.5, 30.0  # seconds between tries to connect


class Consumer(Generic[D]):
    """Handles the events of a queue of its own, each once, in the order in which they arrive.

    Args:
        url: where the broker is: `amqp://user:password@host:port/vhost`, `amqps://` for TLS, or a list of such.
        queue: the name of its queue, which keeps events while no consumer runs; several processes may share one.
        store: remembers which events were handled, `Postgres` or `Memory`.
        bindings: the routing keys that it wants, such as `auth.session.#`; by default those of its handlers.
        exchange: the exchange of the events, `AUDIT_EXCHANGE` of the producer.
        single_active: whether one of several processes handles events and the others stand by, which keeps their
            order; otherwise they share the work.
        prefetch: how many messages the broker sends ahead. A crash counts as a delivery for each of them.
        pauses: seconds before an event that a handler has failed on comes again, one for each of at most five more
            deliveries; then it goes to the dead letters. Meanwhile the others wait.

    Attributes:
        is_consuming: whether the queue is being consumed at the moment.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        queue: str,
        store: Store[D],
        bindings: Sequence[str] | None = None,
        exchange: str = "auth.events",
        single_active: bool = True,
        prefetch: int = 20,
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        if len(pauses) > consumer.DELIVERY_LIMIT:
            raise ValueError(f"pauses has {len(pauses)}; the queue allows {consumer.DELIVERY_LIMIT} more deliveries.")
        self._urls = connections.listed(url)
        self.queue, self.exchange, self.prefetch = queue, exchange, prefetch
        self._bindings, self._single_active = bindings, single_active
        self._stop = threading.Event()
        self._handling = Handling(store, self._stop, pauses)
        self._connection: pika.BlockingConnection | None = None
        self.is_consuming = False

    def on(self, *kinds: type[E]) -> Callable[[Callable[[E, D], None]], Callable[[E, D], None]]:
        """Let a function handle events of these kinds; `Event` is every kind that is known.

        It is called with the event and with what the store works with: for `Postgres` a cursor, whose transaction
        commits with it. An exception gives the event back to the broker, which brings it again after a pause, up to
        five times within a minute; then it goes to the dead letters.
        """

        def add(handler: Callable[[E, D], None]) -> Callable[[E, D], None]:
            self._handling.handlers += [(kind, handler) for kind in kinds]
            return handler

        return add

    def run(self) -> None:
        """Consume until `stop`, SIGTERM or SIGINT; the event in hand is finished first.

        The same signal again ends it at once. A broker or a store that is away is tried again for ever.

        Raises:
            ValueError: the URL is none, or there is no handler.
        """
        if not self._handling.handlers:
            raise ValueError("There is no handler: put @consumer.on(...) before a function.")
        with _stopped_by_signals(self.stop):
            self._run()

    def stop(self) -> None:
        """End `run`, from any thread or from a signal handler."""
        # In a thread of its own: what a signal has interrupted may hold the lock of the event.
        _thread.start_new_thread(self._stop.set, ())

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                self._consume()
                failures = 0
            except BrokerError as error:
                failures = 0 if self._connection else failures + 1
                logger.warning("%s Trying again.", error)
                ceiling = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(failures, 10))
                self._stop.wait(random.uniform(FIRST_BACKOFF / 2, ceiling))  # noqa: S311  # jitter, not a secret
            finally:
                self._connection, self.is_consuming = None, False
        self._handling.store.close()

    def _consume(self) -> None:
        link = connections.connect(self._urls, name=f"ninja_auth_kit consumer {self.queue}", exchange=self.exchange)
        self._connection = connection = link.connection
        worker = ThreadPoolExecutor(1, thread_name_prefix="ninja_auth_kit-consumer")
        try:
            with connections.told(link.parameters, exchange=self.exchange):
                channel = self._open(connection, worker)
                while not self._stop.is_set():
                    connection.process_data_events(time_limit=0.5)
                _finish(connection, channel, worker)
        finally:
            worker.shutdown(cancel_futures=True)

    def _open(self, connection: pika.BlockingConnection, worker: ThreadPoolExecutor) -> BlockingChannel:
        """See to the queue and begin to consume it."""
        channel = connection.channel()
        consumer.declare(
            channel,
            queue=self.queue,
            exchange=self.exchange,
            bindings=self._handling.bindings() if self._bindings is None else self._bindings,
            single_active=self._single_active,
        )
        channel.basic_qos(prefetch_count=self.prefetch)
        channel.basic_consume(self.queue, lambda *message: self._take(worker, *message))
        self.is_consuming = True
        logger.info("Consuming %s.", self.queue)
        return channel

    def _take(
        self, worker: ThreadPoolExecutor, channel: BlockingChannel, method: Any, properties: Any, body: bytes
    ) -> None:
        """Give a message to the worker, and its answer to the broker, from the thread of the connection."""
        if self._stop.is_set():
            return  # it goes back to the queue with the channel
        connection, tag = self._connection, method.delivery_tag
        deliveries = int((properties.headers or {}).get("x-delivery-count", 0))

        def tell(done: Future[Answer | None]) -> None:
            if connection is not None and connection.is_open and not done.cancelled():
                answer = done.result()
                connection.add_callback_threadsafe(lambda: _tell(channel, tag, answer))

        worker.submit(self._handling.answer, body, deliveries=deliveries).add_done_callback(tell)


@contextmanager
def _stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Stop on SIGTERM or SIGINT; the same one again does what it did before, which is to end the process.

    The other one does not: Ctrl-C tells the whole group, and a parent in it then tells its children once more.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def first(number: int, _: Any) -> None:
        signal.signal(number, before[signal.Signals(number)])
        stop()

    for number in before:
        signal.signal(number, first)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _finish(connection: pika.BlockingConnection, channel: BlockingChannel, worker: ThreadPoolExecutor) -> None:
    """Let the event in hand end and its answer leave; what was sent ahead goes back to the queue."""
    ending = threading.Thread(target=worker.shutdown, kwargs={"cancel_futures": True})
    ending.start()
    while ending.is_alive():
        connection.process_data_events(time_limit=0.05)
    connection.process_data_events(time_limit=0)
    if channel.is_open:
        channel.close()
    connection.close()


def _tell(channel: BlockingChannel, tag: int, answer: Answer | None) -> None:
    if answer is None or not channel.is_open:
        return
    if answer is Answer.DONE:
        channel.basic_ack(tag)
    else:
        channel.basic_nack(tag, requeue=answer is Answer.AGAIN)


DELIVERY_LIMIT = 5


def dead_letters(queue: str) -> str:
    """Return the name of the queue, and of the exchange before it, of what could not be handled."""
    return f"{queue}.dead"


def declare(
    channel: BlockingChannel, *, queue: str, exchange: str, bindings: Sequence[str], single_active: bool
) -> None:
    """Declare the queue with its dead letters, and bind it; what is there already stays as it is.

    The exchange is the producer's, so it is only looked for. A quorum queue, for it counts deliveries: RabbitMQ 4
    drops what it has delivered 20 times, unless there is somewhere for it to go.
    """
    channel.exchange_declare(exchange, passive=True)
    dead = dead_letters(queue)
    channel.exchange_declare(dead, "fanout", durable=True)
    channel.queue_declare(dead, durable=True, arguments={"x-queue-type": "quorum"})
    channel.queue_bind(dead, dead)
    arguments = {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": dead,
        "x-single-active-consumer": single_active,
    }
    channel.queue_declare(queue, durable=True, arguments=arguments)
    for key in bindings:
        channel.queue_bind(queue, exchange, key)
