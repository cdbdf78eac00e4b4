"""The example project: it starts, its walk-through matches its page, and its errors are clear."""

import http.client
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
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pika
import psycopg
import pytest
from django.db import connection

from example_project.config.environment import is_on
from tests import with_services
from tests.private_broker import free_port
from tests.servers import ROOT

EXAMPLE = ROOT / "example_project"
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.demo]


def url_of(name: str) -> str:
    """Return the URL of another database on the server of the test run."""
    settings = connection.settings_dict
    credentials = f"{settings['USER']}:{settings['PASSWORD']}@"
    host, port = str(settings["HOST"]), settings["PORT"] or 5432
    return (
        f"postgres://{credentials}/{name}?host={quote(host)}"
        if host.startswith("/")
        else f"postgres://{credentials}{host}:{port}/{name}"
    )


@pytest.fixture
def database() -> Iterator[str]:
    """Create an empty database for the example, and return its URL."""
    name = f"nak_example_{secrets.token_hex(4)}"
    with psycopg.connect(url_of("postgres").replace("postgres://", "postgresql://"), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        yield url_of(name)
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


class Demo:
    """A process that runs what `make demo` runs."""

    def __init__(self, directory: Path, **environment: str) -> None:
        self.port = int(environment.pop("PORT", free_port()))
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "DATABASE_"))},
            "DEMO_DIRECTORY": str(directory),
            "PORT": str(self.port),
            "PYTHONUNBUFFERED": "1",
            **environment,
        }
        self.url = f"http://localhost:{self.port}"
        self.output = ""
        inherited = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
        self.process = subprocess.Popen(
            [sys.executable, str(EXAMPLE / "demo.py")],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        signal.signal(signal.SIGHUP, inherited)

    def wait(self) -> None:
        """Wait until the demo responds."""
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

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        """Stop the demo, by default with Ctrl-C, and return the exit code.

        A terminal sends the signal to every process of the group.
        """
        if self.process.poll() is None:
            if how == signal.SIGTERM:
                self.process.send_signal(how)
            else:
                os.killpg(self.process.pid, how)
        try:
            self.output += self.process.communicate(timeout=60)[0]
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.communicate()
            raise
        return self.process.returncode

    def walk(self, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the walk-through against the demo."""
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
        # As root it is not below tmp_path.
        for home in re.findall(r"data in (\S+)\. Set", demo.output):
            shutil.rmtree(home, ignore_errors=True)


def normalised(text: str) -> str:
    """Replace the values that differ from run to run."""
    for pattern, word in (
        (r"walker-[0-9a-f]{8}", "walker"),
        (r'"[0-9a-f]{4}…"', '"id…"'),
        (r"/[0-9a-f]{4}…/", "/id…/"),
        (r'"code": "\d{6}"', '"code": "n"'),
        (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "time"),
        (r'"id": \d+', '"id": n'),
        # A slow commit can take a second of it.
        (r'"refresh_expires_in": \d+', '"refresh_expires_in": n'),
        (r"localhost:\d+", "host"),
    ):
        text = re.sub(pattern, word, text)
    return text.strip()


@pytest.mark.broker
def test_the_walk_goes_as_its_page_says(demos: Callable[..., Demo], database: str) -> None:
    demo = demos(DATABASE_URL=database)
    demo.wait()

    walk = demo.walk()

    assert walk.returncode == 0, walk.stdout + walk.stderr
    heard = activity(database, 15)
    page = (ROOT / "docs" / "walk.md").read_text(encoding="utf-8")
    transcript = re.search(r"<!-- walk -->\n```text\n(.*?)```\n<!-- /walk -->", page, re.DOTALL)
    assert transcript is not None
    assert normalised(walk.stdout) == normalised(transcript[1])
    assert demo.stop() == 0, demo.output
    assert "Traceback" not in demo.output
    assert left_behind(exchange_of(demo)) == []
    assert heard[:3] == ["user.registered", "session.login_failed", "email.verified"]
    assert "consumer: session.revoked user/" in demo.output


def activity(database: str, count: int) -> list[str]:
    """Return what the example's consumer has stored, once it has stored this many events."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with psycopg.connect(database.replace("postgres://", "postgresql://")) as reader:
            rows = reader.execute("SELECT event FROM consumer_activity ORDER BY happened_at").fetchall()
        if len(rows) >= count:
            return [name for (name,) in rows]
        time.sleep(0.1)
    raise AssertionError(f"the consumer has received {len(rows)} events")


@contextmanager
def at_broker() -> Iterator[Any]:
    """Yield a channel to the broker of the test run."""
    host, port = os.environ.get("RABBITMQ_HOST", "127.0.0.1"), int(os.environ.get("RABBITMQ_PORT", "5672"))
    with pika.BlockingConnection(pika.ConnectionParameters(host, port)) as broker:
        yield broker.channel()


def exchange_of(demo: Demo) -> str:
    """Return the exchange that a demo has printed."""
    match = re.search(r"the exchange (ninja-auth-kit-demo-\w+)", demo.output)
    assert match is not None, demo.output
    return match[1]


def left_behind(exchange: str) -> list[str]:
    """Return the exchanges and queues of a demo that the broker has."""
    queue = f"{exchange}.consumer"
    checks = [("exchange", name) for name in (exchange, f"{queue}.dead")]
    checks += [("queue", name) for name in (f"{exchange}.audit", queue, f"{queue}.dead")]
    found = []
    for kind, name in checks:
        with suppress(pika.exceptions.ChannelClosedByBroker), at_broker() as channel:
            getattr(channel, f"{kind}_declare")(name, passive=True)
            found.append(f"{kind} {name}")
    return found


@pytest.fixture
def other_queue() -> Iterator[str]:
    """Create a queue of another project, with a message in it."""
    name = f"test-{secrets.token_hex(6)}.ninja-auth-kit-demo"
    with at_broker() as channel:
        channel.queue_declare(name, durable=True)
        channel.basic_publish("", name, b"of another project")
    yield name
    with at_broker() as channel:
        channel.queue_delete(name)


@pytest.mark.broker
def test_a_terminated_demo_removes_what_it_had_at_the_broker_and_nothing_else(
    demos: Callable[..., Demo], database: str, other_queue: str
) -> None:
    demo = demos(DATABASE_URL=database)
    demo.wait()

    assert demo.stop(signal.SIGTERM) == 0, demo.output

    assert "They are removed when the demo stops." in demo.output
    assert left_behind(exchange_of(demo)) == []
    with at_broker() as channel:
        assert channel.basic_get(other_queue)[2] == b"of another project"


@pytest.mark.broker
def test_a_killed_demo_is_cleaned_up_after_by_the_next_one_and_a_running_one_is_left_alone(
    demos: Callable[..., Demo], database: str
) -> None:
    killed = demos(DATABASE_URL=database)
    killed.wait()
    running = demos(DATABASE_URL=database)
    running.wait()
    killed.stop(signal.SIGKILL)
    assert len(left_behind(exchange_of(killed))) >= 2

    another = demos(DATABASE_URL=database)
    another.wait()

    assert left_behind(exchange_of(killed)) == []
    assert another.stop() == 0
    assert running.walk().returncode == 0
    assert running.stop() == 0
    assert left_behind(exchange_of(running)) == left_behind(exchange_of(another)) == []


@pytest.mark.broker
def test_an_exchange_of_your_own_stays(demos: Callable[..., Demo], database: str) -> None:
    name = f"test-{secrets.token_hex(6)}.events"
    names = {"AUDIT_EXCHANGE": name, "CONSUMER_QUEUE": f"{name}.consumer"}
    demo = demos(DATABASE_URL=database, **names)
    demo.wait()
    try:
        walk = demo.walk()

        assert walk.returncode == 0, walk.stdout + walk.stderr
        assert "event auth.user.registered.success" in walk.stdout
        assert demo.stop() == 0
        assert "They are removed" not in demo.output
        assert f"exchange {name}" in left_behind(name)
    finally:
        with at_broker() as channel:
            for queue in (f"{name}.audit", f"{name}.consumer", f"{name}.consumer.dead"):
                channel.queue_delete(queue)
            for exchange in (name, f"{name}.consumer.dead"):
                channel.exchange_delete(exchange)


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", '{"exchange": "amq.topic"}', '{"exchange": 7}', '{"exchange": "ninja-auth-kit-demo-"}'],
)
def test_a_damaged_record_of_a_demo_names_nothing_to_remove(tmp_path: Path, content: str) -> None:
    (tmp_path / "broker").mkdir()
    (tmp_path / "broker" / "8000").write_text(content)

    named = run("-c", "import own_names; print(own_names.own_exchange('8000'))", DEMO_DIRECTORY=str(tmp_path))

    assert named.stdout == "None\n", named.stderr


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
    assert waiting == 15
    assert demo.stop() == 0, demo.output
    assert "Audit events wait in the outbox" in demo.output
    assert "Traceback" not in demo.output


def test_the_walk_fails_when_something_is_not_as_expected(demos: Callable[..., Demo], database: str) -> None:
    demo = demos(DATABASE_URL=database, RABBITMQ_PORT=str(free_port()), DEBUG="0")
    demo.wait()

    walk = demo.walk()

    assert walk.returncode == 1
    assert "Unexpected result: /mailbox/ responded with 404. Does the server run with DEBUG?" in walk.stderr
    demo.stop()
    assert "no response from" in demo.walk().stderr


def test_on_a_bare_machine_it_brings_its_own_postgresql_keeps_the_data_and_stops_it(
    demos: Callable[..., Demo], tmp_path: Path
) -> None:
    demo = demos(RABBITMQ_PORT=str(free_port()))
    demo.wait()
    users = {"email": "ada@example.com", "password": "ada likes long passwords"}
    assert post(demo, "/api/auth/login", users) == 200
    assert demo.stop(signal.SIGTERM) == 0, demo.output
    match = re.search(r"data in (\S+)\. Set", demo.output)
    assert match is not None, demo.output
    data = Path(match[1]) / "data-18"
    assert (data / "PG_VERSION").read_text(encoding="utf-8").strip() == "18"
    assert not (data / "postmaster.pid").exists()

    again = demos(RABBITMQ_PORT=str(free_port()))
    again.wait()
    assert post(again, "/api/auth/login", users) == 200
    assert again.stop() == 0

    (data / "PG_VERSION").write_text("16\n")
    other = demos()
    assert other.process.wait(60) == 1
    other.stop()
    assert "is from PostgreSQL 16, and this is PostgreSQL 18. Move it away." in other.output
    assert "Traceback" not in other.output


def test_a_closed_terminal_stops_its_postgresql_too(demos: Callable[..., Demo]) -> None:
    demo = demos(RABBITMQ_PORT=str(free_port()))
    demo.wait()

    assert demo.stop(signal.SIGHUP) == 0, demo.output

    match = re.search(r"data in (\S+)\. Set", demo.output)
    assert match is not None, demo.output
    assert not (Path(match[1]) / "data-18" / "postmaster.pid").exists()


def test_without_a_broker_the_events_are_in_the_log_for_all_to_see(demos: Callable[..., Demo], database: str) -> None:
    demo = demos(DATABASE_URL=database, RABBITMQ_HOST="", DEBUG="True")
    demo.wait()

    walk = demo.walk()

    assert walk.returncode == 0, walk.stdout + walk.stderr
    assert walk.stdout.startswith("RABBITMQ_HOST is empty, so the audit events are not shown")
    demo.stop()
    assert "RabbitMQ: not used, because RABBITMQ_HOST is empty. Audit events are only logged" in demo.output
    assert f"walk.py --url {demo.url} runs the whole flow" in demo.output
    logged = [json.loads(line) for line in demo.output.splitlines() if line.startswith('{"')]
    assert len(logged) == 15
    assert logged[0]["type"] == "ninja-auth-kit.user.registered.v1"


def test_a_note_is_a_line_that_the_database_can_store(demos: Callable[..., Demo], database: str) -> None:
    demo = demos(DATABASE_URL=database, RABBITMQ_HOST="")
    demo.wait()
    ada = {"email": "ada@example.com", "password": "ada likes long passwords"}
    token = answer(demo, "/api/auth/login", ada)[1]["access_token"]

    def status(text: str) -> int:
        return answer(demo, "/api/notes", {"text": text}, token)[0]

    assert status("ü" * 500) == 201
    assert status("ü" * 501) == 422
    for control in ("\x00", "\n", "\x7f", "\ud800"):
        assert status(f"a{control}") == 422


def answer(demo: Demo, path: str, body: dict[str, Any], token: str = "") -> tuple[int, Any]:
    """Send a request, and return the status code and the parsed body."""
    client = http.client.HTTPConnection("127.0.0.1", demo.port, timeout=30)
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    client.request("POST", path, json.dumps(body), headers)
    response = client.getresponse()
    data = response.read()
    client.close()
    return response.status, json.loads(data)


def post(demo: Demo, path: str, body: dict[str, Any]) -> int:
    """Send a request and return the status code."""
    return answer(demo, path, body)[0]


def refused(demo: Demo) -> str:
    """Return the output of a demo that fails to start."""
    assert demo.process.wait(60) == 1
    demo.stop()
    assert "Traceback" not in demo.output, demo.output
    assert demo.output.startswith("The demo cannot start. "), demo.output
    return demo.output


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_taken_port_is_said(demos: Callable[..., Demo], database: str, family: socket.AddressFamily) -> None:
    if family == socket.AF_INET6 and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    with socket.create_server(("127.0.0.1" if family == socket.AF_INET else "::1", 0), family=family) as taken:
        port = str(taken.getsockname()[1])

        assert f"Port {port} is in use. Choose another one: PORT=8001 make demo" in refused(demos(PORT=port))


def has_ipv6() -> bool:
    """Return whether a server can listen on ::1."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def test_a_directory_that_cannot_be_written_to_is_said(demos: Callable[..., Demo], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    output = refused(demos(DEMO_DIRECTORY=str(tmp_path / "file" / "local")))

    assert "is not writable" in output


def test_a_database_that_does_not_answer_is_said(demos: Callable[..., Demo]) -> None:
    output = refused(demos(DATABASE_URL=f"postgres://nobody@127.0.0.1:{free_port()}/nothing"))

    assert "`manage.py migrate` failed:\n\nconnection failed: " in output


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        (
            {"JWT_SECRET_KEY": "short"},
            (
                r"failed:\n\nninja_auth_kit refuses to start: JWT_SECRET_KEY has 5 bytes.*Generate a strong key"
                r".*set JWT_SECRET_KEY to it"
            ),
        ),
        (
            {"BASE_URL": "nowhere"},
            (
                r"failed:\n\n\?: \(ninja_auth_kit\.E003\) .*BASE_URL.* must be a scheme and a host"
                r".*HINT: Correct the value"
            ),
        ),
        ({"RABBITMQ_PORT": "abc"}, r"RABBITMQ_PORT must be a number from 1 to 65535, such as 5672 \(got 'abc'\)\."),
    ],
    ids=["key", "check", "port"],
)
def test_a_setting_that_cannot_be_is_said_with_what_to_do(
    demos: Callable[..., Demo], database: str, variable: dict[str, str], said: str
) -> None:
    output = refused(demos(DATABASE_URL=database, **variable))

    assert re.search(said, output, re.DOTALL), output


@pytest.mark.parametrize("content", ["[]", "{}", '{"SECRET_KEY": 1, "JWT_SECRET_KEY": 2}', "{", ""])
def test_damaged_keys_are_said(demos: Callable[..., Demo], database: str, tmp_path: Path, content: str) -> None:
    (tmp_path / "keys.json").write_text(content)

    output = refused(demos(DATABASE_URL=database))

    assert re.search(r"keys\.json is damaged: .+\. Delete it; the demo then makes new keys\.", output), output


def test_a_running_server_on_the_same_data_is_said_with_the_command_that_stops_it(demos: Callable[..., Demo]) -> None:
    first = demos(RABBITMQ_PORT=str(free_port()))
    first.wait()

    output = refused(demos(RABBITMQ_PORT=str(free_port())))

    said = re.search(r"Another server runs on (\S+), .*`kill -INT (\d+)`", output)
    assert said is not None, output
    assert post(first, "/api/auth/login", {}) == 422
    lock = Path(said[1]) / "postmaster.pid"
    os.kill(int(said[2]), signal.SIGINT)
    deadline = time.monotonic() + 15
    while lock.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not lock.exists()


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the directory of the example, with valid environment variables by default."""
    good = {
        "SECRET_KEY": "x" * 50,
        "JWT_SECRET_KEY": "Zq3vN8wLx2Yc7Rk5Tm9Bp4Hd6Jf1Gs0AeUiOoWyQ",
        "DATABASE_URL": url_of("postgres"),
    }
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=EXAMPLE,
        env={"PATH": os.environ["PATH"], **good, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def manage(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a management command of the example."""
    return run("manage.py", *arguments, **environment)


def test_the_walk_says_that_a_port_is_none() -> None:
    walk = run("walk.py", RABBITMQ_PORT="abc")

    assert walk.returncode == 1
    assert walk.stderr.startswith("The walk cannot start. RABBITMQ_PORT must be a number")


@pytest.mark.parametrize(
    ("variables", "where"),
    [
        ({}, "broker.example 5672 / False"),
        ({"RABBITMQ_VHOST": "audit", "RABBITMQ_TLS": "Yes"}, "broker.example 5671 audit True"),
        ({"RABBITMQ_PORT": "5673", "RABBITMQ_TLS": "0"}, "broker.example 5673 / False"),
        ({"RABBITMQ_HOST": "one.example:5674, two.example"}, "one.example 5674 / False"),
    ],
    ids=["plain", "vhost and tls", "port", "two hosts"],
)
def test_the_walk_listens_where_the_kit_publishes(variables: dict[str, str], where: str) -> None:
    environment = {"RABBITMQ_HOST": "broker.example", **variables}
    walk = "import broker, os; p = broker.parameters(os.environ); tls = p.ssl_options is not None"
    kit = "from ninja_auth_kit.conf import broker; b = broker(); a = b.addresses[0]; tls = b.tls is not None"

    listens = run("-c", f"{walk}; print(p.host, p.port, p.virtual_host, tls)", **environment)
    publishes = manage(
        "shell",
        "-v0",
        "-c",
        f"{kit}; print(a.host, a.port, b.vhost, tls)",
        **environment,
    )

    assert listens.stdout.strip() == publishes.stdout.strip() == where, listens.stderr + publishes.stderr


@pytest.mark.parametrize("value", ["1", "true", "True", "YES", "on"])
def test_a_variable_that_says_yes_is_on(value: str) -> None:
    assert is_on("DEBUG", {"DEBUG": value})


@pytest.mark.parametrize("value", ["", "0", "false", "No", "off"])
def test_a_variable_that_says_anything_else_is_off(value: str) -> None:
    assert not is_on("DEBUG", {"DEBUG": value})
    assert not is_on("DEBUG", {})


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return the commands that `with_services` would run as root on a machine with apt-get."""
    ran: list[list[str]] = []

    def record(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        ran.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(subprocess, "run", record)
    monkeypatch.setattr(with_services, "local", lambda stack: ("127.0.0.1", 5672))
    for name in ("CI", "RABBITMQ_INSTALL"):
        monkeypatch.delenv(name, raising=False)
    return ran


def test_the_tests_install_no_rabbitmq_unasked(commands: list[list[str]]) -> None:
    with ExitStack() as stack:
        assert with_services.packaged(stack) is None

    assert commands == []


@pytest.mark.parametrize("name", ["CI", "RABBITMQ_INSTALL"])
def test_the_tests_say_that_they_install_rabbitmq(
    name: str, commands: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, "true")

    with ExitStack() as stack:
        assert with_services.packaged(stack) == ("127.0.0.1", 5672)

    assert "rabbitmq-server" in commands[-1]
    assert f"Installing rabbitmq-server with apt-get, because {name} is set." in capsys.readouterr().out


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
    lines = (EXAMPLE / "config" / "settings.py").read_text(encoding="utf-8").splitlines()

    assert len(lines) < 140
    first = lines.index("NINJA_AUTH_KIT: AuthKitSettings = {")
    keys = [number for number in range(first, len(lines)) if re.match(r'    "[A-Z_]+": ', lines[number])]
    assert len(keys) >= 5
    assert all(lines[number - 1].strip().startswith("# ") for number in keys)
