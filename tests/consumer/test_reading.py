"""Reading new events and past events of the stream: `authkit_tail` and `replay`."""

import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from ninja_auth_kit.audit.broker.errors import BrokerError
from ninja_auth_kit.audit.broker.stream import CATCH_ALL
from ninja_auth_kit.consumer import replay
from tests.consumer.conftest import HOST, PORT, URL, Producer, message, until
from tests.servers import ROOT

pytestmark = [pytest.mark.broker, pytest.mark.consumer]


@pytest.fixture
def stream(producer: Producer) -> str:
    """Declare a catch-all stream as the relay does."""
    name = f"{producer.name}.audit"
    producer.channel.queue_declare(name, durable=True, arguments=CATCH_ALL)
    producer.channel.queue_bind(name, producer.exchange, "#")
    return name


def sent_at(moment: datetime, number: int) -> dict[str, Any]:
    return message(number, time=moment.isoformat())


def test_a_new_service_reads_last_week_from_the_stream(producer: Producer, stream: str) -> None:
    now = datetime.now(UTC)
    days = [now - timedelta(days=day) for day in (9, 6, 1)]
    producer.send(*[sent_at(moment, number) for number, moment in enumerate(days)], b"no event")
    producer.send(*[sent_at(now, number) for number in range(10, 1010)])
    until(lambda: producer.depth(stream) == 1004)

    events = list(replay(URL, since=timedelta(days=7), stream=stream))

    numbers = [int(event.client.user_agent.rpartition(" ")[2]) for event in events]
    assert numbers == [1, 2, *range(10, 1010)]
    again = list(replay(URL, since=now - timedelta(days=2), until=now - timedelta(hours=1), stream=stream))
    assert [event.client.user_agent for event in again] == ["number 2"]


def test_an_event_that_came_late_is_read_although_a_later_one_stands_before_it(
    producer: Producer, stream: str
) -> None:
    now = datetime.now(UTC)
    producer.send(*[sent_at(now - timedelta(minutes=ago), number) for number, ago in enumerate((50, -60, 40, 35))])
    until(lambda: producer.depth(stream) == 4)

    events = list(replay(URL, until=now - timedelta(minutes=30), stream=stream))

    assert [event.client.user_agent for event in events] == ["number 0", "number 2", "number 3"]


def test_a_stream_that_is_not_there_is_said(producer: Producer) -> None:
    with pytest.raises(BrokerError, match=r"nowhere\.audit"):
        list(replay(URL, stream="nowhere.audit"))


def test_a_broker_that_accepts_and_says_nothing_is_said_to_be_away(
    silent_port: int, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.RABBITMQ_HOST, settings.RABBITMQ_PORT = "127.0.0.1", silent_port
    began = time.monotonic()

    with pytest.raises(CommandError, match=rf"127.0.0.1:{silent_port}: timed out\.$"):
        call_command("authkit_tail", timeout=0.5)

    assert time.monotonic() - began < 5
    monkeypatch.setattr("ninja_auth_kit.consumer.connections.CONNECT_TIMEOUT", 0.3)
    with pytest.raises(BrokerError, match="timed out"):
        list(replay(f"amqp://guest:guest@127.0.0.1:{silent_port}"))


@pytest.fixture
def tail(producer: Producer, settings: Settings, kit: Callable[..., None]) -> Callable[..., str]:
    """Return a function that runs authkit_tail, sends events meanwhile, and returns its output."""
    settings.RABBITMQ_HOST, settings.RABBITMQ_PORT = HOST, PORT
    kit(AUDIT_EXCHANGE=producer.exchange)

    def run(*arguments: str, events: list[tuple[Any, str]], **options: Any) -> str:
        out = io.StringIO()
        options = {"count": len(events), "timeout": 20, "stdout": out, **options}
        thread = threading.Thread(target=call_command, args=("authkit_tail", *arguments), kwargs=options)
        thread.start()
        other = Producer()
        time.sleep(0.7)
        for body, key in events:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            other.channel.basic_publish(producer.exchange, key, data)
        thread.join(30)
        other.close()
        return out.getvalue()

    return run


def test_each_event_is_a_line_that_says_when_what_whose_why_and_from_where(tail: Callable[..., str]) -> None:
    merged = message(user="9")
    merged["data"]["count"] = 25

    printed = tail(
        events=[
            (message(), "auth.session.login.failure"),
            (merged, "auth.session.login.failure"),
            (b"garbage", "auth.odd.x.success"),
        ]
    )

    assert printed.splitlines() == [
        "03:00:00.000  auth.session.login.failure              user/7  invalid_credentials  203.0.113.7",
        "03:00:00.000  auth.session.login.failure              user/9  invalid_credentials  203.0.113.7  25 times",
        "auth.odd.x.success: not an event of the kit, 7 bytes",
    ]


def test_a_pattern_chooses_and_json_is_the_event_itself(tail: Callable[..., str]) -> None:
    event = message()

    printed = tail(
        "auth.*.*.failure",
        events=[
            (message(name="session.logged_in"), "auth.session.login.success"),
            (event, "auth.session.login.failure"),
        ],
        json=True,
        count=1,
    )

    assert [json.loads(line) for line in printed.splitlines()] == [event]


def test_colours_are_for_those_who_want_them(tail: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    event = (message(), "auth.session.login.failure")

    assert "\x1b[" in tail(events=[event], force_color=True)
    assert "\x1b[" not in tail(events=[event], no_color=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in tail(events=[event], force_color=True)


def test_an_event_writes_nothing_that_a_terminal_obeys(tail: Callable[..., str]) -> None:
    event = message(subject="user/\x1b]0;owned\x07")
    event["data"]["reason"] = "\x1b[2J\r\n"

    printed = tail(events=[(event, "auth.session.login.failure")])

    assert printed.count("\n") == 1
    assert "\x1b" not in printed
    assert "\x07" not in printed


def test_it_ends_after_its_time_and_says_what_is_missing(
    tail: Callable[..., str], settings: Settings, kit: Callable[..., None]
) -> None:
    assert tail(events=[], count=None, timeout=0.5) == ""

    kit(AUDIT_EXCHANGE="nowhere.events")
    with pytest.raises(CommandError, match=r"'nowhere\.events' does not exist\. A relay declares it"):
        call_command("authkit_tail")
    settings.RABBITMQ_HOST = None
    with pytest.raises(CommandError, match=r"No broker is configured to read from\. Set RABBITMQ_HOST"):
        call_command("authkit_tail")


@pytest.mark.parametrize("argument", ["--count=0", "--count=-1", "--count=x", "--timeout=0", "--timeout=-2"])
def test_what_makes_no_sense_is_refused(argument: str) -> None:
    with pytest.raises(CommandError, match=r"is not a (whole number|number of seconds) above 0\."):
        call_command("authkit_tail", argument)


@pytest.mark.django_db(transaction=True)
def test_whoever_has_read_enough_may_leave(producer: Producer) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "DJANGO_SETTINGS_MODULE": "tests.settings_server",
        "TEST_SETTINGS": os.environ.get("DJANGO_SETTINGS_MODULE", "tests.settings"),
        "TEST_KIT": json.dumps({"AUDIT_EXCHANGE": producer.exchange}),
        "TEST_RABBITMQ_HOST": HOST,
        "TEST_RABBITMQ_PORT": str(PORT),
    }
    command = [sys.executable, "-m", "django", "authkit_tail", "--json", "--timeout", "20"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.append(process.stdout.readline()))  # type: ignore[union-attr]
        reader.start()
        while not lines:
            producer.send(message())
            reader.join(0.1)
        process.stdout.close()
        while process.poll() is None:
            producer.send(message())
            time.sleep(0.1)

        assert (process.stderr.read(), process.returncode) == ("", 0)
