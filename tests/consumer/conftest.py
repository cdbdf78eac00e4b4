"""A producer without Django, and databases and queues for these tests only."""

import json
import os
import secrets
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pika
import psycopg
import pytest
from django.db import connection

from ninja_auth_kit.consumer import Consumer
from ninja_auth_kit.consumer.consumer import dead_letters
from tests.private_broker import PrivateBroker, versions
from tests.servers import database_url

HOST, PORT = os.environ.get("RABBITMQ_HOST", "127.0.0.1"), int(os.environ.get("RABBITMQ_PORT", "5672"))
URL = f"amqp://guest:guest@{HOST}:{PORT}/%2F"


def message(number: int = 0, *, name: str = "session.login_failed", user: str = "7", **changes: Any) -> dict[str, Any]:
    """Return an event as the relay sends it."""
    data = {
        "outcome": "failure",
        "reason": "invalid_credentials",
        "actor": {"type": "anonymous", "id": None},
        "target": {"type": "user", "id": user, "identifier_hash": None},
        "session": {"id": None},
        "client": {"ip": "203.0.113.7", "user_agent": f"number {number}"},
        "details": {},
    }
    event = {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": "https://auth.example.com",
        "type": f"ninja-auth-kit.{name}.v1",
        "subject": f"user/{user}",
        "time": "2026-11-27T03:00:00.000000Z",
        "datacontenttype": "application/json",
        "partitionkey": f"user/{user}",
        "authtype": "unauthenticated",
        "data": data,
    }
    return {**event, **changes}


class Producer:
    """An exchange as the relay declares it, with a queue for each test."""

    def __init__(self, port: int = PORT) -> None:
        self.name = f"test-{secrets.token_hex(6)}"
        self.exchange, self.queue = f"{self.name}.events", f"{self.name}.consumer"
        self.port = port
        self.url = f"amqp://guest:guest@{HOST}:{port}/%2F"
        self.connect()
        self.channel.exchange_declare(self.exchange, "topic", durable=True)

    def connect(self) -> None:
        self.connection = pika.BlockingConnection(pika.ConnectionParameters(HOST, self.port))
        self.channel = self.connection.channel()

    def send(self, *bodies: Any, key: str = "auth.session.login.failure") -> None:
        for body in bodies:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.channel.basic_publish(self.exchange, key, data, pika.BasicProperties(delivery_mode=2))

    def depth(self, queue: str) -> int:
        """Return how many messages are ready in a queue, or 0 if it does not exist."""
        try:
            return int(self.channel.queue_declare(queue, passive=True).method.message_count)
        except pika.exceptions.ChannelClosedByBroker:
            self.channel = self.connection.channel()
            return 0

    def dead(self) -> int:
        return self.depth(dead_letters(self.queue))

    def close(self) -> None:
        if self.connection.is_closed:
            self.connect()
        for queue in (self.queue, dead_letters(self.queue), f"{self.name}.audit"):
            self.channel.queue_delete(queue)
        for exchange in (self.exchange, dead_letters(self.queue)):
            self.channel.exchange_delete(exchange)
        self.connection.close()


@pytest.fixture
def producer() -> Iterator[Producer]:
    made = Producer()
    yield made
    made.close()


@pytest.fixture(
    scope="module",
    params=versions() if os.environ.get("RABBITMQ_SBIN") else [None],
    ids=lambda sbin: sbin.parent.name if sbin else "shared",
)
def broker_port(request: pytest.FixtureRequest) -> Iterator[int]:
    """Return the port of a private broker of each version in RABBITMQ_SBIN, or by default of the shared broker."""
    if request.param is None:
        yield PORT
        return
    broker = PrivateBroker(request.param)
    try:
        broker.start()
        yield broker.port
    finally:
        broker.remove()


@pytest.fixture
def any_producer(broker_port: int) -> Iterator[Producer]:
    """Return a producer at each broker."""
    made = Producer(broker_port)
    yield made
    made.close()


@pytest.fixture
def conninfo(transactional_db: None) -> Iterator[str]:
    """Return the URL of the database for the consumer's tables, which are dropped at the end."""
    url = database_url().replace("postgres://", "postgresql://")
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("CREATE TABLE effect (number text)")
        yield url
        admin.execute("DROP TABLE effect")
        admin.execute("DROP TABLE IF EXISTS ninja_auth_kit_seen_event")
    connection.close()


@contextmanager
def running(*consumers: Consumer[Any]) -> Iterator[None]:
    """Run consumers in threads."""
    threads = [threading.Thread(target=consumer.run) for consumer in consumers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for consumer in consumers:
            consumer.stop()
        for thread in threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in threads)


def consumers(producer: Producer) -> int:
    """Return how many consumers the queue has, or 0 if it does not exist."""
    try:
        return int(producer.channel.queue_declare(producer.queue, passive=True).method.consumer_count)
    except Exception:
        producer.channel = producer.connection.channel()
        return 0


def until(condition: Callable[[], bool], timeout: float = 30) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met in time"
        time.sleep(0.02)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Return a port that accepts connections and never responds, like a frozen broker."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])
