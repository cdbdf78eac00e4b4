"""A consumer with an exchange of its own, and brokers that fail."""

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pytest_django import Settings

from ninja_auth_kit.audit.broker.stream import catch_all_queue
from ninja_auth_kit.conf import settings as kit_settings
from tests.private_broker import PrivateBroker, free_port, is_installed


def address() -> tuple[str, int]:
    """Return the address of the test run's broker."""
    return os.environ.get("RABBITMQ_HOST", "127.0.0.1"), int(os.environ.get("RABBITMQ_PORT", "5672"))


class Consumer:
    """A client that reads the messages of one exchange through its own queue."""

    def __init__(self, host: str, port: int, exchange: str) -> None:
        self.connection = pika.BlockingConnection(pika.ConnectionParameters(host, port))
        self.channel: BlockingChannel = self.connection.channel()
        self.channel.exchange_declare(exchange, "topic", durable=True)
        self.queue: str = self.channel.queue_declare("", exclusive=True).method.queue
        self.channel.queue_bind(self.queue, exchange, "#")
        self.exchange = exchange

    def messages(self, count: int, timeout: float = 20) -> list[tuple[Any, Any, bytes]]:
        """Return up to `count` messages as (method, properties, body), until the timeout."""
        found: list[tuple[Any, Any, bytes]] = []
        deadline = time.monotonic() + timeout
        while len(found) < count and time.monotonic() < deadline:
            method, properties, body = self.channel.basic_get(self.queue, auto_ack=True)
            if method is None:
                self.connection.sleep(0.02)
            else:
                found.append((method, properties, body))
        return found

    def events(self, count: int, timeout: float = 20) -> list[dict[str, Any]]:
        """Return the bodies of `count` messages."""
        return [json.loads(body) for _, _, body in self.messages(count, timeout)]

    def remaining(self) -> list[tuple[Any, Any, bytes]]:
        """Return all messages that are in the queue, however long it takes to read them."""
        queue = self.channel.queue_declare(self.queue, passive=True, exclusive=True)
        return self.messages(queue.method.message_count, timeout=120)

    def close(self) -> None:
        """Delete the queues and the exchange, and close the connection."""
        with contextlib.suppress(pika.exceptions.AMQPError):
            self.channel.queue_delete(catch_all_queue(self.exchange))
            self.channel.exchange_delete(self.exchange)
            self.connection.close()


@pytest.fixture
def exchange(settings: Settings, kit: Callable[..., None]) -> str:
    """Configure the broker of the test run and an exchange for this test only."""
    name = f"test-{uuid.uuid4().hex[:12]}.events"
    settings.RABBITMQ_HOST, settings.RABBITMQ_PORT = address()
    kit(AUDIT_EXCHANGE=name)
    return name


@pytest.fixture
def consumer(exchange: str) -> Iterator[Consumer]:
    listening = Consumer(*address(), exchange)
    yield listening
    listening.close()


@pytest.fixture
def private_broker(settings: Settings, exchange: str) -> Iterator[PrivateBroker]:
    """Start a broker for this test only, which can be stopped, blocked and killed."""
    if not is_installed():
        assert not os.environ.get("CI"), "RabbitMQ must be installed in CI, to start a private broker"
        pytest.skip("RabbitMQ is not installed, so a private broker cannot be started")
    broker = PrivateBroker()
    broker.start()
    settings.RABBITMQ_HOST, settings.RABBITMQ_PORT = "127.0.0.1", broker.port
    yield broker
    broker.remove()


class Proxy:
    """A proxy for the broker whose connections can be cut and frozen."""

    def __init__(self) -> None:
        self.port = free_port()
        self.flowing = threading.Event()
        self.flowing.set()
        self._ends: list[socket.socket] = []
        self._listener: socket.socket | None = None

    def mend(self) -> None:
        """Accept connections."""
        self._listener = socket.create_server(("127.0.0.1", self.port), reuse_port=False)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """Close every connection and refuse new ones."""
        for end in [*self._ends, *([self._listener] if self._listener else [])]:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._ends.clear()
        self._listener = None
        self.flowing.set()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                broker = socket.create_connection(address())
                self._ends += [client, broker]
                for source, target in ((client, broker), (broker, client)):
                    threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                self.flowing.wait()
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@pytest.fixture
def proxy(settings: Settings, exchange: str) -> Iterator[Proxy]:
    """Put a proxy between kit and broker, which refuses connections until `mend` is called."""
    wire = Proxy()
    settings.RABBITMQ_HOST, settings.RABBITMQ_PORT = "127.0.0.1", wire.port
    yield wire
    wire.cut()


@pytest.fixture
def in_production(kit: Callable[..., None]) -> None:
    """Configure web processes to leave publishing to the relay."""
    assert kit_settings.AUDIT_EMBEDDED_RELAY is False
