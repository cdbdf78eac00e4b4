"""Faults of consumers: they are deployed, killed and cut off from the broker. Each runs on every version at hand."""

import base64
import contextlib
import itertools
import json
import os
import re
import tempfile
import time
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pika
import pytest

from ninja_auth_kit.consumer import Postgres
from ninja_auth_kit.consumer.consumer import dead_letters
from tests.consumer.conftest import Producer, message
from tests.faults.conftest import ROW
from tests.faults.consuming import POISON
from tests.faults.database import PrivateDatabase
from tests.faults.processes import Process
from tests.faults.report import Row
from tests.private_broker import PrivateBroker, free_port, is_installed, versions
from tests.servers import ROOT

pytestmark = pytest.mark.private_broker
EVENTS = 40
STOPS = 8
HANDLING = 0.4  # seconds, so that each stop gives nearly all that was sent ahead back to the queue
TRIES = 4  # of the consumer in tests/faults/consuming.py
PLUGINS = "[rabbitmq_management, rabbitmq_shovel].\n"


def on_each_broker(number: int, fault: str) -> pytest.MarkDecorator:
    """Return the marker that runs a case once for each version of RabbitMQ."""
    marks = pytest.mark.fault(number, fault)
    params = [pytest.param(sbin, id=sbin.parent.name, marks=marks) for sbin in versions()]
    return pytest.mark.parametrize("sbin", params or [pytest.param(None, id="none", marks=marks)])


class Scene:
    """A broker of one version, a database, and the consumers that work for one queue.

    Args:
        row: the row of the result table to fill in.
        broker: the broker.
        server: the database server.
        home: where the output of the consumers goes.
    """

    def __init__(self, row: Row, broker: PrivateBroker, server: PrivateDatabase, home: Path) -> None:
        self.row, self.broker, self.server, self.home = row, broker, server, home
        self.producer = Producer(broker.port)
        self.management = ""
        self.database = f"consumers_{uuid.uuid4().hex[:8]}"
        self.conninfo = server.url(self.database).replace("postgres:", "postgresql:", 1)
        server.execute(f"CREATE DATABASE {self.database}")
        self.sql("CREATE TABLE effect (position serial, number text)")
        Postgres(self.conninfo).install()
        self.processes: list[Process] = []
        self._names = itertools.count(1)
        self.note(f"RabbitMQ {broker.control('version').strip()}")

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Execute a statement in the database of the consumers."""
        return self.server.execute(statement, name=self.database)

    def start_consumer(self, *, handling: float = HANDLING) -> Process:
        """Start another process, and wait until it consumes or has ended."""
        arguments = [self.producer.url, self.producer.queue, self.producer.exchange, self.conninfo, str(handling)]
        log = self.home / f"consumer-{next(self._names):02d}.log"
        process = Process(["tests.faults.consuming", *arguments], self._environment(), log)
        self.processes.append(process)
        self.until(lambda: not process.is_running or "Consuming" in process.output)
        return process

    def send(self, *texts: str) -> None:
        """Send an event for each text."""
        for number, text in enumerate(texts):
            event = message(number)
            event["data"]["client"]["user_agent"] = text
            self.producer.send(event)

    def handled(self) -> list[str]:
        """Return the numbers of the events that were handled, in that order."""
        return [str(row[0]) for row in self.sql("SELECT number FROM effect ORDER BY position")]

    def calls(self) -> Counter[str]:
        """Return how many times the handlers were called for each event."""
        lines = (line for log in sorted(self.home.glob("*.log")) for line in log.read_text().splitlines())
        return Counter(line.removeprefix("called for ") for line in lines if line.startswith("called for "))

    def until(self, condition: Callable[[], bool], timeout: float = 60) -> None:
        """Wait for a condition."""
        begun = time.monotonic()
        while not condition():
            assert time.monotonic() - begun < timeout, "\n".join(
                f"--- {log.name}\n{log.read_text()[-1500:]}" for log in sorted(self.home.glob("*.log"))
            )
            time.sleep(0.05)

    def expect(self, *, numbers: list[str], dead: int = 0) -> None:
        """Wait until each event was handled, fill in the row, and assert: each once, in order, and no dead letter."""
        self.until(lambda: len(self.handled()) >= len(numbers), timeout=120)
        self.until(lambda: self.producer.depth(self.producer.queue) == 0)
        for process in self.processes:
            assert not process.is_running or process.terminate() == 0, process.output
        time.sleep(0.5)
        handled, left = self.handled(), self.producer.depth(self.producer.queue)
        disorder = sum(int(later) < int(earlier) for earlier, later in itertools.pairwise(handled))
        figures = {
            "events": len(numbers) + dead,
            "received": len(set(handled)),
            "lost": len(set(numbers) - set(handled)),
            "duplicates": len(handled) - len(set(handled)),
            "remaining": left,
            "out of order": disorder,
            "uncommitted": 0,
            "seconds": round(time.monotonic() - self.row.begun),
        }
        self.row.figures = {name: f"{figure:,}" for name, figure in figures.items()}
        assert (handled, left, self.producer.dead()) == (numbers, 0, dead), figures

    def note(self, text: str) -> None:
        """Add an observation to the row of the table."""
        self.row.notes.append(text)

    def close(self) -> None:
        """End the processes, and drop the database."""
        for process in self.processes:
            process.end()
        self.server.drop(self.database)

    @staticmethod
    def _environment() -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}


@pytest.fixture
def scene(request: pytest.FixtureRequest, database_server: PrivateDatabase, sbin: Path | None) -> Iterator[Scene]:
    if not is_installed():
        pytest.skip("RabbitMQ is not installed, so a private broker cannot be started")
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nak-consumers-")))
        broker = PrivateBroker(sbin)
        stack.callback(broker.remove)
        port = free_port()
        if request.node.stash[ROW].number == 44:
            (broker.home / "enabled_plugins").write_text(PLUGINS)
            with (broker.home / "rabbitmq.conf").open("a") as conf:
                conf.write(f"management.tcp.port = {port}\nmanagement.tcp.ip = 127.0.0.1\n")
        broker.start()
        scene = Scene(request.node.stash[ROW], broker, database_server, home)
        scene.management = f"http://127.0.0.1:{port}/api"
        stack.callback(scene.close)
        yield scene


NUMBERS = [str(number) for number in range(EVENTS)]
TEXTS = [f"number {number}" for number in range(EVENTS)]


def start_three_and_send(scene: Scene) -> None:
    for _ in range(3):
        scene.start_consumer()
    scene.send(*TEXTS)


def calls_of(process: Process) -> int:
    return process.output.count("called for ")


@on_each_broker(40, "Rolling deploy of three consumers, eight restarts (SIGTERM), with a slow handler")
def test_a_rolling_deploy_of_consumers_loses_and_repeats_no_event(scene: Scene) -> None:
    start_three_and_send(scene)
    for _ in range(STOPS):
        oldest = next(process for process in scene.processes if process.is_running)  # which is the active one
        scene.until(lambda oldest=oldest: calls_of(oldest) > 0)  # type: ignore[misc]
        assert oldest.terminate() == 0, oldest.output
        scene.start_consumer()
    scene.expect(numbers=NUMBERS)
    assert set(scene.calls().values()) == {1}


@on_each_broker(41, "Active consumer killed (kill -9) eight times while its handler works")
def test_a_killed_consumer_loses_no_event_and_kills_none(scene: Scene) -> None:
    start_three_and_send(scene)
    for _ in range(STOPS):
        active = next(process for process in scene.processes if process.is_running)
        # The first event is the one that the killed consumer had.
        scene.until(lambda active=active: calls_of(active) > 1)  # type: ignore[misc]
        active.kill()
        scene.start_consumer()
    scene.expect(numbers=NUMBERS)
    assert max(scene.calls().values()) == 2
    assert sum(scene.calls().values()) <= EVENTS + STOPS


@on_each_broker(42, "An event that kills each consumer that handles it, among other events")
def test_an_event_that_kills_the_process_becomes_a_dead_letter_and_the_others_are_handled(scene: Scene) -> None:
    process = scene.start_consumer(handling=0)
    scene.send(*TEXTS[:20], POISON, *TEXTS[20:])
    deaths = 0
    while scene.producer.dead() == 0:
        scene.until(lambda process=process: not process.is_running or scene.producer.dead() > 0)  # type: ignore[misc]
        if not process.is_running:
            deaths += 1
            assert deaths < 10
            process = scene.start_consumer(handling=0)
    scene.expect(numbers=NUMBERS, dead=1)
    # The first delivery of an event is counted after it failed, and not before.
    assert deaths == scene.calls()[POISON] == TRIES + 1
    assert sum(scene.calls().values()) == EVENTS + deaths
    scene.note(f"a dead letter after {deaths} kills")


@on_each_broker(43, "Connections of three consumers closed eight times, and the broker killed, while a handler works")
def test_consumers_that_lose_the_broker_lose_and_repeat_no_event(scene: Scene) -> None:
    start_three_and_send(scene)
    for cut in range(1, STOPS + 1):
        scene.until(lambda cut=cut: len(scene.handled()) >= 2 * cut)  # type: ignore[misc]
        scene.broker.control("close_all_connections", "a test")
        with contextlib.suppress(Exception):
            scene.producer.connection.close()
    scene.broker.kill()
    scene.broker.start()
    scene.producer.connect()
    scene.expect(numbers=NUMBERS)
    assert set(scene.calls().values()) == {1}


@on_each_broker(44, "Dead letters looked at 60 times on the management page, then moved back by a shovel")
def test_dead_letters_that_were_looked_at_and_moved_back_have_all_their_tries_again(scene: Scene) -> None:
    process = scene.start_consumer(handling=0)
    scene.sql("ALTER TABLE effect ADD CHECK (number <> '7')")
    scene.send(*TEXTS[:10])
    scene.until(lambda: scene.producer.dead() == 1)
    assert scene.calls()["number 7"] == TRIES

    look_at(scene, dead_letters(scene.producer.queue))
    for tries in (2 * TRIES, 3 * TRIES):
        move_back(scene)
        scene.until(lambda tries=tries: scene.calls()["number 7"] == tries)  # type: ignore[misc]
        scene.until(lambda: scene.producer.dead() == 1)

    assert process.is_running
    scene.sql("ALTER TABLE effect DROP CONSTRAINT effect_number_check")
    move_back(scene)
    scene.expect(numbers=[*NUMBERS[:7], "8", "9", "7"])
    expect_queues_of_the_page(scene)


def look_at(scene: Scene, queue: str) -> None:
    """Look at the only message of a queue on the management page, in each way that it offers."""
    login = base64.b64encode(b"guest:guest").decode()
    headers = {"Authorization": f"Basic {login}", "Content-Type": "application/json"}
    for ackmode in ["reject_requeue_true", "ack_requeue_true"] * 30:
        scene.until(lambda: scene.producer.depth(queue) == 1)
        body = json.dumps({"count": 1, "ackmode": ackmode, "encoding": "auto"}).encode()
        request = urllib.request.Request(f"{scene.management}/queues/%2F/{queue}/get", body, headers)
        with urllib.request.urlopen(request, timeout=10) as response:
            assert len(json.load(response)) == 1


def move_back(scene: Scene) -> None:
    """Move the dead letters back with the shovel of docs/consumers.md."""
    shovel = re.search(r"set_parameter shovel back '(.*?)'", page(), re.DOTALL)
    assert shovel is not None
    scene.broker.control(
        "set_parameter", "shovel", "back", shovel[1].replace("billing.auth-events", scene.producer.queue)
    )
    scene.until(lambda: "back" not in scene.broker.control("list_parameters"))


def expect_queues_of_the_page(scene: Scene) -> None:
    """Import the definitions for a consumer of another language, and assert that no event is lost."""
    definitions = re.search(r"```json\n(.*?)```", page(), re.DOTALL)
    assert definitions is not None
    file = scene.home / "crm.json"
    file.write_text(definitions[1])
    scene.producer.channel.exchange_declare("auth.events", "topic", durable=True)
    scene.broker.control("import_definitions", str(file))
    scene.broker.control("import_definitions", str(file))
    event = pika.BasicProperties(delivery_mode=2)
    scene.producer.channel.basic_publish("auth.events", "auth.user.register.success", b"{}", event)
    for _ in range(30):
        scene.until(lambda: scene.producer.depth("crm") == 1)
        method, _, _ = scene.producer.channel.basic_get("crm")
        scene.producer.channel.basic_reject(method.delivery_tag, requeue=True)
    scene.until(lambda: scene.producer.depth("crm") == 1)
    method, _, _ = scene.producer.channel.basic_get("crm")
    scene.producer.channel.basic_reject(method.delivery_tag, requeue=False)
    look_at(scene, "crm.dead")


def page() -> str:
    return (ROOT / "docs" / "consumers.md").read_text(encoding="utf-8")
