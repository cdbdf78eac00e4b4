"""The deployment in compose.yaml, tested without Docker: keys, emails and referenced files."""

import json
import os
import re
import shlex
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.core.management import call_command
from pytest_django import Settings

from ninja_auth_kit.audit.events import Event
from ninja_auth_kit.audit.relay.loop import configured_relay
from ninja_auth_kit.consumer import Consumer, Memory, replay
from tests.audit.conftest import exchange, private_broker
from tests.audit.test_relay import fill
from tests.consumer.conftest import running, until
from tests.private_broker import PrivateBroker
from tests.servers import ROOT
from tests.test_example import EXAMPLE, Demo, database, demos, post

pytestmark = pytest.mark.one_user_model

__all__ = ["database", "demos", "exchange", "private_broker"]  # fixtures

COMPOSE = (ROOT / "compose.yaml").read_text(encoding="utf-8")


class MailServer(socketserver.StreamRequestHandler):
    """A minimal SMTP server."""

    received: list[str]

    def handle(self) -> None:
        self.say("220 here")
        while line := self.rfile.readline():
            if line.upper().startswith(b"DATA"):
                self.say("354 go on")
                self.received.append(b"".join(map(self.checked, iter(self.rfile.readline, b".\r\n"))).decode())
            self.say("221 bye" if line.upper().startswith(b"QUIT") else "250 fine")

    @staticmethod
    def checked(line: bytes) -> bytes:
        """Return a line, which must end with CRLF (RFC 5321 section 2.3.8).

        Servers reject or repair other line endings.
        """
        assert line.endswith(b"\r\n"), line
        return line

    def say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


@pytest.fixture
def mail_server() -> Iterator[tuple[int, list[str]]]:
    """Run an SMTP server, and return its port and the list of what it receives."""
    handler = type("Handler", (MailServer,), {"received": []})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1], handler.received
        server.shutdown()
        thread.join()


@pytest.mark.django_db(transaction=True)
def test_a_mail_is_in_the_mailbox_and_goes_to_the_mail_server(
    demos: Callable[..., Demo], database: str, mail_server: tuple[int, list[str]], tmp_path: Path
) -> None:
    port, received = mail_server
    demo = demos(DATABASE_URL=database, RABBITMQ_HOST="", EMAIL_HOST="127.0.0.1", EMAIL_PORT=str(port))
    demo.wait()

    person = {"email": "new@example.com", "password": "a long walk in the hills"}
    assert post(demo, "/api/auth/register", person) == 202
    until(lambda: any("#token=" in file.read_text(encoding="utf-8") for file in tmp_path.rglob("*.log")))
    assert demo.stop() == 0

    assert "To: new@example.com" in received[0]


def test_every_container_has_the_same_keys_made_at_the_first_run(tmp_path: Path) -> None:
    show = "import json, os; print(json.dumps([os.environ[name] for name in ('SECRET_KEY', 'JWT_SECRET_KEY')]))"
    environment = {**os.environ, "DEMO_DIRECTORY": str(tmp_path)}
    for name in ("SECRET_KEY", "JWT_SECRET_KEY"):
        environment.pop(name, None)
    command = [sys.executable, str(EXAMPLE / "with_keys.py"), sys.executable, "-c", show]

    first, second = (
        json.loads(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
        for _ in range(2)
    )

    assert first == second
    assert min(map(len, first)) > 80
    assert first[0] != first[1]


def test_what_the_image_copies_is_there_and_reaches_the_build() -> None:
    dockerfile = (EXAMPLE / "Dockerfile").read_text(encoding="utf-8")
    copied = [path for line in re.findall(r"^COPY (.*) \S+$", dockerfile, re.MULTILINE) for path in line.split()]
    let_in = {
        line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")
    }

    assert all((ROOT / path).exists() for path in copied)
    assert set(copied) == let_in
    assert f"dockerfile: {Path('example_project/Dockerfile')}" in COMPOSE


def test_every_port_of_compose_is_for_this_machine_alone() -> None:
    ports = re.findall(r"ports: \[(.*)\]", COMPOSE)

    assert len(ports) == 4
    assert all(port.strip().startswith('"127.0.0.1:') for row in ports for port in row.split(","))


PAGES = [*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), *ROOT.glob("examples/**/*.md")]
IMAGE = re.compile(
    r"^\s*(?:-\s*)?image: *[\"']?(\S+?)[\"']?$|^FROM (\S+)|docker run .*?\b((?:rabbitmq|postgres):\S+)", re.M
)
OWN_IMAGES = "registry.example.com/"


def test_every_image_names_a_minor_version() -> None:
    """So that a pull does not change the version of a broker or a database behind the back of a deployment."""
    files = [ROOT / "compose.yaml", *ROOT.rglob("*Dockerfile"), *ROOT.glob(".github/**/*.yml"), *PAGES]
    images = {
        (file.name, "".join(names)) for file in files for names in IMAGE.findall(file.read_text(encoding="utf-8"))
    }

    assert {name for _, name in images} >= {"postgres:18.4", "rabbitmq:4.3-management", "python:3.13-slim"}
    unnamed = [
        (file, name)
        for file, name in sorted(images)
        if not name.startswith(OWN_IMAGES) and not re.search(r":v?\d+\.\d+(\.\d+)?(-[a-z0-9.-]+)?$", name)
    ]
    assert unnamed == []


def test_the_unit_of_systemd_makes_the_directory_of_its_health_file() -> None:
    page = (ROOT / "docs" / "deployment.md").read_text()
    directory = re.search(r"--health-file (/\S+)/\S+", page)

    assert directory is not None
    assert f"RuntimeDirectory={Path(directory[1]).relative_to('/run')}\n" in page


@pytest.mark.private_broker
@pytest.mark.broker
@pytest.mark.django_db(transaction=True)
def test_the_rights_on_the_page_suffice(
    private_broker: PrivateBroker, settings: Settings, kit: Callable[..., None]
) -> None:
    page = (ROOT / "docs" / "deployment.md").read_text()
    lines = [shlex.split(line)[1:] for line in re.findall(r"^ +(rabbitmqctl set_permissions .*)$", page, re.MULTILINE)]
    declaring, finding, billing, auditor = lines
    for name in ("relay", "billing", "auditor"):
        private_broker.control("add_user", name, "secret")
    settings.RABBITMQ_PASSWORD = "secret"
    url = "amqp://{}:secret@127.0.0.1:" + str(private_broker.port)

    for line, declares in ((declaring, True), (finding, False)):
        private_broker.control(*line)
        settings.RABBITMQ_USER = "relay"
        kit(AUDIT_EXCHANGE="auth.events", AUDIT_DECLARE=declares)
        fill(1)
        assert configured_relay(using="default").drain() == 1

    private_broker.control(*billing)
    consumer: Consumer[None] = Consumer(url.format("billing"), queue="billing.auth-events", store=Memory())
    consumer.on(Event)(lambda event, db: None)
    with running(consumer):
        until(lambda: consumer.is_consuming)

    private_broker.control(*auditor)
    settings.RABBITMQ_USER = "auditor"
    call_command("authkit_tail", timeout=1)
    # The rows that `fill` inserts are not valid events.
    assert list(replay(url.format("auditor"))) == []


@pytest.mark.parametrize("page", ["deployment.md", "settings.md"])
def test_the_command_on_the_page_prints_what_can_be_a_jwt_secret_key(page: str) -> None:
    text = (ROOT / "docs" / page).read_text()
    (made,) = re.findall(r"""`python -c "(import secrets; .*?)"`""", text)
    first = subprocess.run([sys.executable, "-c", made], capture_output=True, text=True, check=True).stdout.strip()

    assert len(first) > 80
    about = [line for line in text.splitlines() if "JWT_SECRET_KEY" in line or "Rotate it" in line]
    commands = re.findall(r"authkit_keys [a-z]+(?: --alg [A-Z0-9]+)?", "\n".join(about))
    assert commands
    assert all(command.endswith(" --alg HS256") for command in commands)
