"""How often an event is tried before it becomes a dead letter, on every version of RabbitMQ at hand."""

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pika
import psycopg
import pytest

from ninja_auth_kit.audit.events import LoginFailed
from ninja_auth_kit.consumer import Consumer, Memory, Postgres, UnacceptableError
from ninja_auth_kit.consumer import consumer as consumer_module
from ninja_auth_kit.consumer.consumer import dead_letters
from ninja_auth_kit.consumer.handling import Answer, MessageHandler
from tests.consumer.conftest import Producer, consumers, message, running, until

pytestmark = [pytest.mark.broker, pytest.mark.consumer]
LOOKS = 30  # more than the default limit of RabbitMQ 4, which is 20


def consumer_of(producer: Producer, handle: Callable[[str], None], store: Any = None, **options: Any) -> Consumer[Any]:
    """Return a consumer that calls a function with the text of each event."""
    consumer: Consumer[Any] = Consumer(
        producer.url, queue=producer.queue, exchange=producer.exchange, store=store or Memory(), **options
    )

    @consumer.on(LoginFailed)
    def call(event: LoginFailed, db: Any) -> None:
        handle(event.client.user_agent or "")

    return consumer


def failing(calls: list[str]) -> Callable[[str], None]:
    """Return a handler that notes its calls and fails."""

    def fail(text: str) -> None:
        calls.append(text)
        raise RuntimeError

    return fail


@pytest.mark.parametrize("pauses", [[], [0.01], [0.01] * 7])
def test_an_event_that_always_fails_is_tried_exactly_as_often_as_configured(
    any_producer: Producer, pauses: list[float]
) -> None:
    calls: list[str] = []
    consumer = consumer_of(any_producer, failing(calls), pauses=pauses)

    with running(consumer):
        until(lambda: consumer.is_consuming)
        any_producer.send(message(1))
        until(lambda: any_producer.dead() == 1)

    assert len(calls) == len(pauses) + 1
    assert any_producer.depth(any_producer.queue) == 0


def test_tries_are_counted_across_restarts(any_producer: Producer, conninfo: str) -> None:
    Postgres(conninfo).install()
    calls: list[str] = []
    for restart in range(4):
        consumer = consumer_of(any_producer, failing(calls), Postgres(conninfo), pauses=[0.01, 0.01, 30, 0.01, 0.01])
        with running(consumer):
            until(lambda consumer=consumer: consumer.is_consuming)  # type: ignore[misc]
            if restart == 0:
                any_producer.send(message(1))
            # It is stopped during the pause after the third try, and then after one try each.
            until(lambda restart=restart: len(calls) >= 3 + restart)  # type: ignore[misc]

    until(lambda: any_producer.dead() == 1)
    assert len(calls) == 6
    assert any_producer.depth(any_producer.queue) == 0


def test_what_is_sent_ahead_and_given_back_costs_no_try(any_producer: Producer, conninfo: str) -> None:
    Postgres(conninfo).install()
    handled: list[str] = []
    consumer = consumer_of(any_producer, handled.append, Postgres(conninfo), pauses=[])
    with running(consumer):
        until(lambda: consumer.is_consuming)
    any_producer.send(*[message(number) for number in range(10)])
    until(lambda: any_producer.depth(any_producer.queue) == 10)

    for stop in range(LOOKS):
        held = take(any_producer, 10)
        if stop % 2:
            held.close()
        else:
            held.connection.close()
    consumer = consumer_of(any_producer, handled.append, Postgres(conninfo), pauses=[])
    with running(consumer):
        until(lambda: len(handled) == 10)

    assert handled == [f"number {number}" for number in range(10)]
    assert any_producer.dead() == 0


def test_what_is_given_back_is_handled_before_later_events(any_producer: Producer) -> None:
    handled: list[str] = []

    def handle_slowly(text: str) -> None:
        handled.append(text)
        time.sleep(0.02)

    consumers_ = [consumer_of(any_producer, handle_slowly, prefetch=10) for _ in range(4)]
    with running(*consumers_):
        until(lambda: all(consumer.is_consuming for consumer in consumers_))
        any_producer.send(*[message(number) for number in range(60)])
        for consumer in consumers_[:3]:
            so_far = len(handled)
            until(lambda so_far=so_far: len(handled) > so_far + 5)  # type: ignore[misc]
            consumer.stop()
            until(lambda consumer=consumer: not consumer.is_consuming)  # type: ignore[misc]
        until(lambda: len(handled) == 60)

    assert handled == [f"number {number}" for number in range(60)]


def take(producer: Producer, count: int) -> Any:
    """Receive messages without an answer, and return the channel, which has its own connection."""
    channel = pika.BlockingConnection(pika.URLParameters(producer.url)).channel()
    channel.basic_qos(prefetch_count=20)
    received: list[bytes] = []
    channel.basic_consume(producer.queue, lambda *delivery: received.append(delivery[3]))

    def are_received() -> bool:
        channel.connection.process_data_events(time_limit=0.05)
        return len(received) == count

    until(are_received)
    return channel


def test_a_handled_event_whose_answer_is_lost_again_and_again_is_no_dead_letter(conninfo: str) -> None:
    store = Postgres(conninfo)
    store.install()
    calls: list[str] = []
    handler = message_handler(store, lambda event, db: calls.append(event.id))
    body = json.dumps(message()).encode()

    answers = [handler.handle(body, is_redelivered=number > 0) for number in range(10)]

    store.close()
    assert answers == [Answer.ACKNOWLEDGE] * 10
    assert len(calls) == 1


def message_handler(store: Any, handle: Callable[[LoginFailed, Any], None]) -> MessageHandler[Any]:
    """Return what handles messages without a broker, with three tries and no pauses."""
    handler: MessageHandler[Any] = MessageHandler(store, threading.Event(), pauses=[0, 0])
    handler.handlers.append((LoginFailed, handle))
    return handler


def test_an_event_that_ends_the_process_becomes_a_dead_letter(conninfo: str, caplog: pytest.LogCaptureFixture) -> None:
    Postgres(conninfo).install()
    body = json.dumps(message()).encode()
    deaths = 0
    while (process := os.fork()) == 0 or os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 9:
        if process == 0:
            handler = message_handler(Postgres(conninfo), lambda event, db: os._exit(9))
            answer = handler.handle(body, is_redelivered=deaths > 0)
            os._exit(0 if answer is Answer.DEAD_LETTER else 1)
        deaths += 1
        assert deaths < 10

    # The first delivery of an event is counted after it failed, and not before.
    assert deaths == 3 + 1


@pytest.mark.parametrize("moved_by", ["a copy of body and properties", "a copy without headers"])
def test_a_dead_letter_that_is_moved_back_has_all_its_tries_again(
    any_producer: Producer, conninfo: str, moved_by: str
) -> None:
    store = Postgres(conninfo)
    store.install()
    calls: list[str] = []
    consumer = consumer_of(any_producer, failing(calls), store, pauses=[0.01, 0.01])

    with running(consumer):
        until(lambda: consumer.is_consuming)
        any_producer.send(message(1))
        for round_ in (1, 2, 3):
            until(lambda: any_producer.dead() == 1)
            assert len(calls) == 3 * round_
            method, properties, body = any_producer.channel.basic_get(dead_letters(any_producer.queue))
            if "without" in moved_by:
                properties = pika.BasicProperties(delivery_mode=2)
            any_producer.channel.basic_publish("", any_producer.queue, body, properties)
            any_producer.channel.basic_ack(method.delivery_tag)
        until(lambda: len(calls) == 12)


def test_a_rejected_event_that_is_moved_back_has_all_its_tries_again(any_producer: Producer) -> None:
    calls: list[str] = []

    def fail_and_reject(text: str) -> None:
        calls.append(text)
        raise UnacceptableError if len(calls) == 3 else RuntimeError

    consumer = consumer_of(any_producer, fail_and_reject, pauses=[0.01, 0.01])
    with running(consumer):
        until(lambda: consumer.is_consuming)
        any_producer.send(message(1))
        until(lambda: any_producer.dead() == 1)
        method, properties, body = any_producer.channel.basic_get(dead_letters(any_producer.queue))
        any_producer.channel.basic_publish("", any_producer.queue, body, properties)
        any_producer.channel.basic_ack(method.delivery_tag)
        until(lambda: any_producer.dead() == 1)

    assert len(calls) == 3 + 3


@pytest.mark.parametrize("way", ["reject", "nack", "close"])
def test_looking_at_dead_letters_destroys_none(any_producer: Producer, way: str) -> None:
    dead = dead_letters(any_producer.queue)
    consumer = consumer_of(any_producer, failing([]), pauses=[])
    with running(consumer):
        until(lambda: consumer.is_consuming)
        any_producer.send(message(1))
        until(lambda: any_producer.dead() == 1)

    for _ in range(LOOKS):
        channel = any_producer.connection.channel()
        until(lambda: any_producer.dead() == 1)
        method, _, _ = channel.basic_get(dead)
        if way == "reject":
            channel.basic_reject(method.delivery_tag, requeue=True)
        elif way == "nack":
            channel.basic_nack(method.delivery_tag, requeue=True)
        channel.close()

    until(lambda: any_producer.dead() == 1)


def test_a_closed_channel_and_a_deleted_queue_are_noticed(
    any_producer: Producer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    handled: list[str] = []
    consumer = consumer_of(any_producer, handled.append)
    answer = consumer_module._send_answer

    def answer_twice(channel: Any, tag: int, *arguments: Any) -> None:
        answer(channel, tag, *arguments)
        if len(handled) == 1:
            channel.basic_ack(tag)  # the broker closes the channel, but not the connection

    monkeypatch.setattr(consumer_module, "_send_answer", answer_twice)
    with running(consumer):
        until(lambda: consumer.is_consuming)
        any_producer.send(message(1))
        until(lambda: "unknown delivery tag" in caplog.text)
        any_producer.send(message(2))
        until(lambda: len(handled) == 2)
        until(lambda: consumers(any_producer) == 1)
        any_producer.channel.queue_delete(any_producer.queue)
        until(lambda: f"the queue '{any_producer.queue}' was deleted" in caplog.text)
        until(lambda: consumers(any_producer) == 1)
        any_producer.send(message(3))
        until(lambda: len(handled) == 3)


def test_a_queue_with_other_arguments_is_an_error_that_says_what_to_do(
    any_producer: Producer, caplog: pytest.LogCaptureFixture
) -> None:
    arguments = {
        "x-queue-type": "quorum",
        "x-delivery-limit": 5,
        "x-dead-letter-exchange": dead_letters(any_producer.queue),
        "x-single-active-consumer": True,
    }
    any_producer.channel.queue_declare(any_producer.queue, durable=True, arguments=arguments)
    consumer = consumer_of(any_producer, lambda text: None)

    with running(consumer):
        until(lambda: "Let the consumer use another queue name" in caplog.text)
        assert "received '1000000000' but current is '5'" in caplog.text
        # It does not retry in a busy loop.
        time.sleep(1)
        assert caplog.text.count("inequivalent arg") < 5


@pytest.mark.parametrize("fault", ["there is no table", "it only reads"])
def test_a_store_that_cannot_be_used_makes_no_dead_letters(
    any_producer: Producer,
    conninfo: str,
    fault: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = Postgres(conninfo)
    if fault == "it only reads":
        store.install()
        joint = "&" if "?" in conninfo else "?"
        monkeypatch.setattr(store, "_conninfo", f"{conninfo}{joint}options=-c%20default_transaction_read_only%3Don")
    handled: list[str] = []
    consumer = consumer_of(any_producer, handled.append, store, pauses=[])

    with running(consumer):
        until(lambda: consumer.is_consuming)
        any_producer.send(message(1))
        until(lambda: caplog.text.count("The store is not available") > 2)
        assert ("call the install method" in caplog.text) == (fault == "there is no table")
        monkeypatch.undo()
        store.install()
        until(lambda: handled == ["number 1"])

    assert any_producer.dead() == 0


@pytest.mark.parametrize("fault", ["ends its connection", "calls sys.exit", "is cancelled"])
def test_a_handler_that_ends_its_connection_or_thread_has_no_endless_tries(
    any_producer: Producer, conninfo: str, fault: str
) -> None:
    store = Postgres(conninfo)
    store.install()
    calls: list[str] = []
    consumer: Consumer[psycopg.Cursor[Any]] = Consumer(
        any_producer.url, queue=any_producer.queue, exchange=any_producer.exchange, store=store, pauses=[0.01, 0.01]
    )

    @consumer.on(LoginFailed)
    def handle(event: LoginFailed, db: psycopg.Cursor[Any]) -> None:
        calls.append(event.client.user_agent or "")
        if event.client.user_agent == "number 2":
            return
        if fault == "calls sys.exit":
            sys.exit(1)
        if fault == "is cancelled":  # not an Exception, either
            raise asyncio.CancelledError
        db.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with running(consumer):
        until(lambda: consumer.is_consuming)
        any_producer.send(message(1))
        until(lambda: any_producer.dead() == 1)
        any_producer.send(message(2))
        until(lambda: len(calls) == 4)

    assert calls == ["number 1"] * 3 + ["number 2"]


def test_an_event_whose_id_cannot_be_stored_is_a_dead_letter_at_once(any_producer: Producer, conninfo: str) -> None:
    store = Postgres(conninfo)
    store.install()
    consumer = consumer_of(any_producer, lambda text: None, store)

    with running(consumer):
        until(lambda: consumer.is_consuming)
        any_producer.send(message(1, id="NUL \x00"))
        until(lambda: any_producer.dead() == 1)
