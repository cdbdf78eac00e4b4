"""Connecting to the broker by URL, with errors that say what went wrong but not the password."""

import random
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

import pika

from ninja_auth_kit.audit.broker.errors import PIKA_ERRORS, BrokerError, describe, quieten_pika

HEARTBEAT = 15  # seconds
CONNECT_TIMEOUT = 15.0  # seconds for TCP, TLS and the login together, for each host


class BrokerConnection(NamedTuple):
    """An open connection, and the parameters that it was opened with."""

    connection: pika.BlockingConnection
    parameters: pika.URLParameters


def as_list(url: str | Sequence[str]) -> list[str]:
    """Return one URL or several URLs as a list."""
    return [url] if isinstance(url, str) else list(url)


def connect(urls: Sequence[str], *, name: str, exchange: str, timeout: float | None = None) -> BrokerConnection:
    """Connect to the first host that answers. The hosts are tried in random order.

    Args:
        urls: `amqp://user:password@host:port/vhost`, or `amqps://` for TLS, which verifies the certificate.
        name: the name of the connection in the lists of the broker.
        exchange: the exchange of the events, for error messages.
        timeout: the number of seconds that each host has to answer, 15 at most.

    Raises:
        BrokerError: no host answered. The text says where and why, without credentials.
        ValueError: a URL is malformed.
    """
    quieten_pika()
    failure: BrokerError | None = None
    for url in random.sample(urls, len(urls)):
        parameters = _parameters(url, name, min(CONNECT_TIMEOUT, timeout or CONNECT_TIMEOUT))
        try:
            with broker_errors(parameters, exchange=exchange):
                return BrokerConnection(pika.BlockingConnection(parameters), parameters)
        except BrokerError as error:
            failure = error
    raise failure or BrokerError("no host is configured", host="", port=0)


@contextmanager
def broker_errors(parameters: pika.URLParameters, *, exchange: str) -> Iterator[None]:
    """Turn the exceptions of pika into a BrokerError, which has no credentials in its text."""
    try:
        yield
    except PIKA_ERRORS as error:
        cause = describe(error, vhost=parameters.virtual_host, exchange=exchange)
        raise BrokerError(cause, host=parameters.host, port=parameters.port) from None


def _parameters(url: str, name: str, timeout: float) -> pika.URLParameters:
    parts = urlsplit(url)
    if parts.scheme not in {"amqp", "amqps"} or not parts.hostname:
        # Without the URL, which contains the password.
        raise ValueError("The URL of the broker must be amqp://user:password@host:port/vhost, or amqps:// for TLS.")
    parameters = pika.URLParameters(url)
    parameters.heartbeat = HEARTBEAT
    parameters.socket_timeout = min(5, timeout)
    parameters.stack_timeout = timeout
    parameters.blocked_connection_timeout = 60
    parameters.client_properties = {"connection_name": name}
    if parts.scheme == "amqps":
        parameters.ssl_options = pika.SSLOptions(ssl.create_default_context(), parts.hostname)
    return parameters
