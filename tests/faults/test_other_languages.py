"""The page for other languages: its programs handle real events, on every RabbitMQ at hand."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pika
import psycopg
import pytest

from example_project.embedded_postgres import EmbeddedPostgres
from ninja_auth_kit.audit.broker.batch import ClaimedEvent
from ninja_auth_kit.audit.broker.publisher import RabbitMQ
from ninja_auth_kit.audit.events import AccountUpdated, Event, UserRegistered
from ninja_auth_kit.audit.events.base import CONTENT_TYPE
from ninja_auth_kit.audit.record.cloudevent import build_cloudevent
from ninja_auth_kit.conf import Broker, BrokerAddress
from tests.faults.languages import LANGUAGES, Language, blocks, needed
from tests.private_broker import PrivateBroker, free_port, is_installed, versions

QUEUE, DEAD = "crm.auth-events", "crm.auth-events.dead"
POISON = 13  # the key of the user whose event violates a constraint of the consumer's table
PATIENCE = 60.0  # seconds


@pytest.fixture(scope="session")
def brokers() -> Iterator[list[PrivateBroker]]:
    """Start every RabbitMQ at hand."""
    needed(is_installed(), "RabbitMQ")
    with ExitStack() as ends:
        started = []
        for sbin in versions() or [None]:
            started.append(PrivateBroker(sbin))
            ends.callback(started[-1].remove)
            started[-1].start()
        yield started


@pytest.fixture(scope="session")
def consumers_database() -> Iterator[dict[str, str]]:
    """Start a PostgreSQL for the consumers, and return the environment that leads to it."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="nak-crm-", ignore_cleanup_errors=True) as directory:
        server = EmbeddedPostgres(
            Path(directory), options={"fsync": "off", "listen_addresses": "127.0.0.1", "port": str(port)}
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PGPORT", str(port))  # also of the socket by which `start` waits for the server
            server.start()
        try:
            yield {
                "PGHOST": "127.0.0.1",
                "PGPORT": str(port),
                "PGUSER": "postgres",
                "PGDATABASE": "postgres",
                "PGSSLMODE": "disable",
                "JDBC_URL": f"jdbc:postgresql://127.0.0.1:{port}/postgres?user=postgres&password=none",
            }
        finally:
            server.stop()


class Shop:
    """The service that consumes: its database, its queue and its process.

    Args:
        language: the program that it runs.
        command: the command of the program.
        folder: where it runs.
        environment: leads to the database.
        broker: the broker that it consumes from.
    """

    def __init__(
        self, language: Language, command: list[str], folder: Path, environment: dict[str, str], broker: PrivateBroker
    ) -> None:
        self.language, self.command, self.folder, self.broker = language, command, folder, broker
        self.environment = {
            # Celery sets up the Django project that DJANGO_SETTINGS_MODULE names.
            **{name: value for name, value in os.environ.items() if not name.startswith("DJANGO_")},
            **environment,
            "AMQP_URL": f"amqp://guest:guest@127.0.0.1:{broker.port}",
            "PYTHONUNBUFFERED": "1",
        }
        self.conninfo = " ".join(
            f"{name}={environment[key]}"
            for name, key in {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE"}.items()
        )
        self.log = folder / f"log-{broker.port}"
        address = Broker((BrokerAddress("127.0.0.1", broker.port),), "guest", "guest", "/", tls=None)
        self.publisher = RabbitMQ(address, exchange="auth.events", declare=True)
        self.publisher.connect()
        self.process: subprocess.Popen[bytes] | None = None

    def sql(self, statement: str) -> list[Any]:
        """Execute a statement of the test, and return its rows."""
        with psycopg.connect(self.conninfo, autocommit=True, application_name="test") as db:
            cursor = db.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def publish(self, kind: type[Event], user: int, *, times: int = 1, **details: Any) -> None:
        """Publish an event as the relay does, and again as often as it does in doubt."""
        message = build_cloudevent(kind, client=None, user=SimpleNamespace(pk=user), **details)
        event = ClaimedEvent(1, str(message.event_id), message.routing_key, message.payload)
        for _ in range(times):
            assert self.publisher.publish([event], timeout=20).failure is None

    def register(self, user: int, *, times: int = 1) -> None:
        """Publish that a user registered."""
        self.publish(UserRegistered, user, times=times, replaced=False)

    def customers(self) -> list[str]:
        """Return the subjects whom the handler has inserted, in their order."""
        return [subject for (subject,) in self.sql("SELECT subject FROM customers ORDER BY number")]

    def depth(self, queue: str) -> tuple[int, int]:
        """Return how many messages are ready in a queue and how many consumers it has."""
        with self.channel() as channel:
            try:
                found = channel.queue_declare(queue, passive=True).method
            except pika.exceptions.ChannelClosedByBroker:
                return 0, 0
            return found.message_count, found.consumer_count

    @contextmanager
    def channel(self) -> Iterator[Any]:
        """Open a channel of the test."""
        parameters = pika.ConnectionParameters("127.0.0.1", self.broker.port)
        with closing(pika.BlockingConnection(parameters)) as connection:
            yield connection.channel()

    def start(self) -> None:
        """Start the program, and wait until it consumes."""
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self.command, cwd=self.folder, env=self.environment, stdout=out, stderr=out
            )
        self.until(lambda: self.depth(QUEUE)[1] == 1, "it consumes")

    def restart_if_it_ended(self, condition: Callable[[], bool], what: str) -> bool:
        """Wait for a condition, and return whether the program ended and was started again, as a supervisor does."""
        ended = []

        def is_met() -> bool:
            if self.process is not None and self.process.poll() is not None:
                ended.append(self.process.returncode)
                assert len(ended) < 4, f"it ends again and again: {ended}"
                self.start()
            return condition()

        self.until(is_met, what)
        return bool(ended)

    def stop(self) -> int:
        """Stop the program as a deployment does, and return its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until a condition is met."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            late = time.monotonic() > deadline
            assert not late, (
                f"{self.language.file}: not in time: {what}\n{self.log.read_text(errors='replace')[-4000:]}"
            )
            time.sleep(0.1)

    def close(self) -> None:
        """End the program, and delete what it has declared."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)
        self.publisher.close()
        with self.channel() as channel:
            channel.queue_delete(QUEUE)
            channel.queue_delete(DEAD)
            channel.exchange_delete(DEAD)


@contextmanager
def shop(
    language: Language, command: list[str], folder: Path, environment: dict[str, str], broker: PrivateBroker
) -> Iterator[Shop]:
    """Create the tables of the page and the service."""
    made = Shop(language, command, folder, environment, broker)
    try:
        made.sql("DROP TABLE IF EXISTS handled_events, customers")
        made.sql(blocks()["the tables of the consumer"])
        made.sql(f"ALTER TABLE customers ADD CHECK (subject <> 'user/{POISON}')")
        made.sql("ALTER TABLE customers ADD number serial")
        yield made
    finally:
        made.close()


def handles_the_rest(place: Shop) -> None:
    """Check that a failing event ends in the dead letters, a duplicate counts once, and other types are ignored."""
    place.start()
    place.register(1, times=2)
    place.publish(AccountUpdated, 1, fields=["first_name"])
    place.register(POISON)
    with place.channel() as channel:
        channel.basic_publish("auth.events", "auth.user.broken.success", b"{")
    place.register(2)

    place.until(lambda: len(place.customers()) == 2, "both users are customers")
    place.until(lambda: place.depth(DEAD)[0] == 2, "what cannot be handled is a dead letter")
    assert place.customers() == ["user/1", "user/2"]
    with place.channel() as channel:
        _, properties, body = channel.basic_get(DEAD)
        assert json.loads(body)["subject"] == f"user/{POISON}"
        assert properties.headers["x-death"][0]["reason"] == "rejected"
        assert channel.basic_get(DEAD)[2] == b"{"


def survives_a_cut(place: Shop) -> None:
    """Check that events arrive after the connection to the broker was lost, and after that to the database was."""
    place.broker.control("close_all_connections", "test")
    place.publisher.connect()
    place.register(3)
    ended = place.restart_if_it_ended(lambda: "user/3" in place.customers(), "it handles events after a cut")
    assert ended is not place.language.reconnects

    place.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' AND application_name <> 'test'"
    )
    place.register(4)
    place.restart_if_it_ended(lambda: "user/4" in place.customers(), "it handles events after the database restarted")
    assert place.depth(DEAD)[0] == 2


def stops_in_time(place: Shop) -> None:
    """Check that the program stops on SIGTERM, and that the queue then keeps events for it."""
    assert place.stop() == place.language.stops_with, place.log.read_text(errors="replace")[-4000:]
    place.register(5)
    place.until(lambda: place.depth(QUEUE) == (1, 0), "the event waits")
    place.start()
    place.until(lambda: place.customers()[-1] == "user/5", "the event is handled after the next start")
    assert place.customers() == [f"user/{number}" for number in (1, 2, 3, 4, 5)]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.fault(60, f"A consumer with {name}: failing handler, duplicate, cuts"))
        for name in LANGUAGES
    ],
)
def test_the_program_handles_each_event_once_and_rejects_what_fails(
    name: str,
    tmp_path: Path,
    brokers: list[PrivateBroker],
    consumers_database: dict[str, str],
) -> None:
    language = LANGUAGES[name]
    (tmp_path / language.file).write_text(language.code())
    command = language.prepare(tmp_path, language.file)

    for broker in brokers:
        with shop(language, command, tmp_path, consumers_database, broker) as place:
            handles_the_rest(place)
            survives_a_cut(place)
            stops_in_time(place)


@pytest.mark.fault(60, "The decoders of kombu, with the lines of the page")
def test_kombu_decodes_an_event_after_its_type_is_registered() -> None:
    needed(find_spec("kombu") is not None, "kombu")
    message = build_cloudevent(UserRegistered, client=None, user=SimpleNamespace(pk=7), replaced=False)
    code = blocks()["decoding with kombu"] + textwrap.dedent(
        """
        import sys
        from kombu.serialization import loads
        print(loads(sys.stdin.buffer.read(), sys.argv[1], None, accept={TYPE})["subject"])
        """
    )

    done = subprocess.run(
        [sys.executable, "-c", code, CONTENT_TYPE], input=message.payload.encode(), capture_output=True, check=True
    )

    assert done.stdout == b"user/7\n"
