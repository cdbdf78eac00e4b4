"""The stream `auth.audit`: how long it keeps events, and a relay that finds one with other limits."""

import json
import logging
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from ninja_auth_kit.audit.broker import stream
from ninja_auth_kit.audit.broker.errors import BrokerError
from ninja_auth_kit.audit.broker.stream import CATCH_ALL, catch_all_queue
from ninja_auth_kit.audit.relay.loop import configured_relay
from ninja_auth_kit.models import AuditOutbox
from tests.audit.conftest import Consumer
from tests.audit.test_operating import status
from tests.audit.test_relay import Process, fill, start_relay, until

__all__ = ["start_relay"]  # a fixture

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.broker, pytest.mark.one_user_model]

BEFORE = {"x-queue-type": "stream", "x-max-age": "7D", "x-max-length-bytes": 5_000_000_000}
LONGER = {**CATCH_ALL, "x-max-age": "30D"}
WITHOUT_LIMITS = {"x-queue-type": "stream"}
OTHER_LENGTH = {**CATCH_ALL, "x-max-length-bytes": 20_000_000_000}
ONLY_LENGTH = {"x-queue-type": "stream", "x-max-length-bytes": 20_000_000_000}


def declare(consumer: Consumer, arguments: dict[str, Any]) -> str:
    """Declare what has the name of the stream, and return the name."""
    name = catch_all_queue(consumer.exchange)
    consumer.channel.queue_declare(name, durable=True, arguments=arguments)
    return name


def depth(consumer: Consumer) -> int:
    queue = consumer.channel.queue_declare(catch_all_queue(consumer.exchange), passive=True)
    return int(queue.method.message_count)


@pytest.mark.parametrize(
    "arguments",
    [BEFORE, LONGER, WITHOUT_LIMITS, OTHER_LENGTH, ONLY_LENGTH],
    ids=["before", "longer", "without limits", "another length", "only a length"],
)
def test_a_stream_with_other_limits_is_used_as_it_is_and_the_log_says_so_once(
    arguments: dict[str, Any], consumer: Consumer, caplog: pytest.LogCaptureFixture
) -> None:
    name = declare(consumer, arguments)

    published = [*publish(2, "x"), *publish(1, "x")]

    assert kept(consumer, published[-1]) == published
    (said,) = [record.getMessage() for record in caplog.records if name in record.getMessage()]
    assert f"The stream {name} exists with other limits than those that the relay would declare (" in said
    assert "inequivalent arg 'x-" in said
    assert "It is used as it is. See 'How long the stream keeps events'" in said


def test_a_stream_of_the_relay_itself_is_not_worth_a_line(
    consumer: Consumer, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        configured_relay(using="default").drain()

    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    declare(consumer, CATCH_ALL)  # these are its arguments


# The broker compares the limit of the length before the type.
@pytest.mark.parametrize("limits", [{}, {"x-max-length-bytes": 1_000_000}], ids=["without a limit", "with a limit"])
@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_a_queue_that_is_not_a_stream_stops_the_relay_and_the_operator_is_told(
    kind: str, limits: dict[str, int], consumer: Consumer, start_relay: Callable[..., Process]
) -> None:
    name = declare(consumer, {"x-queue-type": kind, **limits})
    fill(1)
    cause = (
        f"inequivalent arg 'x-queue-type' for queue '{name}' in vhost '/': received 'stream' but current is '{kind}'"
    )
    remedy = "It exists with other arguments. Delete it, or choose another name."

    with pytest.raises(CommandError) as caught:
        call_command("authkit_relay", once=True)
    assert cause in str(caught.value)
    assert str(caught.value).endswith(remedy)

    relay = start_relay()
    assert relay.line().endswith(f"{cause}. {remedy}\n")
    until(lambda: json.loads(status("--json")[1])["relays"] != [])
    code, said = status("--json")
    assert code == 1
    (problem,) = json.loads(said)["problems"]
    assert problem.startswith("Relays that cannot publish: 1. RabbitMQ at ")
    assert problem.endswith(f"{cause}. {remedy} Events wait.")
    assert AuditOutbox.objects.count() == 1
    assert depth(consumer) == 0


def test_an_exchange_of_another_type_is_named_with_what_to_do(consumer: Consumer) -> None:
    consumer.channel.exchange_delete(consumer.exchange)
    consumer.channel.exchange_declare(consumer.exchange, "fanout", durable=True)

    with pytest.raises(BrokerError) as caught:
        configured_relay(using="default").drain()

    assert f"inequivalent arg 'type' for exchange '{consumer.exchange}'" in str(caught.value)
    assert str(caught.value).endswith("Delete it, or choose another name.")


@pytest.fixture
def short_lived(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the relay declare a stream that keeps events for a second, in segments of 20 kB."""
    limits = {**CATCH_ALL, "x-max-age": "1s", "x-stream-max-segment-size-bytes": 20_000}
    monkeypatch.setattr(stream, "CATCH_ALL", limits)


def publish(count: int, payload: str) -> list[str]:
    """Publish events one by one, as at a small site, and return their ids."""
    ids = [uuid.uuid4() for _ in range(count)]
    for number in ids:
        AuditOutbox.objects.create(
            event_id=number, shard=0, routing_key="auth.a.b.success", payload=json.dumps({"text": payload})
        )
    assert configured_relay(using="default", batch=1).drain() == count
    return [str(number) for number in ids]


def kept(consumer: Consumer, last: str) -> list[str]:
    """Return the ids of the events in the stream, up to the last."""
    channel = consumer.connection.channel()
    channel.basic_qos(prefetch_count=100)
    found: list[str] = []
    reading = channel.consume(
        catch_all_queue(consumer.exchange), arguments={"x-stream-offset": "first"}, inactivity_timeout=20
    )
    for method, properties, _ in reading:
        assert method is not None, "the last event is not in the stream"
        assert properties is not None
        channel.basic_ack(method.delivery_tag or 0)
        found.append(str(properties.message_id))
        if found[-1] == last:
            return found
    raise AssertionError


def test_old_segments_go_when_a_new_one_begins_and_the_last_stays(short_lived: None, consumer: Consumer) -> None:
    old = publish(50, "x" * 1000)  # at least two segments
    time.sleep(1.2)
    assert kept(consumer, old[-1]) == old  # nothing goes by itself

    new = publish(25, "x" * 1000)  # more than a segment
    until(lambda: old[0] not in kept(consumer, new[-1]))
    assert kept(consumer, new[-1])[-25:] == new
