"""Events that the broker or the relay refuses: they are deferred, retried, and block no others."""

import json
import sys
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from pytest_django import Settings

from ninja_auth_kit.audit.broker.connection import LARGEST_PAYLOAD
from ninja_auth_kit.audit.relay.loop import configured_relay
from ninja_auth_kit.audit.relay.retries import requeue
from ninja_auth_kit.models import AuditDeferred, AuditOutbox
from tests.audit.conftest import Consumer, address
from tests.audit.test_relay import assert_in_order, fill, waiting

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.broker]

# Python 3.14 limits the size of the stack instead of its depth, and reads to the end of the text.
TOO_DEEP = "RecursionError" if sys.version_info < (3, 14) else "JSONDecodeError"


@pytest.fixture
def nowhere(consumer: Consumer, exchange: str, kit: Callable[..., None]) -> Iterator[str]:
    """Publish to an exchange that does not route to any queue."""
    name = exchange.replace("test-", "test-nowhere-")
    consumer.channel.exchange_declare(name, "topic", durable=True)
    kit(AUDIT_EXCHANGE=name, AUDIT_DECLARE=False)
    yield name
    consumer.channel.exchange_delete(name)


def drain() -> int:
    return configured_relay(using="default").drain()


def make_due() -> None:
    AuditDeferred.objects.update(next_attempt_at=Now())


def insert_event(**columns: Any) -> AuditOutbox:
    """Insert an invalid event into the outbox."""
    row = {"event_id": uuid.uuid4(), "shard": 3, "routing_key": "auth.test.odd.success", "payload": "{}"}
    return AuditOutbox.objects.create(**{**row, **columns})


@pytest.mark.security("AUD-08")
def test_events_that_are_routed_nowhere_wait_and_arrive_once_they_are_routed(consumer: Consumer, nowhere: str) -> None:
    fill(3)

    assert drain() == 0
    assert waiting() == 0
    assert [row.state for row in AuditDeferred.objects.all()] == ["retry"] * 3
    assert {(row.reason, row.last_error) for row in AuditDeferred.objects.all()} == {
        ("unroutable", "No queue is bound for it: NO_ROUTE.")
    }

    consumer.channel.queue_bind(consumer.queue, nowhere, "#")
    assert drain() == 0  # no retry is due yet
    make_due()
    assert drain() == 3
    assert_in_order(consumer.events(3))
    assert not AuditDeferred.objects.exists()


def test_what_is_routed_nowhere_is_tried_again_later_and_later_and_never_given_up(nowhere: str) -> None:
    fill(1)
    delays: list[float] = []
    for _ in range(8):
        drain()
        row = AuditDeferred.objects.annotate(now=Now()).get()
        delays.append((row.next_attempt_at - row.now).total_seconds())
        make_due()

    planned = [5, 10, 20, 40, 80, 160, 300, 300]
    assert all(whole - 4 < left <= whole for left, whole in zip(delays, planned, strict=True)), delays
    assert AuditDeferred.objects.get().attempts == 8


def test_what_is_routed_nowhere_holds_up_nothing_else(consumer: Consumer, nowhere: str) -> None:
    consumer.channel.queue_bind(consumer.queue, nowhere, "auth.test.fill.*")
    for number in range(5):
        fill(20, users=20, first=20 * number)
        insert_event(shard=number, routing_key="auth.nobody.wants.this")

    assert drain() == 100

    assert_in_order(consumer.events(100))
    assert AuditDeferred.objects.count() == 5


def test_a_full_queue_refuses_what_is_too_much_and_gets_it_when_there_is_room(
    consumer: Consumer, nowhere: str
) -> None:
    queue = f"{nowhere}.full"
    arguments = {"x-max-length": 20, "x-overflow": "reject-publish"}
    consumer.channel.queue_declare(queue, arguments=arguments)
    consumer.channel.queue_bind(queue, nowhere, "#")
    fill(50)

    taken = drain()

    assert 20 <= taken < 50
    assert AuditDeferred.objects.filter(reason="nacked", state="retry").count() == 50 - taken
    consumer.channel.queue_delete(queue)
    consumer.channel.queue_bind(consumer.queue, nowhere, "#")
    make_due()
    assert drain() == 50 - taken


def test_the_log_says_that_events_are_set_aside_and_not_that_the_broker_is_away(
    nowhere: str, caplog: pytest.LogCaptureFixture
) -> None:
    fill(2)
    host, port = address()

    drain()

    line = f"RabbitMQ at {host}:{port}: 2 events were refused (unroutable). They are set aside; see authkit_status."
    assert line in caplog.messages
    assert "away" not in caplog.text


@pytest.mark.parametrize(
    ("columns", "reason", "error"),
    [
        ({"payload": "no JSON"}, "poison", "The payload is not a valid CloudEvent: JSONDecodeError."),
        ({"payload": "[1]"}, "poison", "The payload is not a valid CloudEvent: AttributeError."),
        ({"payload": '{"time": "yesterday"}'}, "poison", "The payload is not a valid CloudEvent: ValueError."),
        ({"payload": '{"type": {"a": 1}}'}, "poison", "The payload is not a valid CloudEvent: AssertionError."),
        ({"payload": "[" * 60_000}, "poison", f"The payload is not a valid CloudEvent: {TOO_DEEP}."),
        ({"routing_key": "ü" * 150}, "poison", "The routing key has 300 bytes. AMQP allows up to 255."),
        (
            {"payload": json.dumps({"a": "b" * LARGEST_PAYLOAD})},
            "too_large",
            "The payload has 65545 bytes. The relay sends up to 65536.",
        ),
    ],
)
def test_an_event_that_cannot_be_sent_is_parked_and_the_others_arrive(
    consumer: Consumer, columns: dict[str, Any], reason: str, error: str
) -> None:
    fill(20)
    odd = insert_event(**columns)
    fill(20, first=20)

    assert drain() == 40

    assert_in_order(consumer.events(40))
    parked = AuditDeferred.objects.get()
    assert (parked.pk, parked.event_id, parked.state) == (odd.pk, odd.event_id, "parked")
    assert (parked.reason, parked.last_error, parked.next_attempt_at) == (reason, error, None)
    assert waiting() == 0


def test_what_is_parked_is_not_tried_again_until_a_person_puts_it_back(consumer: Consumer) -> None:
    insert_event(payload=json.dumps({"a": "b" * LARGEST_PAYLOAD}))
    drain()
    row = AuditDeferred.objects.get()

    drain()
    assert AuditDeferred.objects.get().attempts == 1
    AuditDeferred.objects.update(payload="{}")
    assert requeue([row.pk], using="default") == {row.pk}

    assert drain() == 1
    assert len(consumer.messages(1)) == 1


def test_an_exchange_that_is_gone_parks_nothing_and_counts_as_no_attempt(
    consumer: Consumer, nowhere: str, settings: Settings
) -> None:
    fill(3)
    relay = configured_relay(using="default")
    relay.publisher.connect()
    consumer.channel.exchange_delete(nowhere)

    with pytest.raises(Exception, match=f"the exchange '{nowhere}' does not exist"):
        relay.publish_batch()

    assert waiting() == 3
    assert not AuditDeferred.objects.exists()


def test_a_deferred_event_that_turns_out_to_be_poison_is_parked(nowhere: str) -> None:
    fill(1)
    drain()
    AuditDeferred.objects.update(payload="no JSON", next_attempt_at=Now() - timedelta(seconds=1))

    drain()

    row = AuditDeferred.objects.get()
    assert (row.state, row.reason, row.next_attempt_at, row.attempts) == ("parked", "poison", None, 2)


def test_setting_aside_is_one_statement(nowhere: str, django_assert_num_queries: Any) -> None:
    fill(5)
    relay = configured_relay(using="default")
    relay.publisher.connect()
    connection.ensure_connection()
    relay.publish_batch()
    relay._chores_at = float("inf")  # on a slow machine they would be due
    fill(5, first=5)

    # The statements: is anything pending, begin, the shards, the rows, delete the confirmed, defer,
    # commit, is anything due.
    with django_assert_num_queries(7):
        relay.publish_batch()
