"""What listens on a port that did not answer as a broker does. pika only reports that the connection was closed."""

import socket
import ssl

import pika

from ninja_auth_kit.audit.broker.tls_errors import describe_tls_error

AnyParameters = pika.ConnectionParameters | pika.URLParameters  # neither is a subclass of the other

TIMEOUT = 1.0  # seconds for each connection
AMQP_HEADER = b"AMQP\x00\x00\x09\x01"  # AMQP 0-9-1 section 4.2.2

CLOSED = (
    "the peer closed the connection without an answer. Either it is a proxy that cannot reach the broker, or the port "
    "belongs to another service"
)
CLOSED_AFTER_TLS = f"{CLOSED}, or the broker requires a client certificate"
EXPECTS_TLS = "the port expects TLS. Turn TLS on, or use the port without TLS"
# The first bytes of answers to an AMQP header.
_ANSWERS = {
    b"AMQP": "the peer speaks another version of AMQP than 0-9-1",
    b"HTTP": "an HTTP server answers on this port. The port of AMQP is usually 5672, or 5671 with TLS",
    b"\x15\x03": EXPECTS_TLS,  # an alert of TLS (RFC 8446 section 5.1)
}


def describe_peer(parameters: AnyParameters) -> str:
    """Connect once more, and return what answers in place of a broker.

    Only the header of AMQP is sent, after the same TLS handshake.
    """
    options = parameters.ssl_options
    try:
        with socket.create_connection((parameters.host, parameters.port), TIMEOUT) as plain:
            wire = options.context.wrap_socket(plain, server_hostname=options.server_hostname) if options else plain
            with wire:
                answer = (_refusal(wire) if options else b"") or _answer(wire)
    except ssl.SSLEOFError:
        answer = b""
    except ssl.SSLError as error:
        return describe_tls_error(error.reason)
    except OSError:
        answer = b""
    for beginning, meaning in _ANSWERS.items():
        if answer.startswith(beginning):
            return meaning
    if answer:
        return "the port belongs to a service that does not speak AMQP"
    if options:
        return CLOSED_AFTER_TLS
    return EXPECTS_TLS if _speaks_tls(parameters.host, parameters.port) else CLOSED


def _refusal(wire: socket.socket) -> bytes:
    """Wait for an alert before anything is sent. If the broker closes while data arrives, its alert can get lost."""
    try:
        return wire.recv(8)
    except TimeoutError:
        return b""


def _answer(wire: socket.socket) -> bytes:
    wire.sendall(AMQP_HEADER)
    return wire.recv(8)


def _speaks_tls(host: str, port: int) -> bool:
    """Return whether a TLS handshake gets an answer. PostgreSQL refuses one without a protocol name (ALPN)."""
    try:
        with (
            socket.create_connection((host, port), TIMEOUT) as plain,
            ssl.create_default_context().wrap_socket(plain, server_hostname=host),
        ):
            return True
    except ssl.SSLCertVerificationError:
        return True
    except ssl.SSLError as error:
        reason = error.reason or ""
        return "ALERT" in reason and "NO_APPLICATION_PROTOCOL" not in reason
    except OSError:
        return False
