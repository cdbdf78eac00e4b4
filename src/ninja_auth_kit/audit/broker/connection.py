"""One connection to RabbitMQ in a thread of its own: the exchange, the publishing, the confirms and the end.

pika's SelectConnection calls back from its I/O loop, which runs in that thread. So heartbeats are answered while the
relay waits for the database, and the relay waits for the answers to a whole batch instead of for each event.
"""

import json
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime
from typing import Any

import pika
from pika.adapters.select_connection import SelectConnection
from pika.channel import Channel
from pika.spec import Basic, BasicProperties

from ninja_auth_kit.audit.broker.batch import Batch, ClaimedEvent
from ninja_auth_kit.audit.broker.errors import BLOCKED, BrokerError, describe
from ninja_auth_kit.audit.broker.stream import StreamDeclaration, catch_all_queue
from ninja_auth_kit.audit.events.base import CONTENT_TYPE

logger = logging.getLogger("ninja_auth_kit.relay")

LARGEST_KEY = 255  # bytes, the limit of AMQP 0-9-1
LARGEST_PAYLOAD = 65_536  # bytes; the kit's own events are smaller than 4,000 bytes
CONNECT_TIMEOUT = 15.0  # seconds, for TCP, TLS, AMQP and the topology together
CLOSE_TIMEOUT = 3.0  # seconds


class Connection:
    """A connection that is opened once, used for batches, and closed.

    `start`, `publish` and `stop` are called from other threads. Everything else runs in the I/O thread.

    Attributes:
        failure: why the connection cannot be used any more, or None.
        blocked: the error while the broker blocks publishers, or None.
        has_missing_answers: whether a batch has not been answered completely. The connection must not be used again:
            late answers would be taken for those of the next batch.
    """

    def __init__(self, parameters: pika.ConnectionParameters, exchange: str, declare: bool) -> None:
        self.parameters, self.exchange, self.declare = parameters, exchange, declare
        self.failure: BrokerError | None = None
        self.blocked: BrokerError | None = None
        self.has_missing_answers = False
        self._ready: Future[None] = Future()
        self._batch: Batch | None = None
        self._last_tag = 0
        self._loop_lock = threading.Lock()  # so that no callback is added to a loop that has ended
        self._select: SelectConnection | None = None
        self._channel: Channel | None = None
        self._stream = StreamDeclaration(catch_all_queue(exchange))
        self._thread = threading.Thread(target=self._run, name="ninja_auth_kit-broker", daemon=True)

    def start(self) -> None:
        """Open the connection, and wait until it is ready for publishing.

        Raises:
            BrokerError: the connection could not be opened.
        """
        self._thread.start()
        try:
            self._ready.result(CONNECT_TIMEOUT)
        except TimeoutError:
            self.failure = self._error("timed out")
            raise self.failure from None

    def publish(self, batch: Batch, timeout: float) -> BrokerError | None:
        """Publish a batch and wait for the answers; return the error if some are missing, or None."""
        self._batch = batch
        if self.failure is not None:  # a failure from here on is passed to the batch by `_fail`
            return self.failure
        self._call(lambda: self._send(batch))
        try:
            batch.answered.result(timeout)
        except TimeoutError:
            failure = self._error(f"no publisher confirm within {timeout:.0f} seconds")
        except BrokerError as error:
            failure = error
        else:
            return None
        self._batch, self.has_missing_answers = None, True
        return failure

    def stop(self) -> None:
        """Close the connection, without waiting long for a broker that does not answer."""
        for close in (self._close, self._stop_loop):
            self._call(close)
            self._thread.join(CLOSE_TIMEOUT)
            if not self._thread.is_alive():
                return

    def _call(self, callback: Callable[[], None]) -> None:
        """Run a function in the I/O thread, if that still runs."""
        with self._loop_lock:
            if self._select is not None:
                self._select.ioloop.add_callback_threadsafe(callback)

    def _run(self) -> None:
        try:
            self._select = SelectConnection(
                self.parameters,
                on_open_callback=self._on_open,
                on_open_error_callback=self._on_closed,
                on_close_callback=self._on_closed,
            )
            self._select.ioloop.start()
        except Exception as error:
            self._fail(error)
        self._fail("the connection is closed")
        with self._loop_lock:
            if self._select is not None:
                self._select.ioloop.close()
            self._select = None

    def _on_open(self, connection: SelectConnection) -> None:
        connection.add_on_connection_blocked_callback(self._on_blocked)
        connection.add_on_connection_unblocked_callback(self._on_unblocked)
        connection.channel(on_open_callback=self._on_channel_open)

    def _on_channel_open(self, channel: Channel) -> None:
        """Declare or check the exchange, then turn on publisher confirms.

        Each step is the callback of the one before: declare the exchange, declare the queue, bind it, confirm.
        """
        self._channel = channel
        channel.add_on_close_callback(self._on_channel_closed)
        channel.add_on_return_callback(self._on_return)

        def confirm(_frame: Any) -> None:
            channel.confirm_delivery(self._on_confirm, callback=self._on_ready)

        def bind() -> None:
            channel.queue_bind(self._stream.name, self.exchange, "#", callback=confirm)

        def declare_stream(_frame: Any) -> None:
            self._stream.declare(channel, callback=bind)

        channel.exchange_declare(
            self.exchange,
            "topic",
            durable=True,
            passive=not self.declare,
            callback=declare_stream if self.declare else confirm,
        )

    def _on_ready(self, _frame: Any) -> None:
        if not self._ready.done():
            self._ready.set_result(None)

    def _send(self, batch: Batch) -> None:
        for event in batch.events:
            try:
                body, properties = build_message(event)
            except UnsendableError as error:
                batch.refuse(event, error.reason, str(error))
                continue
            if self._channel is None or not self._channel.is_open:
                self._fail("the channel is closed")
                return
            self._channel.basic_publish(self.exchange, event.routing_key, body, properties, mandatory=True)
            self._last_tag += 1
            batch.mark_sent(self._last_tag, event)
        batch.finish_if_answered()

    def _on_confirm(self, frame: Any) -> None:
        if self._batch is not None:
            acknowledged = isinstance(frame.method, Basic.Ack)
            self._batch.settle(frame.method.delivery_tag, multiple=frame.method.multiple, acknowledged=acknowledged)

    def _on_return(self, _channel: Channel, method: Any, properties: BasicProperties, _body: bytes) -> None:
        if self._batch is not None and properties.message_id:
            self._batch.mark_returned(properties.message_id, f"No queue is bound for it: {method.reply_text}.")

    def _on_blocked(self, *_: Any) -> None:
        """Stop waiting for answers. A broker out of memory or disk says so on a publish, and then stops reading.

        The connection is kept, because the broker has not yet read what was sent. Each new connection would send it
        another copy.
        """
        self.blocked = self._error(BLOCKED)
        if self._batch is not None and not self._batch.answered.done():
            self._batch.answered.set_exception(self.blocked)

    def _on_unblocked(self, *_: Any) -> None:
        self.blocked = None

    def _on_channel_closed(self, _channel: Channel, reason: BaseException) -> None:
        if self._stream.accepts_refusal(reason) and self._select is not None and self._select.is_open:
            self._select.channel(on_open_callback=self._on_channel_open)
            return
        self._fail(reason)
        self._close()

    def _on_closed(self, connection: SelectConnection, reason: BaseException) -> None:
        self._fail(reason)
        connection.ioloop.stop()

    def _close(self) -> None:
        if self._select is not None and self._select.is_open:
            self._select.close()
        elif self._select is not None and not self._select.is_closing:
            self._stop_loop()

    def _stop_loop(self) -> None:
        if self._select is not None:
            self._select.ioloop.stop()

    def _fail(self, reason: BaseException | str) -> None:
        """Keep the first reason why the connection cannot be used, and pass it to a waiting `start` or `publish`.

        The first reason is the cause. Those that follow are its consequences.
        """
        if self.failure is None:
            if isinstance(reason, BaseException):
                reason = describe(reason, self.parameters, exchange=self.exchange)
            self.failure = self._error(reason)
        for waiting in (self._ready, self._batch.answered if self._batch else None):
            if waiting is not None and not waiting.done():
                waiting.set_exception(self.failure)

    def _error(self, cause: str) -> BrokerError:
        return BrokerError(cause, host=self.parameters.host, port=self.parameters.port)


class UnsendableError(Exception):
    """An event can never be sent.

    Args:
        reason: "poison" or "too_large".
        error: a sentence for operators.
    """

    def __init__(self, reason: str, error: str) -> None:
        super().__init__(error)
        self.reason = reason


def build_message(event: ClaimedEvent) -> tuple[bytes, BasicProperties]:
    """Return the body and the properties of the message of an event.

    Everything that pika could not encode is refused here. An exception in the middle of a publish would close the
    channel, so that the whole batch would fail.

    Raises:
        UnsendableError: the event can never be sent.
    """
    key, body = event.routing_key.encode(), event.payload.encode()
    if len(key) > LARGEST_KEY:
        raise UnsendableError("poison", f"The routing key has {len(key)} bytes. AMQP allows up to {LARGEST_KEY}.")
    if len(body) > LARGEST_PAYLOAD:
        raise UnsendableError(
            "too_large", f"The payload has {len(body)} bytes. The relay sends up to {LARGEST_PAYLOAD}."
        )
    try:
        properties = _properties(event, json.loads(body))
        properties.encode()
    except Exception as error:
        raise UnsendableError("poison", f"The payload is not a valid CloudEvent: {type(error).__name__}.") from error
    return body, properties


def _properties(event: ClaimedEvent, cloudevent: dict[str, str]) -> BasicProperties:
    traceparent = cloudevent.get("traceparent")
    time = cloudevent.get("time")
    return BasicProperties(
        content_type=CONTENT_TYPE,
        delivery_mode=2,
        message_id=event.event_id,
        type=cloudevent.get("type"),
        timestamp=int(datetime.fromisoformat(time).timestamp()) if time else None,
        app_id="ninja_auth_kit",
        headers={"traceparent": traceparent} if traceparent else None,
    )
