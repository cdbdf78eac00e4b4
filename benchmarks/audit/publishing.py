"""Measure the confirmed events per second of several publishers, into the same kind of queue."""

import time
from collections.abc import Callable

import pika

from benchmarks.audit.stage import Stage, interleaved, sample_event
from ninja_auth_kit.audit.broker.connection import CONTENT_TYPE
from ninja_auth_kit.audit.broker.publisher import RabbitMQ
from ninja_auth_kit.audit.relay.loop import BATCH
from ninja_auth_kit.conf import Broker, BrokerAddress

MANY, FEW = 10_000, 1_000  # events per round; FEW if every event waits for its confirm


def measure(stage: Stage, *, rounds: int) -> dict[str, float]:
    """Return the events per second of each publisher."""
    with stage.exchange("bench.events") as exchange:
        ways = {
            "relay's publisher, a confirm per batch of 500": lambda: _batches(stage, exchange),
            "BlockingConnection, a confirm per message": lambda: _one_by_one(stage, exchange, confirm=True, count=FEW),
            "BlockingConnection, no confirms": lambda: _one_by_one(stage, exchange, confirm=False, count=MANY),
        }
        return interleaved(ways, rounds=rounds)


def _batches(stage: Stage, exchange: str) -> float:
    address = Broker((BrokerAddress("127.0.0.1", stage.broker.port),), "guest", "guest", "/", tls=None)
    publisher = RabbitMQ(address, exchange=exchange, declare=False)
    publisher.connect()
    events = [sample_event(number) for number in range(MANY)]

    def publish() -> None:
        for first in range(0, MANY, BATCH):
            result = publisher.publish(events[first : first + BATCH], timeout=30)
            assert len(result.confirmed) == BATCH, result.failure

    rate = _per_second(publish, MANY)
    publisher.close()
    return rate


def _one_by_one(stage: Stage, exchange: str, *, confirm: bool, count: int) -> float:
    events = [sample_event(number) for number in range(count)]
    properties = pika.BasicProperties(content_type=CONTENT_TYPE, delivery_mode=2)
    with stage.channel() as channel:
        if confirm:
            channel.confirm_delivery()

        def publish() -> None:
            for event in events:
                channel.basic_publish(
                    exchange, event.routing_key, event.payload.encode(), properties, mandatory=confirm
                )
            # Without confirms, the last messages may still be in transit. The broker answers this
            # declaration after it has received them.
            channel.queue_declare(f"{exchange}.queue", passive=True)

        return _per_second(publish, count)


def _per_second(work: Callable[[], None], count: int) -> float:
    begun = time.perf_counter()
    work()
    return count / (time.perf_counter() - begun)
