"""TLS to the broker: no data is sent to a server that cannot prove its identity."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from pytest_django import Settings

from ninja_auth_kit.audit.broker.errors import BrokerError
from ninja_auth_kit.audit.relay.loop import configured_relay
from tests.keys import pem, private

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def impostor(tmp_path: Path, settings: Settings) -> Iterator[Callable[[str], list[bytes]]]:
    """Return a function that starts a TLS server with a certificate for a name.

    The function returns the list of the bytes that the server receives.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    settings.RABBITMQ_HOST, settings.RABBITMQ_PORT = "localhost", listener.getsockname()[1]
    settings.RABBITMQ_TLS, settings.RABBITMQ_PASSWORD = True, "c4n4ry"
    threads: list[threading.Thread] = []

    def start(name: str) -> list[bytes]:
        (tmp_path / "certificate.pem").write_bytes(certificate(name))
        (tmp_path / "key.pem").write_text(pem("ES256"))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
        heard: list[bytes] = []

        def serve() -> None:
            with (
                suppress(OSError),
                listener.accept()[0] as plain,
                context.wrap_socket(plain, server_side=True) as wire,
            ):
                wire.settimeout(5)
                heard.append(wire.recv(8))

        threads.append(threading.Thread(target=serve, daemon=True))
        threads[-1].start()
        return heard

    yield start
    listener.close()
    for thread in threads:
        thread.join(10)


def certificate(name: str) -> bytes:
    """Return a self-signed certificate for a name."""
    key, now = private(pem("ES256")), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def attempt() -> str:
    """Try to publish, and return the error message."""
    with pytest.raises(BrokerError) as caught:
        configured_relay(using="default").drain()
    assert "c4n4ry" not in repr(caught.value)
    return str(caught.value)


@pytest.mark.security("AUD-12")
def test_a_broker_whose_certificate_nobody_vouches_for_hears_nothing(impostor: Callable[[str], list[bytes]]) -> None:
    heard = impostor("localhost")

    assert "TLS failed: self-signed certificate" in attempt()
    assert heard == []


@pytest.mark.security("AUD-12")
def test_a_broker_with_the_certificate_of_another_hears_nothing(
    impostor: Callable[[str], list[bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    heard = impostor("other.example.com")

    assert "TLS failed: Hostname mismatch" in attempt()
    assert heard == []


@pytest.mark.security("AUD-12")
def test_a_broker_that_proves_its_name_is_spoken_to(
    impostor: Callable[[str], list[bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    heard = impostor("localhost")

    assert "TLS failed" not in attempt()
    assert heard == [b"AMQP\x00\x00\x09\x01"]
