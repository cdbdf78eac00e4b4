"""The broker that the environment names: where it is, and the audit events as they arrive from it."""

import json
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import pika

from config.environment import is_on

PATIENCE = 20  # seconds, for an event to arrive


class BrokerSettingsError(Exception):
    """A variable of the environment makes no sense; the text says which, and what would."""


def parameters(environment: Mapping[str, str]) -> pika.ConnectionParameters | None:
    """Return how to connect, or None where RABBITMQ_HOST is set but empty, which the kit takes as no broker.

    Raises:
        BrokerSettingsError: the port is none.
    """
    tls = is_on("RABBITMQ_TLS", environment)
    port = environment.get("RABBITMQ_PORT") or ("5671" if tls else "5672")
    if not port.isdecimal() or not 0 < int(port) < 65_536:
        raise BrokerSettingsError(f"RABBITMQ_PORT={port!r} is no port. Set it to a number such as 5672, or unset it.")
    host = environment.get("RABBITMQ_HOST", "127.0.0.1")
    if not host:
        return None
    user, password = environment.get("RABBITMQ_USER") or "guest", environment.get("RABBITMQ_PASSWORD") or "guest"
    return pika.ConnectionParameters(
        host,
        int(port),
        environment.get("RABBITMQ_VHOST") or "/",
        pika.PlainCredentials(user, password),
        ssl_options=pika.SSLOptions(ssl.create_default_context(), host) if tls else None,
        socket_timeout=2,
    )


class NoBrokerError(Exception):
    """There is no broker to hear events from; the text says why, and where they are instead."""


class Listener:
    """Hears the audit events, as they arrive, through a queue of its own.

    Raises:
        NoBrokerError: there is none, here or later.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        where = parameters(environment)
        if where is None:
            raise NoBrokerError("RABBITMQ_HOST is empty, so the audit events are left out: the server's log has them.")
        self.address = f"{where.host}:{where.port}"
        with self._while_it_lasts():
            self._connection = pika.BlockingConnection(where)
            self._channel = self._connection.channel()
            self._channel.exchange_declare("auth.events", "topic", durable=True)
            self._queue = self._channel.queue_declare("", exclusive=True).method.queue
            self._channel.queue_bind(self._queue, "auth.events", "#")

    def events(self, *, pause: float) -> Iterator[tuple[str, dict[str, Any]] | None]:
        """Yield routing key and event of each, for ever; None after each pause, in seconds, without one."""
        with self._while_it_lasts():
            for method, _, body in self._channel.consume(self._queue, auto_ack=True, inactivity_timeout=pause):
                yield None if method is None or body is None else (method.routing_key, json.loads(body))

    def close(self) -> None:
        """Leave, and the queue goes too."""
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
                "so the audit events are left out: they wait in the outbox."
            ) from error


class Events:
    """The events of the walk's requests; none where there is no broker, which is said once."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._listener: Listener | None = None
        try:
            self._listener = Listener(environment)
        except NoBrokerError as error:
            print(f"{error}\n")

    def of_request(self, request_id: str, count: int) -> list[str]:
        """Return the routing keys of the events of one request, as many as are expected or come in time."""
        keys: list[str] = []
        deadline = time.monotonic() + PATIENCE
        while self._listener is not None and len(keys) < count and time.monotonic() < deadline:
            arrived = next(self._listener.events(pause=0.1))
            if arrived and arrived[1].get("correlationid") == request_id:
                keys.append(arrived[0])
        return keys

    def are_heard(self) -> bool:
        """Tell whether there is a broker."""
        return self._listener is not None
