"""`authkit_status` and `authkit_requeue`: what operators see of the outbox, and what they can do."""

import json
import os
import re
import socket
import uuid
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models.functions import Now

from ninja_auth_kit.audit.relay import health
from ninja_auth_kit.audit.relay.heartbeat import Heartbeat
from ninja_auth_kit.models import AuditDeferred, AuditOutbox, UserSession
from tests.audit.test_relay import fill
from tests.private_broker import free_port

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("audited")]


def status(*arguments: str) -> tuple[int, str]:
    """Run authkit_status and return its exit code and output."""
    out = StringIO()
    try:
        call_command("authkit_status", *arguments, stdout=out)
    except SystemExit as end:
        return int(str(end.code)), out.getvalue()
    return 0, out.getvalue()


def requeue(*arguments: str) -> str:
    out = StringIO()
    call_command("authkit_requeue", *arguments, stdout=out)
    return out.getvalue()


def defer(count: int, *, first: int = 1, **columns: Any) -> None:
    """Insert deferred events."""
    row = {"shard": 0, "routing_key": "auth.test.x.success", "payload": "{}", "created_at": Now(), "state": "retry"}
    row |= {"reason": "unroutable", "next_attempt_at": Now() + timedelta(minutes=5), **columns}
    AuditDeferred.objects.bulk_create(
        AuditDeferred(id=number, event_id=uuid.uuid4(), **row) for number in range(first, first + count)
    )


@pytest.fixture
def relay() -> None:
    """Write the heartbeat of a relay."""
    Heartbeat(using="default").beat()


def test_an_outbox_in_which_nothing_waits_is_healthy() -> None:
    code, said = status()

    assert code == 0
    emails = "emails    0 waiting, 0 tried again; 0 given up, 0 refused"
    assert said == f"pending   0\nretry     0\nparked    0\nrelays    none\n{emails}\n"


def test_events_that_wait_without_a_relay_need_a_person() -> None:
    fill(3)

    code, said = status()

    assert code == 1
    assert re.match(r"pending   3, the oldest for \d seconds\n", said)
    assert said.endswith(
        "\nEvents wait, and no relay has been seen for two minutes. Run authkit_relay, or look at its log.\n"
    )


def test_events_that_wait_for_a_relay_that_is_there_are_fine_until_they_are_old(relay: None) -> None:
    fill(3)
    assert status()[0] == 0

    AuditOutbox.objects.update(created_at=Now() - timedelta(seconds=301))
    code, said = status()
    assert code == 1
    assert re.search(r"The oldest event has waited for 30\d seconds\.", said)
    assert status("--max-age", "600")[0] == 0


def test_what_is_parked_needs_a_person_and_what_is_retried_does_not() -> None:
    defer(2)
    defer(1, first=10, reason="nacked")
    code, said = status()
    assert code == 0
    assert "retry     3 (1 nacked, 2 unroutable)\n" in said

    defer(1, first=20, state="parked", reason="poison", next_attempt_at=None)
    code, said = status()
    assert code == 1
    assert "parked    1 (1 poison)\n" in said
    assert "Parked events: 1. Put them back with authkit_requeue, or delete those that can never be sent" in said


def test_what_is_tried_again_in_vain_for_long_needs_a_person_too() -> None:
    defer(2)
    defer(1, first=10, created_at=Now() - timedelta(seconds=301))
    defer(1, first=20, created_at=Now() - timedelta(days=9), state="parked", reason="poison", next_attempt_at=None)

    code, said = status()

    assert code == 1
    assert (
        "refused 3 events that the relay tries again, the oldest for 301 seconds. Check that a queue is bound" in said
    )
    assert "tries again" not in status("--max-age", "600")[1]


def test_a_script_reads_json(relay: None) -> None:
    fill(2)
    defer(1)

    code, said = status("--json")

    report = json.loads(said)
    (seen,) = report.pop("relays")
    assert seen.pop("id")
    assert code == 0
    assert 0 <= report.pop("oldest_seconds") < 60
    assert 0 <= report.pop("oldest_retry_seconds") < 60
    assert 0 <= seen.pop("seen_seconds") < 60
    assert 0 <= seen.pop("running_seconds") < 60
    assert seen == {
        "host": socket.gethostname(),
        "process_id": os.getpid(),
        "is_embedded": False,
        "state": "publishing",
        "failure": "",
        "failed_seconds": None,
    }
    assert report == {
        "pending": 2,
        "is_estimate": False,
        "deferred": {"retry": {"unroutable": 1}, "parked": {}},
        "broker": True,
        "emails": {"waiting": 0, "retrying": 0, "oldest_seconds": 0.0, "given_up": 0, "refused": 0},
        "healthy": True,
        "problems": [],
    }


def test_a_great_many_events_are_estimated_and_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "COUNTED", 10)
    fill(30)

    code, said = status()

    assert code == 1
    assert said.startswith("pending   about ")
    with connection.execute_wrapper(lambda execute, sql, *rest: (assert_bounded(sql), execute(sql, *rest))[1]):
        status()


def assert_bounded(statement: str) -> None:
    assert "count(*)" not in statement or "LIMIT" in statement or "GROUP BY" in statement


@pytest.mark.parametrize("age", ["0", "-1", "nan", "soon"])
def test_an_age_is_a_number_above_0(age: str) -> None:
    with pytest.raises(CommandError, match=f"--max-age: '{age}' is not a number of seconds above 0"):
        status(f"--max-age={age}")


def test_without_a_broker_it_says_that_events_are_only_logged(settings: Any) -> None:
    settings.RABBITMQ_HOST = None

    code, said = status()

    assert code == 0
    assert "broker    none (RABBITMQ_HOST is not set, and events are only logged)\n" in said


def test_a_database_that_is_not_there_is_a_mistake_of_usage() -> None:
    with pytest.raises(CommandError, match="--database elsewhere") as caught:
        call_command("authkit_status", database="elsewhere")
    assert caught.value.returncode == 2


def test_refused_events_are_put_back_in_their_order_and_poison_stays() -> None:
    defer(5)
    defer(2, first=100, state="parked", reason="too_large", next_attempt_at=None)
    defer(1, first=200, state="parked", reason="poison", next_attempt_at=None)

    assert requeue("--dry-run") == "7 events would be put back into the outbox.\n"
    assert requeue() == "7 events put back into the outbox.\n"
    assert requeue() == "0 events put back into the outbox.\n"

    assert list(AuditOutbox.objects.order_by("pk").values_list("pk", flat=True)) == [1, 2, 3, 4, 5, 100, 101]
    assert list(AuditDeferred.objects.values_list("pk", flat=True)) == [200]


def test_which_are_put_back_can_be_said() -> None:
    defer(2)
    defer(3, first=10, reason="nacked", created_at=Now() - timedelta(hours=2))

    assert requeue("--reason", "nacked", "--older-than", "3h") == "0 events put back into the outbox.\n"
    assert requeue("--reason", "nacked", "--older-than", "1h") == "3 events put back into the outbox.\n"
    with pytest.raises(CommandError, match=r"'soon' is not a duration\. Write it as 90s, 15m, 1h or 7d\."):
        requeue("--older-than", "soon")


def test_what_can_never_be_sent_is_given_up_by_a_person_and_the_outbox_is_healthy_again() -> None:
    defer(2)
    defer(1, first=200, state="parked", reason="poison", next_attempt_at=None, last_error="It is no CloudEvent.")
    poison = AuditDeferred.objects.get(pk=200)
    line = f"{poison.event_id}  auth.test.x.success  poison: It is no CloudEvent.\n"
    assert status()[0] == 1

    assert requeue("--reason", "poison", "--discard", "--dry-run") == f"{line}1 event would be deleted.\n"
    assert requeue("--reason", "poison", "--discard") == f"{line}1 event deleted.\n"
    assert json.loads(requeue("--reason", "poison", "--discard", "--json")) == {
        "discarded": 0,
        "events": [],
        "dry_run": False,
    }

    assert list(AuditDeferred.objects.order_by("pk").values_list("pk", flat=True)) == [1, 2]
    assert not AuditOutbox.objects.exists()
    assert status()[0] == 0


def test_one_event_is_put_back_or_given_up_by_its_id() -> None:
    defer(3)
    first, second, _ = AuditDeferred.objects.order_by("pk")

    assert json.loads(requeue("--event", str(first.event_id), "--json")) == {"requeued": 1, "dry_run": False}
    assert requeue("--event", str(second.event_id), "--discard").endswith("1 event deleted.\n")

    assert list(AuditOutbox.objects.values_list("pk", flat=True)) == [1]
    assert list(AuditDeferred.objects.values_list("pk", flat=True)) == [3]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--discard"], "Choose the events with --reason or --event"),
        (["--discard", "--older-than", "7d"], "Choose the events with --reason or --event"),
        (["--reason", "poison"], "Delete them with --reason poison --discard"),
    ],
)
def test_nothing_is_given_up_by_mistake(arguments: list[str], said: str) -> None:
    defer(1, state="parked", reason="poison", next_attempt_at=None)

    with pytest.raises(CommandError, match=said):
        requeue(*arguments)

    assert AuditDeferred.objects.exists()


@pytest.fixture
def database_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Configure a database address that does not accept connections."""
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "HOST", "127.0.0.1")
    monkeypatch.setitem(connection.settings_dict, "PORT", free_port())
    monkeypatch.setitem(connection.settings_dict, "PASSWORD", "c4n4ry")


@pytest.fixture
def not_migrated() -> Iterator[None]:
    """Rename the tables temporarily, as if the migrations had not run."""
    names = [model._meta.db_table for model in (AuditDeferred, AuditOutbox, UserSession, get_user_model())]
    with connection.cursor() as cursor:
        for name in names:
            cursor.execute(f'ALTER TABLE "{name}" RENAME TO "{name}_elsewhere"')
        yield
        for name in names:
            cursor.execute(f'ALTER TABLE "{name}_elsewhere" RENAME TO "{name}"')


COMMANDS = [
    ["authkit_status"],
    ["authkit_requeue"],
    ["authkit_prune", "--dry-run"],
    ["authkit_prune"],
    ["authkit_revoke", "--everyone"],
    ["authkit_revoke", "somebody@example.com"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_database_that_is_away_is_said_with_its_cause(database_away: None, command: list[str]) -> None:
    with pytest.raises(CommandError, match=r"^The database is not available: .*Connection refused\.$") as caught:
        call_command(*command)

    assert "c4n4ry" not in str(caught.value)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_database_that_was_not_migrated_is_said(not_migrated: None, command: list[str]) -> None:
    said = r'^Database error: relation ".*" does not exist\. Run `manage\.py migrate`\.$'
    with pytest.raises(CommandError, match=said):
        call_command(*command)


def test_a_script_reads_json_of_a_database_that_is_away_too(database_away: None) -> None:
    code, said = status("--json")

    report = json.loads(said)
    assert code == 1
    assert report["healthy"] is False
    assert report["problems"][0].startswith("The database is not available: ")


def test_a_great_many_are_put_back_with_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ninja_auth_kit.management.commands.authkit_requeue.BATCH", 100)
    defer(250)

    assert requeue() == "100 so far\n200 so far\n250 events put back into the outbox.\n"


def test_what_a_relay_has_in_its_hands_is_left_to_it() -> None:
    import threading

    from django.db import transaction

    defer(2)
    locked, done = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            list(AuditDeferred.objects.select_for_update().filter(pk=1))
            locked.set()
            done.wait(20)
        connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    assert locked.wait(20)
    try:
        assert requeue() == "1 event put back into the outbox.\n"
    finally:
        done.set()
        holder.join()
