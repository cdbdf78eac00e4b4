"""The consumer: a connection that is served in this thread, and a worker thread for the handlers.

So heartbeats are answered while a handler takes its time.
"""

import _thread
import logging
import random
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, Generic, TypeVar

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker, ConnectionWrongStateError

from ninja_auth_kit.audit.broker.errors import PIKA_ERRORS, BrokerError
from ninja_auth_kit.audit.events import Event
from ninja_auth_kit.consumer.connections import BrokerConnection, as_list, broker_errors, connect
from ninja_auth_kit.consumer.handling import PAUSES, Answer, MessageHandler, UnacceptableError
from ninja_auth_kit.consumer.stores import Store
from ninja_auth_kit.tls import TLS

__all__ = ["Consumer", "UnacceptableError"]

logger = logging.getLogger("ninja_auth_kit.consumer")

E = TypeVar("E", bound=Event)
D = TypeVar("D")

# The broker counts deliveries of events that no handler saw, and looks at dead letters, too. So its
# limit must never be reached. It is not -1 ("no limit"), because RabbitMQ 3.10 then drops a message
# when it is requeued for the first time, and RabbitMQ 4 without an argument has a limit of 20.
DELIVERY_LIMIT = 1_000_000_000
ARGUMENTS_DIFFER = 406  # the reply code of the broker
HOW_TO_REPLACE = (
    "The arguments of a queue cannot be changed, and a policy does not change what was declared. Let the consumer use "
    "another queue name, move the events of the old queue there, and delete the old queue and its dead letters (see "
    '"Another queue" in docs/consumers.md)'
)
FIRST_BACKOFF, LONGEST_BACKOFF = 0.5, 30.0  # seconds between attempts to connect


class Consumer(Generic[D]):
    """Handles the events of its own queue, each once, in the order in which they arrive.

    Args:
        url: the URL of the broker, `amqp://user:password@host:port/vhost` or `amqps://` for TLS, or a list of URLs.
        queue: the name of the queue. It keeps events while no consumer runs. Several processes may share it.
        store: remembers which events were handled: `Postgres` or `Memory`.
        bindings: patterns of the routing keys to receive, such as `auth.session.#`. By default, those of the handlers.
        exchange: the exchange of the events, which is `AUDIT_EXCHANGE` of the producer.
        single_active: whether only one of several processes handles events while the others stand by, which keeps the
            order. Otherwise they share the work.
        prefetch: the number of messages that the broker sends ahead.
        pauses: the seconds before an event is delivered again after a handler failed, one item for each try after the
            first. After the last try, the event becomes a dead letter. During a pause other events wait.
        tls: the files of `amqps://` connections, such as a client certificate.

    Attributes:
        is_consuming: whether the consumer is receiving messages at the moment.
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
        tls: TLS | None = None,
    ) -> None:
        self._urls, self._tls = as_list(url), tls
        self.queue, self.exchange, self.prefetch = queue, exchange, prefetch
        self._bindings, self._single_active = bindings, single_active
        self._stop = threading.Event()
        self._message_handler = MessageHandler(store, self._stop, pauses)
        self._connection: pika.BlockingConnection | None = None
        self.is_consuming = False

    def on(self, *kinds: type[E]) -> Callable[[Callable[[E, D], None]], Callable[[E, D], None]]:
        """Register the decorated function as a handler of event classes. `Event` means all known events.

        The function is called with the event and with what the store provides. With `Postgres` this is a cursor, and
        its transaction also records that the event was handled. If the function raises an exception, the broker
        delivers the event again after a pause, by default five times within a minute. Then it becomes a dead letter.
        """

        def register(handler: Callable[[E, D], None]) -> Callable[[E, D], None]:
            self._message_handler.handlers += [(kind, handler) for kind in kinds]
            return handler

        return register

    def run(self) -> None:
        """Consume until `stop`, SIGTERM or SIGINT. The current event is finished first.

        The same signal again ends the process at once. If the broker or the store is not available, the consumer tries
        again until it is.

        Raises:
            ValueError: a URL is malformed, no handler is registered, or a file of `tls` cannot be used.
        """
        if not self._message_handler.handlers:
            raise ValueError("The consumer has no handler. Decorate a function with @consumer.on(...).")
        if self._tls is not None:
            self._tls.context()  # at the start a mistake; later the files may be about to be replaced
        with _stopped_by_signals(self.stop):
            self._run()

    def stop(self) -> None:
        """End `run`. It can be called from any thread and from a signal handler."""
        # In another thread, because the code that a signal interrupted may hold the lock of the
        # event. Setting it here would then wait for ever.
        _thread.start_new_thread(self._stop.set, ())

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                self._consume()
                failures = 0
            except BrokerError as error:
                failures = 0 if self.is_consuming else failures + 1
                logger.warning("%s Trying again.", error)
                ceiling = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(failures, 10))
                self._stop.wait(random.uniform(FIRST_BACKOFF / 2, ceiling))  # noqa: S311  # jitter, not a secret
            finally:
                self._connection, self.is_consuming = None, False
        self._message_handler.store.close()

    def _consume(self) -> None:
        """Connect and consume until `stop` is set, or until the connection fails."""
        name = f"ninja_auth_kit consumer {self.queue}"
        broker = connect(self._urls, name=name, exchange=self.exchange, tls=self._tls)
        self._connection = connection = broker.connection
        worker = ThreadPoolExecutor(1, thread_name_prefix="ninja_auth_kit-consumer")
        try:
            with broker_errors(broker.parameters, exchange=self.exchange):
                channel = self._open_channel(broker, worker)
                while not self._stop.is_set():
                    connection.process_data_events(time_limit=0.5)
                    _check_consuming(broker, channel, self.queue)
                _finish(connection, channel, worker)
        finally:
            with suppress(*PIKA_ERRORS):  # it is closed already
                connection.close()
            worker.shutdown(cancel_futures=True)

    def _open_channel(self, broker: BrokerConnection, worker: ThreadPoolExecutor) -> BlockingChannel:
        """Declare the queue, and start consuming it."""
        channel = broker.connection.channel()
        try:
            declare(
                channel,
                queue=self.queue,
                exchange=self.exchange,
                bindings=self._message_handler.bindings() if self._bindings is None else self._bindings,
                single_active=self._single_active,
            )
        except ChannelClosedByBroker as error:
            if error.reply_code == ARGUMENTS_DIFFER:
                raise _error(broker, f"{error.reply_text}. {HOW_TO_REPLACE}") from None
            raise
        channel.basic_qos(prefetch_count=self.prefetch)
        channel.basic_consume(self.queue, lambda *message: self._on_message(worker, *message))
        self.is_consuming = True
        logger.info("Consuming %s.", self.queue)
        return channel

    def _on_message(
        self, worker: ThreadPoolExecutor, channel: BlockingChannel, method: Any, properties: Any, body: bytes
    ) -> None:
        """Pass a message to the worker. Its answer is sent by the thread of the connection, as pika requires."""
        if self._stop.is_set():
            return  # the message goes back to the queue when the channel is closed
        connection, tag = self._connection, method.delivery_tag

        def send_answer(done: Future[Answer | None]) -> None:
            if connection is not None and connection.is_open and not done.cancelled():
                answer = done.result()
                with suppress(ConnectionWrongStateError):  # it was lost just now: the event is delivered again
                    connection.add_callback_threadsafe(lambda: _send_answer(channel, tag, answer))

        # Not the header x-delivery-count: it is still in a dead letter that was moved back.
        is_redelivered = bool(method.redelivered)
        handling = worker.submit(self._message_handler.handle, body, is_redelivered=is_redelivered)
        handling.add_done_callback(send_answer)


@contextmanager
def _stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Stop on SIGTERM or SIGINT. The same signal again has its original effect, which is to end the process.

    The other signal does not: Ctrl-C signals the whole process group, and a parent process in it may then send another
    signal to its children.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    original = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def stop_once(number: int, _: Any) -> None:
        signal.signal(number, original[signal.Signals(number)])
        stop()

    for number in original:
        signal.signal(number, stop_once)
    try:
        yield
    finally:
        for number, handler in original.items():
            signal.signal(number, handler)


def _finish(connection: pika.BlockingConnection, channel: BlockingChannel, worker: ThreadPoolExecutor) -> None:
    """Wait for the current event and send its answer. Messages that were sent ahead go back to the queue."""
    shutdown = threading.Thread(target=worker.shutdown, kwargs={"cancel_futures": True})
    shutdown.start()
    while shutdown.is_alive():
        connection.process_data_events(time_limit=0.05)
    connection.process_data_events(time_limit=0)
    _close_in_order(connection, channel)
    connection.close()


def _close_in_order(connection: pika.BlockingConnection, channel: BlockingChannel) -> None:
    """Close the channel without cancelling the consumer first, as pika does.

    After `basic.cancel`, the broker activates the next consumer, which then receives later events before those that
    were sent ahead to this one. When a channel is closed, these are back in the queue first.
    """
    implementation: Any = vars(channel).get("_impl")
    cancelled = getattr(implementation, "_cancelled", None)
    if cancelled is None or channel.is_closed:
        return  # With another version of pika, the order may be lost, but no event is.
    cancelled.update(channel.consumer_tags)
    implementation.close()
    while channel.is_open:
        connection.process_data_events(time_limit=0.05)


def _check_consuming(broker: BrokerConnection, channel: BlockingChannel, queue: str) -> None:
    """Raise an error if the broker has closed only the channel, or has cancelled the consumer. pika does not."""
    if channel.is_closed:
        raise getattr(channel, "_closing_reason", None) or _error(broker, "the channel was closed")
    if not channel.consumer_tags:
        raise _error(broker, f"the queue {queue!r} was deleted, or its leader was lost")


def _error(broker: BrokerConnection, cause: str) -> BrokerError:
    return BrokerError(cause, host=broker.parameters.host, port=broker.parameters.port)


def _send_answer(channel: BlockingChannel, tag: int, answer: Answer | None) -> None:
    if answer is None or not channel.is_open:
        return
    if answer is Answer.ACKNOWLEDGE:
        channel.basic_ack(tag)
    else:
        channel.basic_reject(tag, requeue=answer is Answer.REQUEUE)


def declare(
    channel: BlockingChannel, *, queue: str, exchange: str, bindings: Sequence[str], single_active: bool
) -> None:
    """Declare the queue and its dead letters, and bind the queue. Bindings that exist already stay.

    The exchange belongs to the producer, so it is only checked. Both queues are quorum queues, which are replicated in
    a cluster. Both have the same limit: looking at a message in the management pages counts as a delivery.
    """
    channel.exchange_declare(exchange, passive=True)
    dead = dead_letters(queue)
    channel.exchange_declare(dead, "fanout", durable=True)
    unlimited = {"x-queue-type": "quorum", "x-delivery-limit": DELIVERY_LIMIT}
    channel.queue_declare(dead, durable=True, arguments=unlimited)
    channel.queue_bind(dead, dead)
    arguments = {**unlimited, "x-dead-letter-exchange": dead, "x-single-active-consumer": single_active}
    channel.queue_declare(queue, durable=True, arguments=arguments)
    for key in bindings:
        channel.queue_bind(queue, exchange, key)


def dead_letters(queue: str) -> str:
    """Return the name of the queue of the dead letters, which is also the name of its exchange."""
    return f"{queue}.dead"
