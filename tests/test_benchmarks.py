"""The parts of `make bench` that do not measure: its proxy, its client, and what it writes."""

import json
import shutil
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.peers import __main__ as command
from benchmarks.peers import results
from benchmarks.peers.contender import Request
from benchmarks.peers.load import Load, bytes_of, response_in
from benchmarks.peers.proxy import Counter, proxy_to
from benchmarks.peers.under_asgi import ConnectionLog
from benchmarks.peers.variants import MOST_CONNECTIONS, VARIANTS, as_user
from tests.servers import ROOT

pytestmark = [pytest.mark.one_django, pytest.mark.one_user_model]

VERSIONS = {"Python": "3.99"}


@pytest.fixture
def docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the files that the benchmark writes."""
    copy = tmp_path / "docs"
    (copy / "images").mkdir(parents=True)
    for name in ("performance.md", "performance.json"):
        shutil.copy(ROOT / "docs" / name, copy / name)
    monkeypatch.setattr(command, "DOCS", copy)
    return copy


def run(monkeypatch: pytest.MonkeyPatch, measure: Any, *arguments: str) -> None:
    """Run the command with a function in place of the measurement."""
    monkeypatch.setattr(command, "measure", measure)
    monkeypatch.setattr("sys.argv", ["benchmarks.peers", *arguments])
    monkeypatch.setattr("signal.signal", lambda *_: None)  # it would remain for other tests
    command.main()


def test_the_page_is_the_one_of_the_stored_figures(docs: Path) -> None:
    before = (docs / "performance.md").read_text(encoding="utf-8")

    results.write(results.read(docs), docs)

    assert (docs / "performance.md").read_text(encoding="utf-8") == before
    for plot in (docs / "images").iterdir():
        assert plot.read_text() == (ROOT / "docs" / "images" / plot.name).read_text()


def test_a_partial_run_replaces_its_own_table_and_keeps_the_others(
    docs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = results.read(docs)
    figures = {"kit": {"ratio": 1.2, "cpu_ratio": 1.1, "seconds": 0.123, "memory": 45, "modules": 678}}

    run(monkeypatch, lambda _: ({"start": figures}, VERSIONS), "--tables", "start")

    new = results.read(docs)
    assert new["start"] == figures
    assert new["growth"] == old["growth"]
    assert new["measured"]["growth"] == old["measured"]["growth"]
    assert new["measured"]["start"] == {"date": time.strftime("%Y-%m-%d"), "versions": VERSIONS}
    page = (docs / "performance.md").read_text(encoding="utf-8")
    assert "| **ninja_auth_kit** | 1.20 | 1.10 | 123 | 678 | 45 |" in page
    assert f"- `start` ({time.strftime('%Y-%m-%d')}): Python 3.99\n" in page
    assert capsys.readouterr().out.rstrip("\n") == page.rstrip("\n")


def test_an_interrupted_run_says_so_and_writes_nothing(docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {file: file.read_bytes() for file in docs.rglob("*") if file.is_file()}

    def interrupted(_: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit, match=r"^Interrupted\. No file was written\.$"):
        run(monkeypatch, interrupted)

    assert {file: file.read_bytes() for file in docs.rglob("*") if file.is_file()} == before


def test_results_that_cannot_be_rendered_leave_every_file_as_it_was(docs: Path) -> None:
    before = {file: file.read_bytes() for file in docs.rglob("*") if file.is_file()}

    with pytest.raises(KeyError):
        results.write({**results.read(docs), "start": {"kit": {}}}, docs)

    assert {file: file.read_bytes() for file in docs.rglob("*") if file.is_file()} == before


def test_the_figures_of_some_contenders_only_are_not_written(docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (docs / "performance.json").read_bytes()
    figures = {"about": results.read(docs)["about"], "start": {"kit": {"seconds": 1, "memory": 2, "modules": 3}}}

    run(monkeypatch, lambda _: (figures, VERSIONS), "--tables", "start", "--only", "kit")

    assert (docs / "performance.json").read_bytes() == before


def test_json_is_the_content_of_the_file(
    docs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = {"start": {"kit": {"seconds": 1, "memory": 2, "modules": 3}}}

    run(monkeypatch, lambda _: (figures, VERSIONS), "--tables", "start", "--json")

    assert json.loads(capsys.readouterr().out) == json.loads((docs / "performance.json").read_text())


class Echo(socketserver.BaseRequestHandler):
    """Send back what arrives."""

    def handle(self) -> None:
        while data := self.request.recv(1024):
            self.request.sendall(data)


@pytest.fixture
def echo(tmp_path: Path) -> Iterator[Path]:
    """Serve a Unix socket that sends back what arrives."""
    path = tmp_path / "echo"
    with socketserver.ThreadingUnixStreamServer(str(path), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield path
        server.shutdown()
        thread.join()


def exchange(connection: socket.socket, *messages: bytes) -> bytes:
    """Send messages without waiting in between, and return as many bytes of the response."""
    for message in messages:
        connection.sendall(message)
    wanted, received = sum(map(len, messages)), b""
    while len(received) < wanted:
        received += connection.recv(1024)
    return received


def test_the_proxy_counts_a_round_trip_each_time_the_client_sends_after_a_response(echo: Path) -> None:
    with proxy_to(echo, seconds=0.4) as proxy:
        trips = Counter(proxy.counter_file)
        with socket.create_connection(("127.0.0.1", proxy.port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            assert exchange(connection, b"one") == b"one"
            assert trips.read() == 1
            # Without waiting: one round trip.
            assert exchange(connection, b"two", b"three", b"four") == b"twothreefour"
            assert trips.read() == 2
            assert exchange(connection, b"five") == b"five"
            assert trips.read() == 3


def test_the_proxy_counts_the_round_trips_of_all_connections(echo: Path) -> None:
    with proxy_to(echo, seconds=0) as proxy:
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", proxy.port)) as connection:
                exchange(connection, b"hello")

        assert Counter(proxy.counter_file).read() == 3


def test_the_proxy_delays_a_round_trip(echo: Path) -> None:
    with proxy_to(echo, seconds=0.2) as proxy, socket.create_connection(("127.0.0.1", proxy.port)) as connection:
        began = time.perf_counter()
        exchange(connection, b"hello")

        assert 0.2 <= time.perf_counter() - began < 2


def test_the_client_of_the_server_closes_the_connection_to_it(echo: Path) -> None:
    with proxy_to(echo, seconds=0) as proxy, socket.create_connection(("127.0.0.1", proxy.port)) as connection:
        exchange(connection, b"hello")
        connection.shutdown(socket.SHUT_WR)

        assert connection.recv(1024) == b""


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody", (200, b"body")),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbod", None),
        (b"HTTP/1.1 200 OK\r\nContent-Le", None),
        (b"HTTP/1.1 204 No Content\r\n\r\n", (204, b"")),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n2\r\n!!\r\n0\r\n\r\n", (200, b"body!!")),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n", None),
    ],
)
def test_the_client_knows_when_a_response_is_complete(data: bytes, answer: tuple[int, bytes] | None) -> None:
    assert response_in(data) == answer


def test_the_client_sends_json_and_forms() -> None:
    assert bytes_of(Request("POST", "/a", {"b": "c"})).endswith(b"Content-Length: 10\r\n\r\n" + b'{"b": "c"}')
    form = bytes_of(Request("POST", "/a", {"b": "c d"}, is_form=True))
    assert b"Content-Type: application/x-www-form-urlencoded" in form
    assert form.endswith(b"\r\n\r\nb=c+d")


class Who(BaseHTTPRequestHandler):
    """The view of the floor, which counts connections and requests."""

    protocol_version = "HTTP/1.1"
    connections = requests = 0

    def setup(self) -> None:
        super().setup()
        type(self).connections += 1

    def do_GET(self) -> None:
        type(self).requests += 1
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_the_client_repeats_requests_on_the_connections_that_it_keeps() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Who) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        load = Load()
        load.prepare(variant="floor", port=server.server_port, connections=4)
        figures = load.run(number=200)
        server.shutdown()
        thread.join()

    assert figures["requests"] == 200
    assert 0 < figures["p50"] <= figures["p99"]
    assert (Who.connections, Who.requests) == (4, 204)  # each user has logged in


def test_no_two_variants_log_in_as_the_same_user() -> None:
    first = [variant.first_user for variant in VARIANTS.values()]
    assert all(after - before >= MOST_CONNECTIONS for before, after in pairwise(first))

    request = as_user(Request("POST", "/login", {"email": "ada@example.com", "username": "ada", "password": "x"}), 7)

    assert request.body == {"email": "ada7@example.com", "username": "ada7", "password": "x"}


def test_only_the_connections_to_a_database_since_a_position_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "server.log"
    line = "LOG:  connection authorized: user=postgres database={} application_name=x\n"
    file.write_text(line.format("asgi_kit"))
    log: Any = ConnectionLog(SimpleNamespace(home=tmp_path))  # type: ignore[arg-type]
    since = log.position()
    with file.open("a") as more:
        more.write(line.format("asgi_kit") * 2 + line.format("asgi_kit_other") + "LOG:  checkpoint\n")

    assert log.opened("asgi_kit", since=since) == 2
