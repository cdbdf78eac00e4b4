"""One connection to RabbitMQ, in a thread of its own: from the topology through the confirms to its end."""

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
from ninja_auth_kit.audit.broker.errors import BrokerError, describe

logger = logging.getLogger("ninja_auth_kit.relay")

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
LARGEST_KEY = 255  # bytes, as AMQP 0-9-1 has it
LARGEST_PAYLOAD = 65_536  # bytes; the kit's own events have less than 4,000
CONNECT_TIMEOUT = 15.0  # seconds, for TCP, TLS, AMQP and the topology together
CLOSE_TIMEOUT = 3.0
# Every event is routed somewhere from the first day, and a consumer that comes next week reads this one's.
CATCH_ALL = {"x-queue-type": "stream", "x-max-age": "7D", "x-max-length-bytes": 5_000_000_000}


class Connection:
    """One connection from its opening to its end.

    `start`, `publish` and `stop` are called from outside; everything else runs in the I/O thread.
    """

    def __init__(self, parameters: pika.ConnectionParameters, exchange: str, declare: bool) -> None:
        self.parameters, self.exchange, self.declare = parameters, exchange, declare
        self.lost: BrokerError | None = None
        self.blocked: BrokerError | None = None
        self.is_spent = False  # answers may come that nobody waits for, and be taken for those of the next batch
        self._ready: Future[None] = Future()
        self._batch: Batch | None = None
        self._last_tag = 0
        self._loop_lock = threading.Lock()  # between a caller's callback and the end of the loop
        self._select: SelectConnection | None = None
        self._channel: Channel | None = None
        self._thread = threading.Thread(target=self._run, name="ninja_auth_kit-broker", daemon=True)

    def start(self) -> None:
        """Open the connection and wait until it can be published on.

        Raises:
            BrokerError: it did not open.
        """
        self._thread.start()
        try:
            self._ready.result(CONNECT_TIMEOUT)
        except TimeoutError:
            self.lost = self._error("timed out")
            raise self.lost from None

    def publish(self, batch: Batch, timeout: float) -> BrokerError | None:
        """Publish a batch and wait for its answers; return what kept some from coming, or None."""
        self._batch = batch
        if self.lost is not None:  # if it is lost from here on, `_lose` tells the batch
            return self.lost
        self._call(lambda: self._send(batch))
        try:
            batch.answered.result(timeout)
        except TimeoutError:
            failure = self._error(f"no confirm within {timeout:.0f} seconds")
        except BrokerError as error:
            failure = error
        else:
            return None
        self._batch, self.is_spent = None, True
        return failure

    def stop(self) -> None:
        """Close, and do not wait long for a broker that does not answer."""
        for end in (self._close, self._abandon):
            self._call(end)
            self._thread.join(CLOSE_TIMEOUT)
            if not self._thread.is_alive():
                return

    def _call(self, callback: Callable[[], None]) -> None:
        with self._loop_lock:
            if self._select is not None:
                self._select.ioloop.add_callback_threadsafe(callback)

    def _run(self) -> None:
        try:
            self._select = SelectConnection(
                self.parameters,
                on_open_callback=self._opened,
                on_open_error_callback=self._closed,
                on_close_callback=self._closed,
            )
            self._select.ioloop.start()
        except Exception as error:
            self._lose(error)
        self._lose("the connection is closed")
        with self._loop_lock:
            if self._select is not None:
                self._select.ioloop.close()
            self._select = None

    def _opened(self, connection: SelectConnection) -> None:
        connection.add_on_connection_blocked_callback(self._block)
        connection.add_on_connection_unblocked_callback(self._unblock)
        connection.channel(on_open_callback=self._channel_opened)

    def _channel_opened(self, channel: Channel) -> None:
        """See to the topology, one answer of the broker after the other, then switch confirms on."""
        self._channel = channel
        channel.add_on_close_callback(self._channel_closed)
        channel.add_on_return_callback(self._returned)
        queue = catch_all_queue(self.exchange)

        def confirm(_frame: Any) -> None:
            channel.confirm_delivery(self._answered, callback=self._can_publish)

        def bind(_frame: Any) -> None:
            channel.queue_bind(queue, self.exchange, "#", callback=confirm)

        def declare_queue(_frame: Any) -> None:
            channel.queue_declare(queue, durable=True, arguments=CATCH_ALL, callback=bind)

        channel.exchange_declare(
            self.exchange,
            "topic",
            durable=True,
            passive=not self.declare,
            callback=declare_queue if self.declare else confirm,
        )

    def _can_publish(self, _frame: Any) -> None:
        if not self._ready.done():
            self._ready.set_result(None)

    def _send(self, batch: Batch) -> None:
        for event in batch.events:
            try:
                body, properties = message(event)
            except UnsendableError as error:
                batch.refuse(event, error.reason, str(error))
                continue
            if self._channel is None or not self._channel.is_open:
                self._lose("the channel is closed")
                return
            self._channel.basic_publish(self.exchange, event.routing_key, body, properties, mandatory=True)
            self._last_tag += 1
            batch.sent(self._last_tag, event)
        batch.finish_if_answered()

    def _answered(self, frame: Any) -> None:
        if self._batch is not None:
            acknowledged = isinstance(frame.method, Basic.Ack)
            self._batch.settle(frame.method.delivery_tag, multiple=frame.method.multiple, acknowledged=acknowledged)

    def _returned(self, _channel: Channel, method: Any, properties: BasicProperties, _body: bytes) -> None:
        if self._batch is not None and properties.message_id:
            self._batch.returned(properties.message_id, f"No queue takes it: {method.reply_text}.")

    def _block(self, *_: Any) -> None:
        """Stop waiting: a broker out of memory or disk tells so in answer to a publish, and then reads no more.

        The connection is kept, and with it what the broker has not read yet: each new one would bring it another copy.
        """
        self.blocked = self._error("it blocks publishers: its memory or its disk is full")
        if self._batch is not None and not self._batch.answered.done():
            self._batch.answered.set_exception(self.blocked)

    def _unblock(self, *_: Any) -> None:
        self.blocked = None

    def _channel_closed(self, _channel: Channel, reason: BaseException) -> None:
        self._lose(reason)
        self._close()

    def _closed(self, connection: SelectConnection, reason: BaseException) -> None:
        self._lose(reason)
        connection.ioloop.stop()

    def _close(self) -> None:
        if self._select is not None and self._select.is_open:
            self._select.close()
        elif self._select is not None and not self._select.is_closing:
            self._abandon()

    def _abandon(self) -> None:
        if self._select is not None:
            self._select.ioloop.stop()

    def _lose(self, reason: BaseException | str) -> None:
        """Remember why the connection cannot be used, and tell whoever waits. The first reason is the telling one."""
        if self.lost is None:
            vhost = self.parameters.virtual_host
            cause = reason if isinstance(reason, str) else describe(reason, vhost=vhost, exchange=self.exchange)
            self.lost = self._error(cause)
        for waiting in (self._ready, self._batch.answered if self._batch else None):
            if waiting is not None and not waiting.done():
                waiting.set_exception(self.lost)

    def _error(self, cause: str) -> BrokerError:
        return BrokerError(cause, host=self.parameters.host, port=self.parameters.port)


def catch_all_queue(exchange: str) -> str:
    """Return the name of the stream that takes every event: `auth.audit` for `auth.events`."""
    return exchange.removesuffix(".events") + ".audit"


class UnsendableError(Exception):
    """An event cannot be sent, now or later.

    Args:
        reason: "poison" or "too_large".
        error: what an operator reads of it.
    """

    def __init__(self, reason: str, error: str) -> None:
        super().__init__(error)
        self.reason = reason


def message(event: ClaimedEvent) -> tuple[bytes, BasicProperties]:
    """Return body and properties of the message of an event.

    Everything that pika would refuse half-way is refused here: an exception in the middle of a publish takes the
    channel with it, and so the whole batch.

    Raises:
        UnsendableError: it cannot be sent.
    """
    key, body = event.routing_key.encode(), event.payload.encode()
    if len(key) > LARGEST_KEY:
        raise UnsendableError("poison", f"Its routing key has {len(key)} bytes; AMQP allows {LARGEST_KEY}.")
    if len(body) > LARGEST_PAYLOAD:
        raise UnsendableError("too_large", f"It has {len(body)} bytes; the relay sends up to {LARGEST_PAYLOAD}.")
    try:
        properties = _properties(event, json.loads(body))
        properties.encode()
    except Exception as error:
        raise UnsendableError("poison", f"It is no CloudEvent that can be sent: {type(error).__name__}.") from error
    return body, properties


def _properties(event: ClaimedEvent, said: dict[str, str]) -> BasicProperties:
    traceparent = said.get("traceparent")
    moment = said.get("time")
    return BasicProperties(
        content_type=CONTENT_TYPE,
        delivery_mode=2,
        message_id=event.event_id,
        type=said.get("type"),
        timestamp=int(datetime.fromisoformat(moment).timestamp()) if moment else None,
        app_id="ninja_auth_kit",
        headers={"traceparent": traceparent} if traceparent else None,
    )
