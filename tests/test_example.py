"""The example project: that it starts, that its walk goes as the README says, and that it fails in clear sentences."""

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection

from tests.private_broker import free_port
from tests.servers import ROOT

EXAMPLE = ROOT / "example_project"
pytestmark = pytest.mark.django_db(transaction=True)


def url_of(name: str) -> str:
    """Return the URL of another database on the server of the test run."""
    settings = connection.settings_dict
    credentials = f"{settings['USER']}:{settings['PASSWORD']}@"
    host, port = str(settings["HOST"]), settings["PORT"] or 5432
    return (
        f"postgres://{credentials}/{name}?host={host}"
        if host.startswith("/")
        else f"postgres://{credentials}{host}:{port}/{name}"
    )


@pytest.fixture
def database() -> Iterator[str]:
    """Make an empty database for the example, and return its URL."""
    name = f"nak_example_{secrets.token_hex(4)}"
    with psycopg.connect(url_of("postgres").replace("postgres://", "postgresql://"), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        yield url_of(name)
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


class Demo:
    """`make demo`, without the make."""

    def __init__(self, directory: Path, **environment: str) -> None:
        self.port = int(environment.pop("PORT", free_port()))
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "DATABASE_"))},
            "DEMO_DIRECTORY": str(directory),
            "PORT": str(self.port),
            "PYTHONUNBUFFERED": "1",
            **environment,
        }
        self.url = f"http://127.0.0.1:{self.port}"
        self.output = ""
        self.process = subprocess.Popen(
            [sys.executable, str(EXAMPLE / "demo.py")],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def wait(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.1)
            else:
                return
        self.stop()
        raise AssertionError(f"the demo did not start:\n{self.output}")

    def stop(self, *, all_at_once: bool = True) -> int:
        """Press Ctrl-C, which a terminal sends to every process of the group; return the exit code."""
        if self.process.poll() is None:
            if all_at_once:
                os.killpg(self.process.pid, signal.SIGINT)
            else:
                self.process.send_signal(signal.SIGTERM)
        try:
            self.output += self.process.communicate(timeout=60)[0]
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.communicate()
            raise
        return self.process.returncode

    def walk(self, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the walk against it."""
        return subprocess.run(
            [sys.executable, str(EXAMPLE / "walk.py"), "--url", self.url],
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture
def demos(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    started: list[Demo] = []

    def start(**environment: str) -> Demo:
        started.append(Demo(tmp_path, **environment))
        return started[-1]

    yield start
    for demo in started:
        if demo.process.poll() is None:
            demo.stop()
        for home in re.findall(r"data in (\S+)\. Set", demo.output):  # as root it is not below tmp_path
            shutil.rmtree(home, ignore_errors=True)


def normalised(text: str) -> str:
    """Replace what differs from run to run."""
    for pattern, word in (
        (r"walker-[0-9a-f]{8}", "walker"),
        (r'"[0-9a-f]{4}…"', '"id…"'),
        (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "time"),
        (r'"id": \d+', '"id": n'),
        (r"127\.0\.0\.1:\d+", "host"),
    ):
        text = re.sub(pattern, word, text)
    return text.strip()


@pytest.mark.broker
def test_the_walk_goes_as_the_readme_says(demos: Callable[..., Demo], database: str) -> None:
    demo = demos(DATABASE_URL=database)
    demo.wait()

    walk = demo.walk()

    assert walk.returncode == 0, walk.stdout + walk.stderr
    readme = (ROOT / "README.md").read_text()
    transcript = re.search(r"<!-- walk -->\n```console\n(.*?)```\n<!-- /walk -->", readme, re.DOTALL)
    assert transcript is not None
    assert normalised(walk.stdout) == normalised(transcript[1])
    assert demo.stop() == 0, demo.output
    assert "Traceback" not in demo.output
    assert "Audit events go to the exchange auth.events" in demo.output


def test_without_a_broker_events_wait_and_the_walk_says_so(demos: Callable[..., Demo], database: str) -> None:
    nowhere = {"RABBITMQ_HOST": "127.0.0.1", "RABBITMQ_PORT": str(free_port())}
    demo = demos(DATABASE_URL=database, **nowhere)
    demo.wait()

    walk = demo.walk()

    assert walk.returncode == 0, walk.stdout + walk.stderr
    assert "No broker answers" in walk.stdout
    assert "\nevent " not in walk.stdout
    with psycopg.connect(database.replace("postgres://", "postgresql://")) as reader:
        (waiting,) = reader.execute("SELECT count(*) FROM ninja_auth_kit_auditoutbox").fetchone() or (0,)
    assert waiting == 9
    assert demo.stop() == 0, demo.output
    assert "Audit events wait in the outbox" in demo.output
    assert "Traceback" not in demo.output


def test_the_walk_fails_when_something_is_not_as_expected(demos: Callable[..., Demo], database: str) -> None:
    demo = demos(DATABASE_URL=database, RABBITMQ_PORT=str(free_port()), DEBUG="0")
    demo.wait()

    walk = demo.walk()

    assert walk.returncode == 1
    assert "Not as expected: /mailbox/ answered 404; is the server in DEBUG?" in walk.stderr
    demo.stop()
    assert "no answer from" in demo.walk().stderr


def test_on_a_bare_machine_it_brings_its_own_postgresql_keeps_the_data_and_stops_it(
    demos: Callable[..., Demo], tmp_path: Path
) -> None:
    demo = demos(RABBITMQ_PORT=str(free_port()))
    demo.wait()
    users = {"email": "ada@example.com", "password": "ada likes long passwords"}
    assert post(demo, "/api/auth/login", users) == 200
    assert demo.stop(all_at_once=False) == 0, demo.output
    match = re.search(r"data in (\S+)\. Set", demo.output)
    assert match is not None, demo.output
    data = Path(match[1]) / "data-18"
    assert (data / "PG_VERSION").read_text().strip() == "18"
    assert not (data / "postmaster.pid").exists()

    again = demos(RABBITMQ_PORT=str(free_port()))
    again.wait()
    assert post(again, "/api/auth/login", users) == 200
    assert again.stop() == 0

    (data / "PG_VERSION").write_text("16\n")
    other = demos()
    assert other.process.wait(60) == 1
    other.stop()
    assert "is of PostgreSQL 16, and this is 18. Move it away." in other.output
    assert "Traceback" not in other.output


def post(demo: Demo, path: str, body: dict[str, Any]) -> int:
    """Send one request and return its status."""
    import http.client

    client = http.client.HTTPConnection("127.0.0.1", demo.port, timeout=30)
    client.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    status = client.getresponse().status
    client.close()
    return status


def refused(demo: Demo) -> str:
    """Return what a demo says that does not start."""
    assert demo.process.wait(60) == 1
    demo.stop()
    assert "Traceback" not in demo.output, demo.output
    assert demo.output.startswith("The demo cannot start. "), demo.output
    return demo.output


def test_a_taken_port_is_said(demos: Callable[..., Demo], database: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])

        assert f"Port {port} is taken. Choose another: PORT=8001 make demo" in refused(demos(PORT=port))


def test_a_directory_that_cannot_be_written_to_is_said(demos: Callable[..., Demo], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    output = refused(demos(DEMO_DIRECTORY=str(tmp_path / "file" / "local")))

    assert "cannot be written to" in output


def test_a_database_that_does_not_answer_is_said(demos: Callable[..., Demo]) -> None:
    output = refused(demos(DATABASE_URL=f"postgres://nobody@127.0.0.1:{free_port()}/nothing"))

    assert "`manage.py migrate` failed" in output


def test_a_running_server_on_the_same_data_is_said(demos: Callable[..., Demo], tmp_path: Path) -> None:
    first = demos(RABBITMQ_PORT=str(free_port()))
    first.wait()

    output = refused(demos(RABBITMQ_PORT=str(free_port())))

    assert "Another server runs on" in output
    assert post(first, "/api/auth/login", {}) == 422


def manage(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a management command of the example."""
    good = {
        "SECRET_KEY": "x" * 50,
        "JWT_SECRET_KEY": "Zq3vN8wLx2Yc7Rk5Tm9Bp4Hd6Jf1Gs0AeUiOoWyQ",
        "DATABASE_URL": url_of("postgres"),
    }
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=EXAMPLE,
        env={"PATH": os.environ["PATH"], **good, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_its_models_and_migrations_agree_and_its_settings_pass_the_checks() -> None:
    assert manage("makemigrations", "--check", "--dry-run").returncode == 0
    check = manage("check", "--fail-level", "WARNING")
    assert check.returncode == 0, check.stderr


@pytest.mark.parametrize("name", ["SECRET_KEY", "JWT_SECRET_KEY", "DATABASE_URL"])
def test_a_missing_variable_is_named(name: str) -> None:
    result = manage("check", **{name: ""})

    assert result.returncode != 0
    assert f"Set {name} in the environment" in result.stderr


def test_its_settings_are_short_and_every_setting_of_the_kit_has_a_sentence() -> None:
    lines = (EXAMPLE / "config" / "settings.py").read_text().splitlines()

    assert len(lines) < 120
    first = lines.index("NINJA_AUTH_KIT: AuthKitSettings = {")
    keys = [number for number in range(first, len(lines)) if re.match(r'    "[A-Z_]+": ', lines[number])]
    assert len(keys) >= 5
    assert all(lines[number - 1].strip().startswith("# ") for number in keys)
