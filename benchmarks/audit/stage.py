"""The private broker and database of the benchmarks, and the helpers that all of them use."""

import json
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pika

from ninja_auth_kit.audit.broker.batch import ClaimedEvent
from tests.faults.database import PrivateDatabase
from tests.private_broker import PrivateBroker

QUEUE = {"x-queue-type": "quorum"}


@dataclass(frozen=True)
class Stage:
    """The servers of a benchmark.

    Attributes:
        broker: a private RabbitMQ.
        server: a private PostgreSQL that flushes to disk, as in production.
        home: the directory for the log files of processes.
    """

    broker: PrivateBroker
    server: PrivateDatabase
    home: Path

    @contextmanager
    def exchange(self, name: str) -> Iterator[str]:
        """Declare an exchange and a quorum queue bound to it, the same for each contender."""
        with self.channel() as channel:
            channel.exchange_declare(name, "topic", durable=True)
            channel.queue_declare(f"{name}.queue", durable=True, arguments=QUEUE)
            channel.queue_bind(f"{name}.queue", name, "#")
        yield name
        with self.channel() as channel:
            channel.queue_delete(f"{name}.queue")
            channel.exchange_delete(name)

    @contextmanager
    def channel(self) -> Iterator[pika.adapters.blocking_connection.BlockingChannel]:
        """Open a channel."""
        connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", self.broker.port))
        yield connection.channel()
        connection.close()


@contextmanager
def stage() -> Iterator[Stage]:
    """Start both servers, and remove them at the end."""
    with tempfile.TemporaryDirectory(prefix="nak-bench-", ignore_cleanup_errors=True) as directory:
        server = PrivateDatabase(Path(directory) / "postgres")
        server.options = {"max_connections": "200"}
        broker = PrivateBroker()
        try:
            server.start()
            server.make_template()
            broker.start()
            yield Stage(broker, server, Path(directory))
        finally:
            broker.remove()
            server.remove()


def interleaved(contenders: dict[str, Callable[[], float]], *, rounds: int) -> dict[str, float]:
    """Run all contenders in turn, in a rotating order, and return the median of each."""
    found: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            found[name].append(contenders[name]())
            print(f"  {name}: {found[name][-1]:,.1f}", flush=True)
    return {name: statistics.median(values) for name, values in found.items()}


def sample_event(number: int) -> ClaimedEvent:
    """Return an event as the outbox holds it, with the size of a typical event."""
    said = {
        "specversion": "1.0",
        "id": f"0197f3a2-5d1c-7c3e-9a55-{number:012x}",
        "source": "bench",
        "type": "ninja-auth-kit.session.logged_in.v1",
        "subject": "user/7",
        "time": "2026-01-31T09:15:04.123456Z",
        "datacontenttype": "application/json",
        "partitionkey": "user/7",
        "authtype": "user",
        "data": {
            "outcome": "success",
            "reason": None,
            "actor": {"type": "user", "id": "7"},
            "target": {"type": "user", "id": "7", "identifier_hash": None},
            "session": {"id": "6a1d7a64-0a0e-4d0f-8f5e-0b6f2d1c9e77"},
            "client": {
                "ip": "203.0.113.7",
                "user_agent": "Mozilla/5.0 (X11; Linux x86_64) Chrome/143.0 Safari/537.36",
            },
            "details": {},
        },
    }
    payload = json.dumps(said, separators=(",", ":"))
    return ClaimedEvent(number, str(said["id"]), "auth.session.login.success", payload)
