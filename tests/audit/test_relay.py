"""The relay with a real RabbitMQ: what it publishes, and that a broker failure loses no event."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pika
import pytest
from cloudevents.core.bindings.rabbitmq import RabbitMQMessage, from_structured
from cloudevents.core.formats.json import JSONFormat
from django.core.management import CommandError, call_command
from django.db import connection
from pytest_django import Settings

from ninja_auth_kit.audit.broker.errors import BrokerError
from ninja_auth_kit.audit.broker.stream import catch_all_queue
from ninja_auth_kit.audit.record.cloudevent import SHARDS
from ninja_auth_kit.audit.relay import loop as relay_module
from ninja_auth_kit.audit.relay.loop import Relay, configured_relay
from ninja_auth_kit.management.commands import authkit_relay
from ninja_auth_kit.models import AuditOutbox
from tests.audit.conftest import Consumer, Proxy, address
from tests.conftest import Api
from tests.private_broker import PrivateBroker, free_port
from tests.servers import ROOT, database_url

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.broker]


def fill(count: int, users: int = 20, first: int = 0) -> None:
    """Insert events of several users into the outbox, numbered in the order of each user."""
    rows = []
    for number in range(first, first + count):
        user = number % users
        payload = json.dumps({"user": user, "number": number // users})
        row = {"event_id": uuid.uuid4(), "shard": user % SHARDS, "payload": payload}
        rows.append(AuditOutbox(routing_key="auth.test.fill.success", **row))
    AuditOutbox.objects.bulk_create(rows)


def assert_in_order(bodies: list[dict[str, int]], *, duplicates: bool = False) -> None:
    """Assert that the events of each user first arrived in their order."""
    seen: dict[int, int] = {}
    for body in bodies:
        last = seen.get(body["user"], -1)
        if body["number"] <= last and duplicates:
            continue
        assert body["number"] == last + 1, (body, last)
        seen[body["user"]] = body["number"]


def waiting() -> int:
    return AuditOutbox.objects.count()


def until(condition: Callable[[], bool], timeout: float = 30) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met in time"
        time.sleep(0.02)


@contextlib.contextmanager
def running(relay: Relay) -> Iterator[Relay]:
    """Run a relay in a thread."""
    stop = threading.Event()
    thread = threading.Thread(target=relay.run, args=(stop,))
    thread.start()
    try:
        yield relay
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()


class Process:
    """A process that runs `manage.py authkit_relay`."""

    def __init__(self, exchange: str, settings: Settings, *arguments: str) -> None:
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "DJANGO_SETTINGS_MODULE": "tests.settings_server",
            "TEST_SETTINGS": os.environ.get("DJANGO_SETTINGS_MODULE", "tests.settings"),
            "TEST_KIT": json.dumps({"AUDIT_EXCHANGE": exchange}),
            "TEST_RABBITMQ_HOST": str(settings.RABBITMQ_HOST),
            "TEST_RABBITMQ_PORT": str(settings.RABBITMQ_PORT),
            "DATABASE_URL": database_url(),
        }
        command = [sys.executable, "-m", "django", "authkit_relay", *arguments]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def line(self) -> str:
        """Return the next line of its output."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def finish(self, number: signal.Signals = signal.SIGTERM, timeout: float = 60) -> tuple[int, str]:
        """Send a signal, and return the exit code and the remaining output."""
        self.process.send_signal(number)
        output, _ = self.process.communicate(timeout=timeout)
        return self.process.returncode, output


@pytest.fixture
def start_relay(exchange: str, settings: Settings) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def start(*arguments: str) -> Process:
        started.append(Process(exchange, settings, *arguments))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.finish(signal.SIGKILL)


@pytest.mark.security("AUD-02")
def test_each_action_arrives_as_a_persistent_cloudevent(api: Api, user: Any, consumer: Consumer) -> None:
    api.pair()
    api.login(password="wrong wrong wrong")

    assert configured_relay(using="default").drain() == 2

    messages = consumer.messages(2)
    assert [method.routing_key for method, _, _ in messages] == [
        "auth.session.login.success",
        "auth.session.login.failure",
    ]
    for _, properties, body in messages:
        assert properties.delivery_mode == 2
        assert properties.content_type == "application/cloudevents+json"  # without a charset (RFC 8259 section 11)
        event = from_structured(RabbitMQMessage({}, properties.content_type, body), JSONFormat())
        assert event.get_id() == properties.message_id
        assert event.get_type() == properties.type
        assert int(event.get_time().timestamp()) == properties.timestamp
        assert (properties.app_id, properties.headers) == ("ninja_auth_kit", None)
    assert waiting() == 0


def test_a_stream_takes_every_event_for_whoever_comes_later(consumer: Consumer, exchange: str) -> None:
    fill(3)
    configured_relay(using="default").drain()

    queue = consumer.channel.queue_declare(catch_all_queue(exchange), passive=True)

    assert catch_all_queue("auth.events") == "auth.audit"
    until(lambda: consumer.channel.queue_declare(queue.method.queue, passive=True).method.message_count == 3)


def test_a_batch_after_the_other_in_the_order_of_each_user(consumer: Consumer) -> None:
    fill(230)

    assert configured_relay(using="default", batch=50).drain() == 230

    assert_in_order(consumer.events(230))
    assert waiting() == 0


def test_a_running_relay_publishes_what_comes(consumer: Consumer) -> None:
    with running(configured_relay(using="default")):
        for number in range(3):
            fill(20, first=20 * number)
            assert len(consumer.events(20)) == 20
        until(lambda: waiting() == 0)


@pytest.mark.race
@pytest.mark.security("AUD-09")
def test_three_relays_keep_the_order_of_each_user_and_publish_nothing_twice(
    consumer: Consumer, start_relay: Callable[..., Process]
) -> None:
    for _ in range(3):
        start_relay("--batch", "20")
    for number in range(15):
        fill(200, first=200 * number)
        time.sleep(0.02)

    bodies = consumer.events(3000, timeout=60)

    assert len(bodies) == 3000
    assert_in_order(bodies)
    until(lambda: waiting() == 0)
    assert consumer.events(1, timeout=0.5) == []


@pytest.mark.security("AUD-09")
def test_a_row_that_commits_late_is_published_too(consumer: Consumer) -> None:
    def commit_late() -> None:
        from django.db import transaction

        with transaction.atomic():
            fill(1, users=1)
            inserted.set()
            released.wait(20)
        connection.close()

    inserted, released = threading.Event(), threading.Event()
    late = threading.Thread(target=commit_late)
    late.start()
    inserted.wait(20)
    fill(5, users=5, first=5)
    with running(configured_relay(using="default")):
        assert len(consumer.events(5)) == 5
        released.set()
        late.join()
        assert len(consumer.events(1)) == 1
    assert waiting() == 0


def test_the_command_publishes_once_and_says_how_many(consumer: Consumer) -> None:
    fill(7)
    out = StringIO()

    call_command("authkit_relay", once=True, stdout=out)

    assert "Events published: 7" in out.getvalue()
    assert len(consumer.events(7)) == 7


def test_the_command_fails_where_an_event_was_refused(consumer: Consumer) -> None:
    fill(2)
    AuditOutbox.objects.filter(pk=AuditOutbox.objects.order_by("pk")[0].pk).update(payload="no JSON")

    with pytest.raises(CommandError, match=r"Events published: 1, refused and set aside: 1\. See authkit_status"):
        call_command("authkit_relay", once=True)


def test_the_command_fails_at_once_where_there_is_no_broker_although_nothing_waits(
    exchange: str, settings: Settings
) -> None:
    settings.RABBITMQ_PASSWORD = "c4n4ry-of-the-broker"

    with pytest.raises(CommandError) as caught:
        call_command("authkit_relay", once=True)

    assert caught.value.returncode == 1
    assert "Events published: 0. Then: RabbitMQ at" in str(caught.value)
    assert "login refused: wrong user or password." in str(caught.value)
    assert "c4n4ry" not in str(caught.value)


def test_the_command_says_what_is_missing(settings: Settings) -> None:
    with pytest.raises(CommandError, match="RABBITMQ_HOST"):
        call_command("authkit_relay", once=True)
    with pytest.raises(CommandError, match="--batch"):
        call_command("authkit_relay", batch=0)


def test_a_signal_that_comes_while_the_event_is_locked_stops_the_command_too(
    exchange: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(relay: Relay, stop: threading.Event, **_: Any) -> None:
        with stop._cond:  # type: ignore[attr-defined]  # as during `wait`
            signal.raise_signal(signal.SIGTERM)
        assert stop.wait(10)

    monkeypatch.setattr(Relay, "run", interrupted)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        call_command("authkit_relay", stdout=StringIO())
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_the_command_ends_with_the_first_of_its_relays_that_fails_as_nobody_foresaw(
    exchange: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise MemoryError("a bug")

    healthy, broken = configured_relay(using="default"), configured_relay(using="default")
    monkeypatch.setattr(broken, "run", fail)
    monkeypatch.setattr(authkit_relay.Command, "_relays", lambda *_: [healthy, broken])
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with pytest.raises(MemoryError, match="a bug"):
            call_command("authkit_relay")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_database_without_the_tables_is_no_database_that_is_away(
    exchange: str, caplog: pytest.LogCaptureFixture
) -> None:
    stop = threading.Event()
    relay = configured_relay(using="default")
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE ninja_auth_kit_auditoutbox RENAME TO elsewhere")
    running = threading.Thread(target=relay.run, args=(stop,))
    try:
        running.start()
        until(lambda: 'relation "ninja_auth_kit_auditoutbox" does not exist. Run `manage.py migrate`.' in caplog.text)
    finally:
        stop.set()
        running.join(30)
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE elsewhere RENAME TO ninja_auth_kit_auditoutbox")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_stops_cleanly_when_told(
    consumer: Consumer, start_relay: Callable[..., Process], number: signal.Signals
) -> None:
    fill(10)
    relay = start_relay()
    assert len(consumer.events(10)) == 10
    until(lambda: waiting() == 0)

    code, output = relay.finish(number)

    assert code == 0, output
    assert "Events published: 10" in output
    assert "Traceback" not in output


def test_the_command_waits_for_the_broker_and_says_why_before_it_says_that_it_publishes(
    consumer: Consumer, proxy: Proxy, exchange: str, start_relay: Callable[..., Process]
) -> None:
    relay = start_relay()
    assert relay.line() == f"Waiting for the broker. RabbitMQ at 127.0.0.1:{proxy.port}: connection refused.\n"

    proxy.mend()
    lines = [relay.line()]
    while lines[-1].startswith("Waiting for the broker. "):
        lines.append(relay.line())
    fill(3)
    arrived = consumer.events(3)
    until(lambda: waiting() == 0)
    code, output = relay.finish()

    assert lines[-1] == f"Publishing to {exchange} on 127.0.0.1:{proxy.port}.\n"
    assert len(arrived) == 3
    assert (code, output) == (0, "Events published: 3.\n")


def test_the_command_can_be_told_to_stop_while_it_waits_for_the_broker(
    proxy: Proxy, exchange: str, start_relay: Callable[..., Process]
) -> None:
    relay = start_relay()
    assert relay.line().startswith("Waiting for the broker. ")

    code, output = relay.finish()

    assert code == 0
    assert "Publishing to" not in output
    assert output.endswith("Events published: 0.\n")


def test_an_idle_relay_says_that_the_broker_has_gone_before_an_event_comes(
    consumer: Consumer, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    proxy.mend()
    fill(1)
    with running(configured_relay(using="default")):
        assert len(consumer.events(1)) == 1
        until(lambda: waiting() == 0)
        proxy.cut()
        until(lambda: "connection refused. Events wait in the outbox." in caplog.text)
        proxy.mend()
        until(lambda: "Publishing again after" in caplog.text)


@pytest.mark.security("AUD-07")
def test_a_relay_killed_in_the_middle_loses_nothing(consumer: Consumer, start_relay: Callable[..., Process]) -> None:
    fill(4000)
    relay = start_relay("--batch", "100")
    first = consumer.messages(300)
    relay.finish(signal.SIGKILL)
    rest = consumer.messages(4000, timeout=1)

    start_relay("--batch", "100")
    until(lambda: waiting() == 0, 60)
    arrived = [*first, *rest, *consumer.remaining()]

    bodies = [json.loads(body) for _, _, body in arrived]
    assert len({(body["user"], body["number"]) for body in bodies}) == 4000
    assert len(bodies) - 4000 <= 100
    # Duplicates have the same id.
    assert len({properties.message_id for _, properties, _ in arrived}) == 4000
    assert len({body for _, _, body in arrived}) == 4000  # and the same body
    assert_in_order(bodies, duplicates=True)


@pytest.mark.security("AUD-08", "DOS-04")
def test_while_the_broker_is_down_rows_wait_and_requests_do_not_notice(
    api: Api, user: Any, proxy: Proxy, exchange: str, caplog: pytest.LogCaptureFixture
) -> None:
    relay = configured_relay(using="default")
    with running(relay):
        assert api.login().status_code == 200
        until(lambda: "connection refused. Events wait in the outbox." in caplog.text)
        assert waiting() == 1
        assert "guest" not in caplog.text

        listening = Consumer(*address(), exchange)
        proxy.mend()
        assert len(listening.events(1, timeout=40)) == 1
        listening.close()
    assert waiting() == 0


@pytest.mark.security("AUD-08")
def test_a_connection_that_is_cut_in_the_middle_loses_nothing(consumer: Consumer, proxy: Proxy) -> None:
    proxy.mend()
    fill(3000)
    with running(configured_relay(using="default", batch=100)):
        bodies = consumer.events(500)
        proxy.cut()
        time.sleep(0.2)
        proxy.mend()
        until(lambda: waiting() == 0, 60)
        bodies += [json.loads(body) for _, _, body in consumer.remaining()]

    assert len({(body["user"], body["number"]) for body in bodies}) == 3000
    assert_in_order(bodies, duplicates=True)


def test_a_broker_that_does_not_confirm_in_time_is_left_and_nothing_is_deleted(
    consumer: Consumer, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "CONFIRM_TIMEOUT", 0.5)
    proxy.mend()
    fill(10)
    relay = configured_relay(using="default")
    relay.publisher.connect()
    proxy.flowing.clear()

    start = time.monotonic()
    with pytest.raises(BrokerError, match="no publisher confirm within"):
        relay.publish_batch()

    assert time.monotonic() - start < 10
    assert waiting() == 10
    proxy.flowing.set()
    assert relay.drain() == 10
    assert waiting() == 0


def test_without_the_right_to_declare_a_missing_exchange_is_said(exchange: str, kit: Callable[..., None]) -> None:
    kit(AUDIT_DECLARE=False)
    fill(1)

    with pytest.raises(BrokerError, match=rf"the exchange '{exchange}' does not exist"):
        configured_relay(using="default").drain()
    assert waiting() == 1


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"RABBITMQ_PORT": free_port()}, "connection refused"),
        ({"RABBITMQ_HOST": "no-such-host.invalid"}, "the host name cannot be resolved"),
        ({"RABBITMQ_PASSWORD": "c4n4ry"}, "login refused: wrong user or password"),
        ({"RABBITMQ_USER": "c4n4ry"}, "login refused: wrong user or password"),
        ({"RABBITMQ_VHOST": "nowhere"}, "the vhost 'nowhere' does not exist"),
        (
            {"RABBITMQ_TLS": True, "RABBITMQ_PASSWORD": "c4n4ry"},
            "TLS failed: the port does not speak TLS (WRONG_VERSION_NUMBER)",
        ),
    ],
    ids=["port", "host", "password", "user", "vhost", "tls"],
)
def test_why_there_is_no_connection_is_said_in_one_sentence_without_credentials(
    exchange: str, settings: Settings, change: dict[str, Any], cause: str
) -> None:
    for name, value in change.items():
        setattr(settings, name, value)

    with pytest.raises(BrokerError) as caught:
        configured_relay(using="default").drain()

    assert str(caught.value) == f"RabbitMQ at {settings.RABBITMQ_HOST}:{settings.RABBITMQ_PORT}: {cause}."
    assert "c4n4ry" not in repr(caught.value)


def test_a_broker_that_says_nothing_is_said_to_have_timed_out(
    exchange: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ninja_auth_kit.audit.broker.connection.CONNECT_TIMEOUT", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings.RABBITMQ_PORT = listener.getsockname()[1]
        with pytest.raises(BrokerError, match=f":{settings.RABBITMQ_PORT}: timed out"):
            configured_relay(using="default").drain()


def test_an_exchange_that_is_another_s_is_told_in_the_words_of_the_broker(
    exchange: str, kit: Callable[..., None]
) -> None:
    kit(AUDIT_EXCHANGE="amq.direct")

    with pytest.raises(BrokerError, match=r"inequivalent arg 'type' for exchange 'amq\.direct'"):
        configured_relay(using="default").drain()


@pytest.mark.private_broker
@pytest.mark.security("AUD-08")
def test_a_broker_that_is_killed_and_comes_back_gets_everything(private_broker: PrivateBroker, exchange: str) -> None:
    relay = configured_relay(using="default", batch=100)
    relay.publisher.connect()
    # A stream that was created seconds ago is lost if its node is killed (RabbitMQ 3.10).
    time.sleep(6)
    fill(3000)
    with running(relay):
        until(lambda: waiting() < 2500)
        private_broker.kill()
        time.sleep(1)
        private_broker.start()
        until(lambda: waiting() == 0, 90)

    bodies = read_stream(private_broker.port, exchange)
    assert len({(body["user"], body["number"]) for body in bodies}) == 3000
    assert_in_order(bodies, duplicates=True)


@pytest.mark.private_broker
@pytest.mark.security("AUD-08")
def test_a_broker_out_of_memory_is_not_sent_anything_until_it_has_some(
    private_broker: PrivateBroker, exchange: str, api: Api, user: Any, caplog: pytest.LogCaptureFixture
) -> None:
    relay = configured_relay(using="default")
    fill(1)
    relay.publish_batch()
    private_broker.control("set_vm_memory_high_watermark", "0.000001")
    time.sleep(1)
    with running(relay):
        assert api.login().status_code == 200
        until(lambda: "blocks publishers because its memory or disk is full. Events wait" in caplog.text)
        assert waiting() == 1
        assert not transaction_open()

        private_broker.control("set_vm_memory_high_watermark", "0.6")
        until(lambda: waiting() == 0, 60)


@pytest.mark.private_broker
@pytest.mark.security("AUD-08")
def test_a_frozen_broker_is_left_after_the_timeout_and_found_again(
    private_broker: PrivateBroker, exchange: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(relay_module, "CONFIRM_TIMEOUT", 1.0)
    relay = configured_relay(using="default")
    fill(10)
    relay.publish_batch()
    private_broker.freeze()
    try:
        fill(10, first=20)
        with pytest.raises(BrokerError, match="no publisher confirm within"):
            relay.publish_batch()
        assert waiting() == 10
    finally:
        private_broker.thaw()
    with running(relay):
        until(lambda: waiting() == 0, 60)
    assert len({str(body) for body in read_stream(private_broker.port, exchange)}) == 20


def transaction_open() -> bool:
    """Return whether any other connection has an open transaction."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%%' "
            "AND datname = current_database() AND pid <> pg_backend_pid()"
        )
        return bool(cursor.fetchone()[0])


def read_stream(port: int, exchange: str) -> list[dict[str, int]]:
    """Return every message of the catch-all stream, from its beginning."""
    reader = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port))
    channel = reader.channel()
    channel.basic_qos(prefetch_count=500)
    bodies = []
    offset = {"x-stream-offset": "first"}
    for method, _, body in channel.consume(catch_all_queue(exchange), arguments=offset, inactivity_timeout=2):
        if method is None:
            break
        bodies.append(json.loads(body))
        channel.basic_ack(method.delivery_tag)
    # `channel.cancel()` would return prefetched messages to the queue, which a stream does not
    # support.
    with contextlib.suppress(pika.exceptions.AMQPError):
        reader.close()
    return bodies
