"""The broker of the environment variables: its address, and the audit events that arrive from it."""

import json
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import pika

from config.environment import is_on
from ninja_auth_kit.setting_rules import parse_host

PATIENCE = 20  # seconds to wait for an event


class BrokerSettingsError(Exception):
    """An environment variable has a value that is not valid; the text says which values are."""


def parameters(environment: Mapping[str, str]) -> pika.ConnectionParameters | None:
    """Return the connection parameters, or None if RABBITMQ_HOST is set but empty.

    An empty RABBITMQ_HOST means no broker. Of several hosts, the first is used.

    Raises:
        BrokerSettingsError: RABBITMQ_HOST or RABBITMQ_PORT is not valid.
    """
    tls = is_on("RABBITMQ_TLS", environment)
    port = environment.get("RABBITMQ_PORT") or ("5671" if tls else "5672")
    if not port.isdecimal() or not 0 < int(port) < 65_536:
        raise BrokerSettingsError(f"RABBITMQ_PORT must be a number from 1 to 65535, such as 5672 (got {port!r}).")
    first, _, _others = environment.get("RABBITMQ_HOST", "127.0.0.1").partition(",")
    if not first.strip():
        return None
    try:
        host, own_port = parse_host(first.strip())
    except ValueError as error:
        raise BrokerSettingsError(f"RABBITMQ_HOST is not valid: {error}") from error
    user, password = environment.get("RABBITMQ_USER") or "guest", environment.get("RABBITMQ_PASSWORD") or "guest"
    return pika.ConnectionParameters(
        host,
        own_port or int(port),
        environment.get("RABBITMQ_VHOST") or "/",
        pika.PlainCredentials(user, password),
        ssl_options=pika.SSLOptions(ssl.create_default_context(), host) if tls else None,
        socket_timeout=2,
    )


class NoBrokerError(Exception):
    """No broker answers; the text says why, and where the events are instead."""


class Listener:
    """Receives the audit events as they arrive, through its own queue.

    Raises:
        NoBrokerError: no broker answers, at the start or later.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        where = parameters(environment)
        if where is None:
            raise NoBrokerError(
                "RABBITMQ_HOST is empty, so the audit events are not shown: they are in the server's log."
            )
        self.address = f"{where.host}:{where.port}"
        exchange = environment.get("AUDIT_EXCHANGE") or "auth.events"
        with self._while_it_lasts():
            self._connection = pika.BlockingConnection(where)
            self._channel = self._connection.channel()
            self._channel.exchange_declare(exchange, "topic", durable=True)
            self._queue = self._channel.queue_declare("", exclusive=True).method.queue
            self._channel.queue_bind(self._queue, exchange, "#")

    def events(self, *, pause: float) -> Iterator[tuple[str, dict[str, Any]] | None]:
        """Yield the routing key and the body of each event; yield None after `pause` seconds without an event."""
        with self._while_it_lasts():
            for method, _, body in self._channel.consume(self._queue, auto_ack=True, inactivity_timeout=pause):
                yield None if method is None or body is None else (method.routing_key, json.loads(body))

    def close(self) -> None:
        """Close the connection, which also deletes the queue."""
        with suppress(pika.exceptions.AMQPError):
            self._connection.close()

    @contextmanager
    def _while_it_lasts(self) -> Iterator[None]:
        try:
            yield
        except (pika.exceptions.AMQPError, OSError) as error:
            reason = f" ({error})" if str(error) else ""
            raise NoBrokerError(
                f"No broker answers at {self.address}{reason}, "
                "so the audit events are not shown: they wait in the outbox."
            ) from error


class Events:
    """The events of the requests of the walk. Without a broker it prints the reason once, and has no events."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._listener: Listener | None = None
        try:
            self._listener = Listener(environment)
        except NoBrokerError as error:
            print(f"{error}\n")

    def of_request(self, request_id: str, count: int) -> list[str]:
        """Return the routing keys of the events of a request: wait for `count` events, or until the time is over."""
        keys: list[str] = []
        deadline = time.monotonic() + PATIENCE
        while self._listener is not None and len(keys) < count and time.monotonic() < deadline:
            arrived = next(self._listener.events(pause=0.1))
            if arrived and arrived[1].get("correlationid") == request_id:
                keys.append(arrived[0])
        return keys

    def are_heard(self) -> bool:
        """Return whether a broker answers."""
        return self._listener is not None
