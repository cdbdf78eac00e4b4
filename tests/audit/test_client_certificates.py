"""Client certificates for a broker that requires them, and what the log says about a port without a broker."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage, Tags, run_checks
from django.core.management import call_command
from pytest_django import Settings

from ninja_auth_kit.audit.broker.errors import BrokerError
from ninja_auth_kit.audit.events import Event
from ninja_auth_kit.audit.relay.loop import configured_relay
from ninja_auth_kit.consumer import TLS, Consumer, Memory, TLSFileError, replay
from tests.audit.test_relay import fill
from tests.certificates import Authority
from tests.private_broker import PrivateBroker, free_port, is_installed
from tests.servers import database_url

pytestmark = pytest.mark.django_db(transaction=True)


class StrictBroker:
    """A private RabbitMQ with a TLS listener that requires a client certificate.

    Attributes:
        port: the port of the TLS listener.
        authority: who issued its certificate, and whose certificates it accepts.
    """

    def __init__(self) -> None:
        self.node, self.port = PrivateBroker(), free_port()
        self.authority = Authority(self.node.home / "authority")
        certfile, keyfile = self.authority.issue("server")
        with (self.node.home / "rabbitmq.conf").open("a") as file:
            file.write(
                f"listeners.ssl.1 = 127.0.0.1:{self.port}\n"
                f"ssl_options.cacertfile = {self.authority.cafile}\n"
                f"ssl_options.certfile = {certfile}\n"
                f"ssl_options.keyfile = {keyfile}\n"
                "ssl_options.verify = verify_peer\n"
                "ssl_options.fail_if_no_peer_cert = true\n"
            )


@pytest.fixture(scope="module")
def strict_broker() -> Iterator[StrictBroker]:
    if not is_installed():
        pytest.skip("RabbitMQ is not installed, so a private broker cannot be started")
    broker = StrictBroker()
    try:
        broker.node.start()
        yield broker
    finally:
        broker.node.remove()


@pytest.fixture
def strict(strict_broker: StrictBroker, exchange: str, settings: Settings) -> StrictBroker:
    """Configure the broker that requires a client certificate, without one."""
    settings.RABBITMQ_HOST, settings.RABBITMQ_PORT = "localhost", strict_broker.port
    settings.RABBITMQ_TLS, settings.RABBITMQ_TLS_CAFILE = True, strict_broker.authority.cafile
    return strict_broker


def configure(settings: Settings, files: tuple[Path, Path]) -> None:
    settings.RABBITMQ_TLS_CERTFILE, settings.RABBITMQ_TLS_KEYFILE = files


def attempt() -> str:
    """Try to publish, and return the error message."""
    with pytest.raises(BrokerError) as caught:
        configured_relay(using="default").drain()
    return str(caught.value).removesuffix(".")


@pytest.mark.private_broker
def test_with_a_client_certificate_the_relay_authkit_tail_and_consumers_are_accepted(
    strict: StrictBroker, exchange: str, settings: Settings
) -> None:
    files = strict.authority.issue("relay", password="c4n4ry")
    configure(settings, files)
    settings.RABBITMQ_TLS_KEY_PASSWORD = "c4n4ry"
    fill(3)

    assert configured_relay(using="default").drain() == 3

    out = StringIO()
    call_command("authkit_tail", "--timeout", "0.5", stdout=out)
    tls = TLS(cafile=strict.authority.cafile, certfile=files[0], keyfile=files[1], password="c4n4ry")
    url = f"amqps://guest:guest@localhost:{strict.port}/%2F"
    consumer = Consumer(url, queue=f"{exchange}.strict", store=Memory(), exchange=exchange, tls=tls)
    consumer.on(Event)(lambda event, db: None)
    thread = threading.Thread(target=consumer.run)
    thread.start()
    for _ in range(200):
        if consumer.is_consuming:
            break
        thread.join(0.05)
    assert consumer.is_consuming
    consumer.stop()
    thread.join(10)


@pytest.mark.private_broker
def test_without_a_client_certificate_the_cause_is_named(strict: StrictBroker, settings: Settings) -> None:
    required = f"RabbitMQ at localhost:{strict.port}: TLS failed: the broker requires a client certificate"
    assert attempt() == required
    url = f"amqps://guest:guest@localhost:{strict.port}/%2F"
    with pytest.raises(BrokerError, match=required):
        list(replay(url, tls=TLS(cafile=strict.authority.cafile)))

    settings.RABBITMQ_TLS = False
    assert "the port expects TLS" in attempt()


@pytest.mark.private_broker
@pytest.mark.security("AUD-12")
def test_certificates_that_are_replaced_on_disk_are_used_at_the_next_connection(
    strict: StrictBroker, settings: Settings, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "another authority").issue("relay")
    configure(settings, stranger)
    relay = configured_relay(using="default")
    with pytest.raises(BrokerError, match="the broker does not accept the client certificate"):
        relay.publisher.connect()

    certfile, keyfile = strict.authority.issue("renewed")
    stranger[0].write_bytes(certfile.read_bytes())
    with pytest.raises(BrokerError, match="TLS: keyfile does not belong to the certificate in certfile"):
        relay.publisher.connect()
    stranger[1].write_bytes(keyfile.read_bytes())
    relay.publisher.connect()
    relay.publisher.close()


def found() -> list[CheckMessage]:
    return [each for each in run_checks(tags=[Tags.compatibility]) if each.id == "ninja_auth_kit.E015"]


def damaged(path: Path) -> Path:
    path.write_text("-----BEGIN PRIVATE KEY-----\nc4n4ry\n-----END PRIVATE KEY-----\n")
    return path


WRONG_FILES: dict[str, tuple[Callable[[Authority], dict[str, Any]], str]] = {
    "missing": (
        lambda authority: {"CERTFILE": authority.directory / "c4n4ry"},
        "CERTFILE cannot be read (no such file or directory)",
    ),
    "a directory": (lambda authority: {"CAFILE": str(authority.directory)}, "CAFILE cannot be read (is a directory)"),
    "no certificate": (
        lambda authority: {"CERTFILE": authority.issue("one")[1]},
        "CERTFILE has no certificate in PEM",
    ),
    "no key": (lambda authority: {"CERTFILE": authority.issue("one")[0]}, "KEYFILE has no private key in PEM"),
    "another key": (
        lambda authority: {"CERTFILE": authority.issue("one")[0], "KEYFILE": authority.issue("two")[1]},
        "KEYFILE does not belong to the certificate in RABBITMQ_TLS_CERTFILE",
    ),
    "a damaged key": (
        lambda authority: {"CERTFILE": authority.issue("one")[0], "KEYFILE": damaged(authority.directory / "key")},
        "CERTFILE or its private key is not accepted by OpenSSL",
    ),
    "an authority without its certificate": (
        lambda authority: {"CAFILE": authority.issue("one")[1]},
        "CAFILE has no certificate in PEM",
    ),
    "a key alone": (
        lambda authority: {"KEYFILE": authority.issue("one")[1]},
        "KEYFILE is given without RABBITMQ_TLS_CERTFILE",
    ),
    "encrypted": (
        lambda authority: dict(zip(("CERTFILE", "KEYFILE"), authority.issue("one", password="c4n4ry"), strict=True)),
        "KEY_PASSWORD is required, because the private key is encrypted",
    ),
    "another password": (
        lambda authority: {
            **dict(zip(("CERTFILE", "KEYFILE"), authority.issue("one", password="c4n4ry"), strict=True)),
            "KEY_PASSWORD": "c4n4ry of another",
        },
        "KEY_PASSWORD is wrong, or the private key is damaged",
    ),
    "a long password": (
        lambda authority: {
            **dict(zip(("CERTFILE", "KEYFILE"), authority.issue("one", password="c4n4ry"), strict=True)),
            "KEY_PASSWORD": "c4n4ry" * 1000,
        },
        "KEY_PASSWORD is wrong, or the private key is damaged",
    ),
}


@pytest.mark.parametrize("case", WRONG_FILES)
def test_a_file_that_cannot_be_used_is_an_error_at_the_start_without_its_path_or_content(
    case: str, tmp_path: Path, settings: Settings
) -> None:
    files, message = WRONG_FILES[case]
    settings.RABBITMQ_HOST, settings.RABBITMQ_TLS = "broker.example.com", True
    for name, value in files(Authority(tmp_path)).items():
        setattr(settings, f"RABBITMQ_TLS_{name}", value)

    (error,) = found()

    assert error.msg.startswith(f"RABBITMQ_TLS_{message}")
    assert "PEM files that this process may read" in str(error.hint)
    assert not [word for word in ("c4n4ry", str(tmp_path)) if word in str(error)]
    assert "TLS: " in attempt()  # and if the file becomes unusable later, events wait


def test_files_that_can_be_used_are_accepted_and_are_not_read_without_a_broker(
    tmp_path: Path, settings: Settings
) -> None:
    authority = Authority(tmp_path)
    certfile, keyfile = authority.issue("one")
    both = tmp_path / "both.pem"
    both.write_bytes(certfile.read_bytes() + keyfile.read_bytes())
    settings.RABBITMQ_HOST, settings.RABBITMQ_TLS, settings.RABBITMQ_TLS_CAFILE = "one.example", True, authority.cafile
    configure(settings, (certfile, keyfile))
    assert found() == []
    settings.RABBITMQ_TLS_CERTFILE, settings.RABBITMQ_TLS_KEYFILE = str(both), None
    assert found() == []

    settings.RABBITMQ_TLS_CERTFILE, settings.RABBITMQ_HOST = "missing.pem", None
    assert found() == []


@pytest.mark.parametrize("name", ["cafile", "certfile"])
def test_a_file_that_is_removed_while_it_is_read_is_an_error_of_this_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    certfile, keyfile = authority.issue("one")
    files = TLS(cafile=authority.cafile, certfile=certfile, keyfile=keyfile)
    read = Path.read_bytes

    def read_and_remove(path: Path) -> bytes:
        content = read(path)
        if path == getattr(files, name):
            path.unlink()
        return content

    monkeypatch.setattr(Path, "read_bytes", read_and_remove)
    with pytest.raises(TLSFileError, match=rf"^{name} cannot be read \(no such file or directory\)$"):
        files.context()


@pytest.mark.security("AUD-12")
def test_files_of_a_connection_without_tls_are_an_error(tmp_path: Path, settings: Settings) -> None:
    authority = Authority(tmp_path)
    settings.RABBITMQ_HOST, settings.RABBITMQ_TLS_CAFILE = "broker.example.com", authority.cafile

    (error,) = found()

    assert error.msg == "RABBITMQ_TLS_CAFILE is set, and RABBITMQ_TLS is not True."
    assert "Set RABBITMQ_TLS = True" in str(error.hint)
    with pytest.raises(ValueError, match="must begin with amqps://"):
        list(replay("amqp://guest:c4n4ry@127.0.0.1", tls=TLS(cafile=authority.cafile)))


def test_a_consumer_does_not_start_with_a_file_that_cannot_be_used(tmp_path: Path) -> None:
    consumer = Consumer(
        "amqps://127.0.0.1", queue="nowhere", store=Memory(), tls=TLS(certfile=tmp_path / "missing.pem")
    )
    consumer.on(Event)(lambda event, db: None)

    with pytest.raises(TLSFileError, match=r"^certfile cannot be read \(no such file or directory\)$"):
        consumer.run()


@pytest.fixture
def peer(settings: Settings, exchange: str) -> Iterator[Callable[[bytes], None]]:
    """Return a function that starts a server which answers anything with some bytes, and closes the connection."""
    listener = socket.create_server(("127.0.0.1", 0))
    settings.RABBITMQ_HOST, settings.RABBITMQ_PORT = "127.0.0.1", listener.getsockname()[1]

    def start(answer: bytes) -> None:
        def serve() -> None:
            with suppress(OSError):
                while True:
                    with listener.accept()[0] as connection:
                        if answer:
                            connection.recv(1000)
                            connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()

    yield start
    with suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (b"", "Either it is a proxy that cannot reach the broker, or the port belongs to another service"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "an HTTP server answers on this port"),
        (b"AMQP\x00\x01\x00\x00", "the peer speaks another version of AMQP than 0-9-1"),
        (b"220 mail.example.com ESMTP\r\n", "the port belongs to a service that does not speak AMQP"),
    ],
    ids=["proxy", "http", "amqp 1.0", "smtp"],
)
def test_what_answers_in_place_of_the_broker_is_named(
    peer: Callable[[bytes], None], answer: bytes, cause: str, settings: Settings
) -> None:
    peer(answer)

    assert cause in attempt()
    with pytest.raises(BrokerError, match=cause):
        list(replay(f"amqp://guest:guest@127.0.0.1:{settings.RABBITMQ_PORT}"))


def test_a_proxy_in_front_of_tls_whose_broker_is_away_is_named(
    peer: Callable[[bytes], None], settings: Settings
) -> None:
    settings.RABBITMQ_TLS = True
    peer(b"")

    assert re.search("a proxy that cannot reach the broker|connection reset by peer", attempt())


def test_the_port_of_postgresql_is_another_service(settings: Settings, exchange: str) -> None:
    port = database_url().rpartition(":")[2].partition("/")[0]
    if not port.isdecimal():
        pytest.skip("the PostgreSQL of this test run listens on a Unix socket only")
    settings.RABBITMQ_HOST, settings.RABBITMQ_PORT = "127.0.0.1", port

    assert "the port belongs to another service" in attempt()
