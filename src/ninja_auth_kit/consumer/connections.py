"""Connecting to the broker by URL, with errors that say what went wrong but not the password."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

import pika

from ninja_auth_kit.audit.broker.errors import PIKA_ERRORS, BrokerError, describe, quieten_pika
from ninja_auth_kit.tls import TLS, TLSFileError

HEARTBEAT = 15  # seconds
CONNECT_TIMEOUT = 15.0  # seconds for TCP, TLS and the login together, for each host


class BrokerConnection(NamedTuple):
    """An open connection, and the parameters that it was opened with."""

    connection: pika.BlockingConnection
    parameters: pika.URLParameters


def as_list(url: str | Sequence[str]) -> list[str]:
    """Return one URL or several URLs as a list."""
    return [url] if isinstance(url, str) else list(url)


def connect(
    urls: Sequence[str], *, name: str, exchange: str, timeout: float | None = None, tls: TLS | None = None
) -> BrokerConnection:
    """Connect to the first host that answers. The hosts are tried in random order.

    Args:
        urls: `amqp://user:password@host:port/vhost`, or `amqps://` for TLS, which verifies the certificate.
        name: the name of the connection in the lists of the broker.
        exchange: the exchange of the events, for error messages.
        timeout: the number of seconds that each host has to answer, 15 at most.
        tls: the files of `amqps://` connections, such as a client certificate.

    Raises:
        BrokerError: no host answered. The text says where and why, without credentials.
        ValueError: a URL is malformed, or the list is empty.
    """
    quieten_pika()
    for url in urls:
        check_url(url, tls)
    failure: BrokerError | None = None
    for url in random.sample(urls, len(urls)):
        try:
            parameters = _parameters(url, name, min(CONNECT_TIMEOUT, timeout or CONNECT_TIMEOUT), tls)
            with broker_errors(parameters, exchange=exchange):
                return BrokerConnection(pika.BlockingConnection(parameters), parameters)
        except BrokerError as error:
            failure = error
    raise failure or ValueError("The consumer needs the URL of at least one broker.")


@contextmanager
def broker_errors(parameters: pika.URLParameters, *, exchange: str) -> Iterator[None]:
    """Turn the exceptions of pika into a BrokerError, which has no credentials in its text."""
    try:
        yield
    except PIKA_ERRORS as error:
        cause = describe(error, parameters, exchange=exchange)
        raise BrokerError(cause, host=parameters.host, port=parameters.port) from None


def check_url(url: str, tls: TLS | None) -> None:
    """Check that a URL is valid, and that TLS files are not given for a connection without TLS.

    Raises:
        ValueError: it is not.
    """
    if not _is_url(url):
        # Without the URL, which contains the password.
        raise ValueError(
            "The URL of the broker must be amqp://user:password@host:port/vhost, or amqps:// for TLS. Write special "
            "characters of the password in percent-encoding, such as %2F for a slash."
        )
    if tls is not None and urlsplit(url).scheme != "amqps":
        raise ValueError(
            "With tls=, the URL of the broker must begin with amqps://, or the connection is not encrypted."
        )


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        # Reading the port raises an error if a slash in the password ends the host too early.
        return parts.scheme in {"amqp", "amqps"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _parameters(url: str, name: str, timeout: float, tls: TLS | None) -> pika.URLParameters:
    parameters = pika.URLParameters(url)
    parameters.heartbeat = HEARTBEAT
    parameters.socket_timeout = min(5, timeout)
    parameters.stack_timeout = timeout
    parameters.blocked_connection_timeout = 60
    parameters.client_properties = {"connection_name": name}
    if parameters.ssl_options is not None:
        try:
            parameters.ssl_options = pika.SSLOptions((tls or TLS()).context(), parameters.host)
        except TLSFileError as error:
            raise BrokerError(f"TLS: {error}", parameters.host, parameters.port) from None
    return parameters
