"""The broker that the environment names: where it is, and the audit events as they arrive from it."""

import json
import ssl
import time
from collections.abc import Mapping

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


class Events:
    """The audit events, as they arrive; none where there is no broker."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._connection: pika.BlockingConnection | None = None
        where = parameters(environment)
        if where is None:
            print("RABBITMQ_HOST is empty, so the audit events are left out: the server's log has them.\n")
            return
        try:
            self._listen(where)
        except (pika.exceptions.AMQPError, OSError) as error:
            reason = f" ({error})" if str(error) else ""
            print(
                f"No broker answers at {where.host}:{where.port}{reason}, "
                "so the audit events are left out: they wait in the outbox.\n"
            )

    def _listen(self, where: pika.ConnectionParameters) -> None:
        connection = pika.BlockingConnection(where)
        self._channel = connection.channel()
        self._channel.exchange_declare("auth.events", "topic", durable=True)
        self._queue = self._channel.queue_declare("", exclusive=True).method.queue
        self._channel.queue_bind(self._queue, "auth.events", "#")
        self._connection = connection

    def of_request(self, request_id: str, count: int) -> list[str]:
        """Return the routing keys of the events of one request, as many as are expected or come in time."""
        keys: list[str] = []
        deadline = time.monotonic() + PATIENCE
        while self._connection is not None and len(keys) < count and time.monotonic() < deadline:
            method, _, body = self._channel.basic_get(self._queue, auto_ack=True)
            if method is None:
                self._connection.sleep(0.05)
            elif json.loads(body).get("correlationid") == request_id:
                keys.append(method.routing_key)
        return keys

    def are_heard(self) -> bool:
        """Tell whether there is a broker."""
        return self._connection is not None
