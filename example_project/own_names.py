"""Names in RabbitMQ that only this demo uses, and the removal of everything that has them.

The demo connects to the broker that answers, which may have exchanges and queues of other projects. So it has an
exchange with a random name, from which the names of its queues are derived. They are deleted over AMQP when the demo
stops. If it was killed, the next demo deletes them: the names are in a file, and a running demo holds a lock on it.
"""

import fcntl
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import pika

from broker import parameters

LOCAL = Path(os.environ.get("DEMO_DIRECTORY", Path(__file__).parent.parent / ".local"))
FOLDER = LOCAL / "broker"  # a file for each demo, named by its port
EXCHANGE = re.compile(r"ninja-auth-kit-demo-[0-9a-f]{12}")


def own_exchange(port: str) -> str | None:
    """Return the exchange of the demo on a port, or None if that demo uses another one."""
    try:
        record = json.loads((FOLDER / port).read_text())
        return EXCHANGE.fullmatch(record["exchange"])[0]  # type: ignore[index]  # None is a TypeError
    except (OSError, ValueError, TypeError, KeyError):
        return None


@contextmanager
def own_names(port: str, environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Yield the environment variables with the names, and remove what has them at the end.

    The variables are empty if RABBITMQ_HOST is empty, or if AUDIT_EXCHANGE names an exchange of your own.
    """
    where = parameters(environment)
    if where is None or environment.get("AUDIT_EXCHANGE"):
        yield {}
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    remove_leftovers(where)
    with (FOLDER / port).open("a") as record:
        fcntl.flock(record, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # If the names of an earlier demo could not be removed, this demo uses and removes them.
        exchange = own_exchange(port) or f"ninja-auth-kit-demo-{secrets.token_hex(6)}"
        record.truncate(0)
        record.write(json.dumps({"exchange": exchange, "broker": address(where)}))
        record.flush()
        try:
            yield {"AUDIT_EXCHANGE": exchange, "CONSUMER_QUEUE": consumer_queue(exchange)}
        finally:
            if remove(exchange, where):
                (FOLDER / port).unlink(missing_ok=True)


def consumer_queue(exchange: str) -> str:
    """Return the name of the queue of consumer.py."""
    return f"{exchange}.consumer"


def address(where: pika.ConnectionParameters) -> str:
    """Return the broker and the virtual host, without credentials."""
    return f"{where.host}:{where.port}/{where.virtual_host}"


def remove_leftovers(where: pika.ConnectionParameters) -> None:
    """Remove what demos that were killed have left behind at this broker."""
    for path in FOLDER.iterdir():
        with suppress(OSError), path.open("a") as record:
            if not is_locked(record) and left_at(path, where) and remove(own_exchange(path.name), where):
                path.unlink(missing_ok=True)


def is_locked(record: IO[str]) -> bool:
    """Return whether the demo of a file runs. The system unlocks the file when the process ends, however it ends."""
    try:
        fcntl.flock(record, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def left_at(path: Path, where: pika.ConnectionParameters) -> bool:
    """Return whether a file names this broker."""
    try:
        return bool(json.loads(path.read_text())["broker"] == address(where))
    except (ValueError, TypeError, KeyError):
        return False


def remove(exchange: str | None, where: pika.ConnectionParameters) -> bool:
    """Delete the exchanges and queues of a demo, and return whether the broker has done it."""
    if exchange is None:
        return False
    queue = consumer_queue(exchange)
    try:
        with pika.BlockingConnection(where) as connection:
            channel = connection.channel()
            for name in (f"{exchange}.audit", queue, f"{queue}.dead"):
                channel.queue_delete(name)  # RabbitMQ allows it if there is no such queue
            for name in (exchange, f"{queue}.dead"):
                channel.exchange_delete(name)
    except (pika.exceptions.AMQPError, OSError):
        return False
    return True
