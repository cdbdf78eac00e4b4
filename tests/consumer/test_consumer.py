"""A consumer in another service: each event once despite crashes, failures as dead letters."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ninja_auth_kit.audit.events import Event, LoggedIn, LoginFailed, SessionRevoked
from ninja_auth_kit.consumer import Consumer, Memory, Postgres, UnacceptableError
from ninja_auth_kit.consumer import consumer as consumer_module
from ninja_auth_kit.consumer.handling import PAUSES, MessageHandler
from tests.consumer.conftest import HOST, URL, Producer, consumers, message, running, until
from tests.private_broker import PrivateBroker, free_port
from tests.servers import ROOT

pytestmark = [pytest.mark.broker, pytest.mark.consumer]


def listening(
    producer: Producer, store: Any = None, *, url: str = URL, **options: Any
) -> tuple[Consumer[Any], list[Event]]:
    """Return a consumer of failed logins, and the list of events that it fills."""
    heard: list[Event] = []
    options = {"queue": producer.queue, "exchange": producer.exchange, **options}
    consumer: Consumer[Any] = Consumer(url, store=store or Memory(), **options)

    @consumer.on(LoginFailed)
    def hear(event: LoginFailed, db: Any) -> None:
        heard.append(event)

    return consumer, heard


def test_it_needs_no_django() -> None:
    code = (
        "import sys, ninja_auth_kit.consumer, ninja_auth_kit.audit.events\n"
        "print([name for name in ('django', 'ninja', 'jwt') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")

    assert done.stdout == "[]\n"


def test_an_event_arrives_as_an_object_of_its_class(producer: Producer) -> None:
    consumer, heard = listening(producer)

    with running(consumer):
        until(lambda: consumer.is_consuming)
        producer.send(message(5))
        until(lambda: len(heard) == 1)

    (event,) = heard
    assert isinstance(event, LoginFailed)
    assert (event.reason, event.target.id, event.client.user_agent) == ("invalid_credentials", "7", "number 5")
    assert event.time.isoformat() == "2026-11-27T03:00:00+00:00"


def test_what_comes_twice_is_handled_once_and_what_is_none_goes_to_the_dead_letters(
    producer: Producer, conninfo: str
) -> None:
    store = Postgres(conninfo)
    store.install()
    consumer: Consumer[psycopg.Cursor[Any]] = Consumer(
        URL, queue=producer.queue, exchange=producer.exchange, store=store
    )

    @consumer.on(LoginFailed)
    def note(event: LoginFailed, db: psycopg.Cursor[Any]) -> None:
        if event.client.user_agent == "number 13":
            raise UnacceptableError
        db.execute("INSERT INTO effect VALUES (%s)", (event.client.user_agent,))

    events = [message(number) for number in range(300)]
    with running(consumer):
        until(lambda: consumer.is_consuming)
        producer.send(*events[:200], b"no JSON at all", *events[50:80], *events[200:])
        until(lambda: producer.dead() == 2)
        until(lambda: count(conninfo) == 299)

    with psycopg.connect(conninfo) as reader:
        assert reader.execute("SELECT count(DISTINCT number) FROM effect").fetchone() == (299,)
    assert producer.depth(producer.queue) == 0


def count(conninfo: str) -> int:
    with psycopg.connect(conninfo) as reader:
        return int(reader.execute("SELECT count(*) FROM effect").fetchone()[0])  # type: ignore[index]


def test_what_a_handler_cannot_do_is_tried_again_undone_and_then_set_aside(
    producer: Producer, conninfo: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = Postgres(conninfo)
    store.install()
    tries: list[float] = []
    pauses = (0.1, 0.2, 0.4, 0.8, 1.6)
    consumer: Consumer[psycopg.Cursor[Any]] = Consumer(
        URL, queue=producer.queue, exchange=producer.exchange, store=store, pauses=pauses
    )

    @consumer.on(LoginFailed)
    def fail(event: LoginFailed, db: psycopg.Cursor[Any]) -> None:
        db.execute("INSERT INTO effect VALUES ('half of it')")
        tries.append(time.monotonic())
        raise RuntimeError

    with running(consumer):
        until(lambda: consumer.is_consuming)
        producer.send(message())
        until(lambda: producer.dead() == 1)

    assert len(tries) == 6  # the first attempt and five retries
    between = [later - earlier for earlier, later in itertools.pairwise(tries)]
    # It does not retry in a busy loop.
    assert all(real >= pause for real, pause in zip(between, pauses, strict=True))
    assert count(conninfo) == 0
    said = [record.getMessage().partition(" was ")[2] for record in caplog.records if "not handled" in record.message]
    assert said == [
        *(f"not handled. It is delivered again in {pause} seconds." for pause in pauses),
        "not handled in 6 tries. It becomes a dead letter.",
    ]


def test_what_a_handler_needs_may_be_away_for_a_minute() -> None:
    assert sum(PAUSES) == 60


PROGRAM = """
import os, signal, sys
from ninja_auth_kit.audit.events import LoginFailed
from ninja_auth_kit.consumer import Consumer, Postgres
from ninja_auth_kit.consumer.handling import MessageHandler

url, queue, exchange, conninfo = sys.argv[1:5]
consumer = Consumer(url, queue=queue, exchange=exchange, store=Postgres(conninfo))

@consumer.on(LoginFailed)
def note(event, db):
    db.execute("INSERT INTO effect VALUES (%s)", (event.id,))

if "die" in sys.argv:
    handle = MessageHandler.handle
    def die(*args, **kwargs):
        handle(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)
    MessageHandler.handle = die
print("ready", flush=True)
consumer.run()
"""


@pytest.mark.race
def test_a_consumer_that_is_killed_between_its_commit_and_its_answer_has_handled_it_once(
    producer: Producer, conninfo: str, tmp_path: Path
) -> None:
    Postgres(conninfo).install()
    program = tmp_path / "consumer.py"
    program.write_text(PROGRAM)
    command = [sys.executable, str(program), URL, producer.queue, producer.exchange, conninfo]
    dying = subprocess.Popen([*command, "die"], stdout=subprocess.PIPE, text=True)
    assert dying.stdout is not None
    assert dying.stdout.readline() == "ready\n"
    until(lambda: consumers(producer) == 1)
    producer.send(message())
    assert dying.wait(30) == -signal.SIGKILL
    dying.stdout.close()

    living = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    until(lambda: consumers(producer) == 1 and producer.depth(producer.queue) == 0)
    producer.send(message(1))
    until(lambda: count(conninfo) == 2)
    living.send_signal(signal.SIGTERM)
    living.communicate(timeout=30)

    assert living.returncode == 0
    assert count(conninfo) == 2
    assert producer.depth(producer.queue) == 0


def test_a_kind_that_nobody_handles_or_knows_is_acknowledged_and_ignored(producer: Producer) -> None:
    consumer, heard = listening(producer, bindings=["auth.#"])

    with running(consumer):
        until(lambda: consumer.is_consuming)
        producer.send(message(name="session.logged_in"), message(name="something.new"), message())
        until(lambda: len(heard) == 1)

    assert producer.dead() == 0
    assert producer.depth(producer.queue) == 0


def test_members_that_a_later_version_adds_are_ignored(producer: Producer) -> None:
    consumer, heard = listening(producer)
    later = message(newextension="x")
    later["data"]["risk"] = {"score": 7}

    with running(consumer):
        until(lambda: consumer.is_consuming)
        producer.send(later)
        until(lambda: len(heard) == 1)


def test_several_handlers_and_kinds_and_all_of_them(producer: Producer) -> None:
    heard: list[str] = []
    consumer: Consumer[None] = Consumer(URL, queue=producer.queue, exchange=producer.exchange, store=Memory())

    @consumer.on(LoggedIn, SessionRevoked)
    def hear_two(event: LoggedIn | SessionRevoked, db: None) -> None:
        heard.append(f"two {event.name}")

    @consumer.on(Event)
    def hear_all(event: Event, db: None) -> None:
        heard.append(f"all {event.name}")

    with running(consumer):
        until(lambda: consumer.is_consuming)
        producer.send(message(name="session.logged_in"), message())
        until(lambda: len(heard) == 3)

    assert heard == ["two session.logged_in", "all session.logged_in", "all session.login_failed"]


def test_a_slow_handler_costs_no_connection(producer: Producer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ninja_auth_kit.consumer.connections.HEARTBEAT", 1)
    connect, opened = consumer_module.connect, []
    monkeypatch.setattr(consumer_module, "connect", lambda *a, **k: (opened.append(1), connect(*a, **k))[1])
    consumer: Consumer[None] = Consumer(URL, queue=producer.queue, exchange=producer.exchange, store=Memory())
    handled = []

    @consumer.on(LoginFailed)
    def handle_slowly(event: LoginFailed, db: None) -> None:
        time.sleep(5)
        handled.append(event)

    with running(consumer):
        until(lambda: consumer.is_consuming)
        producer.send(message())
        until(lambda: len(handled) == 1)
        time.sleep(1)

    assert producer.depth(producer.queue) == 0
    assert len(handled) == 1
    assert len(opened) == 1


def test_told_to_stop_it_finishes_what_it_has_in_hand_and_gives_the_rest_back(producer: Producer) -> None:
    begun, go_on = threading.Event(), threading.Event()
    handled = []
    consumer: Consumer[None] = Consumer(URL, queue=producer.queue, exchange=producer.exchange, store=Memory())

    @consumer.on(LoginFailed)
    def work(event: LoginFailed, db: None) -> None:
        begun.set()
        go_on.wait(20)
        handled.append(event)

    with running(consumer):
        until(lambda: consumer.is_consuming)
        producer.send(message())
        assert begun.wait(20)
        consumer.stop()
        # They arrive while it is stopping.
        producer.send(*[message(number) for number in range(1, 5)])
        time.sleep(0.3)
        go_on.set()

    assert len(handled) == 1
    until(lambda: producer.depth(producer.queue) == 4)


def test_two_of_them_with_one_active_keep_the_order(producer: Producer) -> None:
    heard: list[int] = []
    both = []
    for _ in range(2):
        consumer: Consumer[None] = Consumer(
            URL, queue=producer.queue, exchange=producer.exchange, store=Memory(), prefetch=5
        )

        @consumer.on(LoginFailed)
        def hear(event: LoginFailed, db: None) -> None:
            heard.append(int(event.client.user_agent.rpartition(" ")[2]))

        both.append(consumer)

    with running(*both):
        until(lambda: all(one.is_consuming for one in both))
        producer.send(*[message(number) for number in range(100)])
        until(lambda: len(heard) == 100)

    assert heard == list(range(100))


def test_a_store_that_is_away_costs_no_delivery_and_gets_the_event_later(
    producer: Producer, conninfo: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Postgres(conninfo)
    store.install()
    consumer, heard = listening(producer, store)
    monkeypatch.setattr(store, "_conninfo", f"postgresql://nobody:c4n4ry@127.0.0.1:{free_port()}/nowhere")

    with running(consumer):
        until(lambda: consumer.is_consuming)
        producer.send(message())
        until(lambda: caplog.text.count("The store is not available") > 3)
        store._conninfo = conninfo
        until(lambda: len(heard) == 1)

    assert producer.dead() == 0
    assert "c4n4ry" not in caplog.text + repr(store)


def test_a_handler_s_own_trouble_with_a_database_is_no_absence_of_the_store(producer: Producer, conninfo: str) -> None:
    store = Postgres(conninfo)
    store.install()
    consumer: Consumer[Any] = Consumer(
        URL, queue=producer.queue, exchange=producer.exchange, store=store, pauses=[0.05]
    )

    @consumer.on(LoginFailed)
    def wait_for_ever(event: LoginFailed, db: psycopg.Cursor[Any]) -> None:
        db.execute("SET LOCAL statement_timeout = 20")
        db.execute("SELECT pg_sleep(10)")

    with running(consumer):
        until(lambda: consumer.is_consuming)
        producer.send(message())
        until(lambda: producer.dead() == 1)


STUBBORN = """
import sys, time
from ninja_auth_kit.audit.events import LoginFailed
from ninja_auth_kit.consumer import Consumer, Memory

url, queue, exchange = sys.argv[1:4]
consumer = Consumer(url, queue=queue, exchange=exchange, store=Memory())

@consumer.on(LoginFailed)
def hang(event, db):
    print("begun", flush=True)
    time.sleep(60)

consumer.run()
"""


def test_the_same_signal_again_ends_one_whose_handler_hangs(producer: Producer, tmp_path: Path) -> None:
    program = tmp_path / "consumer.py"
    program.write_text(STUBBORN)
    command = [sys.executable, str(program), URL, producer.queue, producer.exchange]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        until(lambda: consumers(producer) == 1)
        producer.send(message())
        assert process.stdout.readline() == "begun\n"

        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)

        assert process.wait(10) == -signal.SIGTERM
    until(lambda: producer.depth(producer.queue) == 1)


def test_an_exchange_that_is_not_there_yet_is_waited_for(producer: Producer, caplog: pytest.LogCaptureFixture) -> None:
    consumer, heard = listening(producer)
    producer.channel.exchange_delete(producer.exchange)

    with running(consumer):
        until(lambda: f"the exchange '{producer.exchange}' does not exist" in caplog.text)
        producer.channel.exchange_declare(producer.exchange, "topic", durable=True)
        until(lambda: consumer.is_consuming)
        producer.send(message())
        until(lambda: len(heard) == 1)


@pytest.mark.private_broker
def test_a_broker_that_is_killed_and_comes_back_is_found_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broker = PrivateBroker()
    broker.start()
    monkeypatch.setattr(consumer_module, "LONGEST_BACKOFF", 2.0)
    try:
        producer = Producer(broker.port)
        consumer, heard = listening(producer, url=f"amqp://guest:guest@{HOST}:{broker.port}/%2F")
        with running(consumer):
            until(lambda: consumer.is_consuming)
            producer.send(message(1))
            until(lambda: len(heard) == 1)
            # A new quorum queue is lost if its node is killed within seconds (RabbitMQ 3.10).
            time.sleep(6)
            broker.kill()
            until(lambda: "Trying again." in caplog.text)
            broker.start()
            producer.connect()
            until(lambda: consumer.is_consuming, 60)
            producer.send(message(2))
            until(lambda: len(heard) == 2)
        producer.close()
    finally:
        broker.remove()


def test_a_broker_that_accepts_and_says_nothing_is_tried_again(
    silent_port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("ninja_auth_kit.consumer.connections.CONNECT_TIMEOUT", 0.3)
    consumer: Consumer[None] = Consumer(f"amqp://guest:c4n4ry@127.0.0.1:{silent_port}", queue="x", store=Memory())
    consumer.on(LoginFailed)(lambda event, db: None)

    with running(consumer):
        until(lambda: caplog.text.count(f"127.0.0.1:{silent_port}: timed out. Trying again.") > 1)

    assert "c4n4ry" not in caplog.text


def test_mistakes_are_told_before_anything_is_connected(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValueError, match="The consumer has no handler"):
        Consumer(URL, queue="x", store=Memory()).run()
    consumer: Consumer[None] = Consumer("http://guest:c4n4ry@broker", queue="x", store=Memory())
    consumer.on(LoginFailed)(lambda event, db: None)
    with pytest.raises(ValueError, match="must be amqp://user:password@host:port/vhost") as caught:
        consumer.run()
    assert "c4n4ry" not in str(caught.value)


@pytest.mark.parametrize(
    "mistake", ["amqp://guest:c4n4ry/with-a-slash@broker", "amqp://guest:c4n4ry@[::1/", "http://guest:c4n4ry@broker"]
)
def test_every_url_of_a_list_is_checked_at_the_start_and_no_part_of_a_password_is_told(mistake: str) -> None:
    for urls in ([mistake, "amqp://127.0.0.1:1"], ["amqp://127.0.0.1:1", mistake]):
        consumer: Consumer[None] = Consumer(urls, queue="x", store=Memory())
        consumer.on(LoginFailed)(lambda event, db: None)
        with pytest.raises(ValueError, match="must be amqp://user:password@host:port/vhost") as caught:
            consumer.run()
        assert "c4n4ry" not in str(caught.value)


def test_a_consumer_without_a_url_does_not_start() -> None:
    consumer: Consumer[None] = Consumer([], queue="x", store=Memory())
    consumer.on(LoginFailed)(lambda event, db: None)
    with pytest.raises(ValueError, match="needs the URL of at least one broker"):
        consumer.run()


def test_no_error_holds_the_password(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer_module, "LONGEST_BACKOFF", 0.5)
    consumer: Consumer[None] = Consumer(URL.replace("guest:guest", "guest:c4n4ry"), queue="x", store=Memory())
    consumer.on(LoginFailed)(lambda event, db: None)

    with running(consumer):
        until(lambda: "login refused: wrong user or password" in caplog.text)

    assert "c4n4ry" not in caplog.text


def test_old_ids_are_forgotten(conninfo: str) -> None:
    store = Postgres(conninfo)
    store.install()
    store.install()
    with psycopg.connect(conninfo) as writer:
        writer.execute("INSERT INTO ninja_auth_kit_seen_event VALUES ('a', '1', now() - interval '31 days')")
        writer.execute("INSERT INTO ninja_auth_kit_seen_event VALUES ('a', '2', now() - interval '29 days')")

    assert store.prune() == 1
    assert store.prune(older_than=timedelta(days=1)) == 1


def test_the_handlers_say_what_is_bound() -> None:
    message_handler = MessageHandler(Memory(), threading.Event())
    message_handler.handlers = [(LoginFailed, print), (LoggedIn, print), (LoginFailed, print)]
    assert message_handler.bindings() == ["auth.session.login.failure", "auth.session.login.success"]

    message_handler.handlers.append((Event, print))
    assert "auth.#" in message_handler.bindings()


@pytest.mark.parametrize(("handler", "error"), [("event: LoginFailed", ""), ("event: LoggedIn", "arg-type")])
def test_a_handler_of_another_event_is_a_mistake_of_types(tmp_path: Path, handler: str, error: str) -> None:
    pytest.importorskip("mypy", reason="mypy is installed only in the types environment")
    program = tmp_path / "handlers.py"
    program.write_text(
        "from ninja_auth_kit.audit.events import LoggedIn, LoginFailed\n"
        "from ninja_auth_kit.consumer import Consumer, Memory\n"
        "consumer = Consumer('amqp://x', queue='q', store=Memory())\n"
        f"@consumer.on(LoginFailed)\ndef handle({handler}, db: None) -> None:\n    print(LoggedIn, event.reason)\n"
    )
    environment = {**os.environ, "MYPYPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "mypy", "--config-file=", "--follow-imports=silent", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    assert (error in done.stdout) if error else (done.returncode == 0), done.stdout
