"""The heartbeat of a relay: what `authkit_status` and the metrics say about the relays that run."""

import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import InternalError, connection, transaction
from django.db.models.functions import Now
from pytest_django import Settings

from ninja_auth_kit.audit.relay import heartbeat
from ninja_auth_kit.audit.relay.heartbeat import Heartbeat
from ninja_auth_kit.audit.relay.loop import configured_relay
from ninja_auth_kit.models import AuditRelay
from tests.audit.conftest import Consumer, Proxy
from tests.audit.test_operating import database_away, status
from tests.audit.test_relay import Process, fill, running, start_relay, until
from tests.private_broker import free_port

__all__ = ["database_away", "start_relay"]  # fixtures

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_user_model]


def relays() -> list[dict[str, Any]]:
    """Return the relays that authkit_status reports."""
    return list(json.loads(status("--json")[1])["relays"])


@pytest.mark.broker
def test_a_relay_is_reported_from_its_first_round_to_its_orderly_end(
    consumer: Consumer, start_relay: Callable[..., Process]
) -> None:
    relay = start_relay()
    relay.line()
    until(lambda: bool(relays()))

    (reported,) = relays()
    assert reported["process_id"] == relay.process.pid
    assert (reported["state"], reported["failure"], reported["is_embedded"]) == ("publishing", "", False)
    assert f" {relay.process.pid}: publishing, seen " in status()[1]

    assert relay.finish()[0] == 0
    assert relays() == []


@pytest.mark.broker
def test_a_relay_that_was_killed_is_reported_for_two_minutes(
    consumer: Consumer, start_relay: Callable[..., Process]
) -> None:
    relay = start_relay()
    relay.line()
    until(lambda: bool(relays()))

    relay.finish(signal.SIGKILL)
    assert len(relays()) == 1
    AuditRelay.objects.update(seen_at=Now() - timedelta(seconds=121))
    assert relays() == []


def test_a_relay_that_waits_for_the_broker_is_a_problem_with_its_cause(
    exchange: str, settings: Settings, start_relay: Callable[..., Process]
) -> None:
    settings.RABBITMQ_HOST, settings.RABBITMQ_PORT = "127.0.0.1", free_port()
    relay = start_relay()
    relay.line()
    until(lambda: bool(relays()))
    cause = f"RabbitMQ at 127.0.0.1:{settings.RABBITMQ_PORT}: connection refused."

    code, said = status()
    assert code == 1
    assert f" {relay.process.pid}: waiting, seen " in said
    assert said.endswith(f"\nRelays that cannot publish: 1. {cause} Events wait.\n")

    code, said = status("--json")
    report = json.loads(said)
    assert code == 1
    assert report["problems"] == [f"Relays that cannot publish: 1. {cause} Events wait."]
    assert (report["relays"][0]["state"], report["relays"][0]["failure"]) == ("waiting", cause)

    assert relay.finish()[0] == 0
    assert relays() == []


@pytest.mark.broker
def test_the_cause_stays_known_when_the_relay_publishes_again(consumer: Consumer, proxy: Proxy) -> None:
    with running(configured_relay(using="default")):
        until(lambda: [relay["state"] for relay in relays()] == ["waiting"])
        proxy.mend()
        until(lambda: [relay["state"] for relay in relays()] == ["publishing"])

        code, said = status()
        assert code == 0
        assert "; last failure " in said
        assert "connection refused." in said


def test_heartbeats_are_rare_unless_something_changes(
    monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    now = [1000.0]
    monkeypatch.setattr(heartbeat.time, "monotonic", lambda: now[0])
    relay = Heartbeat(using="default")

    def beats(queries: int, count: int = 100) -> None:
        with django_assert_num_queries(queries):
            for _ in range(count):
                relay.beat()

    beats(1)
    now[0] += heartbeat.Heartbeat.every - 1
    beats(0)
    now[0] += 1
    beats(1)
    relay.record_failure("RabbitMQ is away.", state=heartbeat.WAITING)
    beats(1)
    relay.record_failure("RabbitMQ is away.", state=heartbeat.WAITING)
    beats(0)
    relay.record_success()
    beats(1)


def test_a_database_that_is_away_does_not_end_the_relay_and_is_reported_when_it_is_back(
    database_away: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    relay = Heartbeat(using="default")
    relay.record_failure("The database is not available: the connection was lost.")
    for _ in range(3):
        relay.beat()
    assert caplog.text.count("The heartbeat of the relay could not be written. The database is not available") == 1

    monkeypatch.undo()
    relay.record_success()
    later = heartbeat.time.monotonic() + Heartbeat.retry_after
    monkeypatch.setattr(heartbeat.time, "monotonic", lambda: later)
    relay.beat()
    (reported,) = relays()
    assert (reported["state"], reported["failure"]) == (
        "publishing",
        "The database is not available: the connection was lost.",
    )


def test_a_heartbeat_that_always_fails_is_tried_every_five_seconds_and_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [1000.0]
    monkeypatch.setattr(heartbeat.time, "monotonic", lambda: now[0])
    statements: list[str] = []

    def read_only(execute: Any, statement: str, *rest: Any) -> Any:
        statements.append(statement)
        raise InternalError("cannot execute INSERT in a read-only transaction")

    relay = Heartbeat(using="default")
    with connection.execute_wrapper(read_only):
        for _ in range(100):
            relay.beat()
        assert len(statements) == 1
        now[0] += 5
        relay.record_failure("RabbitMQ is away.")
        for _ in range(100):
            relay.beat()
        assert len(statements) == 2
    assert caplog.text.count("The heartbeat of the relay could not be written.") == 1

    now[0] += 5
    relay.beat()
    assert [reported["failure"] for reported in relays()] == ["RabbitMQ is away."]


def test_rows_of_relays_that_are_long_gone_are_deleted_and_a_heartbeat_waits_for_no_lock() -> None:
    locked, old = Heartbeat(using="default"), Heartbeat(using="default")
    for relay in (locked, old):
        relay.beat()
    AuditRelay.objects.update(seen_at=Now() - timedelta(minutes=61))
    present = Heartbeat(using="default")

    with row_locked(locked._id), connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = '5s'")
        present.beat()
        cursor.execute("SET statement_timeout = 0")

    assert set(AuditRelay.objects.values_list("id", flat=True)) == {locked._id, present._id}
    old._due_at = 0
    old.beat()
    assert AuditRelay.objects.filter(id=old._id).exists()


@contextmanager
def row_locked(id: Any) -> Iterator[None]:
    """Lock a row in another session during the block."""
    is_locked, done = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            AuditRelay.objects.select_for_update().get(id=id)
            is_locked.set()
            done.wait(20)
        connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    assert is_locked.wait(20)
    try:
        yield
    finally:
        done.set()
        holder.join()


@pytest.mark.broker
def test_a_run_with_once_leaves_neither_a_row_nor_a_session_that_listens(consumer: Consumer) -> None:
    fill(3)

    assert configured_relay(using="default").drain() == 3

    assert relays() == []
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('application_name'), pg_listening_channels()")
        assert cursor.fetchall() == []
