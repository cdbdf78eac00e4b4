"""Where the broker is: from URLs to connections, and what went wrong without the password."""

import random
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

import pika

from ninja_auth_kit.audit.broker.errors import PIKA_ERRORS, BrokerError, describe, quieten_pika

HEARTBEAT = 15  # seconds
ANSWER = 15.0  # seconds that one host has for TCP, TLS and the login together


class Link(NamedTuple):
    """A connection, and where it leads."""

    connection: pika.BlockingConnection
    parameters: pika.URLParameters


def listed(url: str | Sequence[str]) -> list[str]:
    """Return one URL or several as a list."""
    return [url] if isinstance(url, str) else list(url)


def connect(urls: Sequence[str], *, name: str, exchange: str, timeout: float | None = None) -> Link:
    """Connect to the first host that answers, in an order of its own.

    Args:
        urls: `amqp://user:password@host:port/vhost`, or `amqps://` for TLS with the certificate verified.
        name: what the broker's lists call the connection.
        exchange: the exchange of the events, for the text of an error.
        timeout: seconds that each host has to answer, 15 at most.

    Raises:
        BrokerError: none answers; the text says where and why, without credentials.
    """
    quieten_pika()
    failure: BrokerError | None = None
    for url in random.sample(urls, len(urls)):
        parameters = _parameters(url, name, min(ANSWER, timeout or ANSWER))
        try:
            with told(parameters, exchange=exchange):
                return Link(pika.BlockingConnection(parameters), parameters)
        except BrokerError as error:
            failure = error
    raise failure or BrokerError("no host is named", host="", port=0)


@contextmanager
def told(parameters: pika.URLParameters, *, exchange: str) -> Iterator[None]:
    """Turn what pika raises into a sentence."""
    try:
        yield
    except PIKA_ERRORS as error:
        cause = describe(error, vhost=parameters.virtual_host, exchange=exchange)
        raise BrokerError(cause, host=parameters.host, port=parameters.port) from None


def _parameters(url: str, name: str, timeout: float) -> pika.URLParameters:
    parts = urlsplit(url)
    if parts.scheme not in {"amqp", "amqps"} or not parts.hostname:
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
