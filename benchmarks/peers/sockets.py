"""Measure the authenticated GET over HTTP: gunicorn with two workers and persistent connections."""

import http.client
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

from benchmarks.peers.contender import Request
from benchmarks.peers.contenders import module_of, named
from benchmarks.peers.rounds import Process, new_database, progress
from tests.faults.database import PrivateDatabase
from tests.private_broker import free_port
from tests.servers import ROOT

GUNICORN = "gunicorn --workers 2 --worker-class gthread --threads 2 --no-control-socket --log-level warning"
CONNECTIONS = 4
PATIENCE = 60  # seconds until a server must have answered its first request


class Server:
    """A contender behind gunicorn, and the request that is sent to it."""

    def __init__(self, name: str, port: int) -> None:
        self.name, self.contender, self.port = name, named(name), port
        self.request: Request | None = None

    def log_in(self) -> None:
        """Wait until the server answers, and log in."""
        ends = time.monotonic() + PATIENCE
        while True:
            try:
                status, body = _send(self._connection(), self.contender.login())
                break
            except OSError:
                if time.monotonic() > ends:
                    raise SystemExit(f"gunicorn does not respond for {self.name}.") from None
                time.sleep(0.1)
        self.request = self.contender.get(self.contender.tokens(json.loads(body) if status < 300 else {}))

    def load(self, number: int) -> dict[str, float]:
        """Send requests over all connections; return seconds per request and p99 in milliseconds."""
        share = number // CONNECTIONS
        began = time.perf_counter()
        with ThreadPoolExecutor(CONNECTIONS) as threads:
            times = [one for several in threads.map(self._send_many, [share] * CONNECTIONS) for one in several]
        wall = (time.perf_counter() - began) / len(times)
        return {"wall": wall, "p99": statistics.quantiles(times, n=100)[98] * 1000}

    def _send_many(self, number: int) -> list[float]:
        connection, times = self._connection(), []
        assert self.request is not None
        for _ in range(number):
            began = time.perf_counter()
            status, body = _send(connection, self.request)
            times.append(time.perf_counter() - began)
            if status != 200:
                raise SystemExit(f"{self.name}: {status} {body[:500]!r}")
        connection.close()
        return times

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)


def measure(server: PrivateDatabase, names: list[str], *, rounds: int, number: int = 400) -> dict[str, Any]:
    """Return the rate, the p99 and the ratio to the limit of each contender that uses WSGI."""
    with ExitStack() as stack:
        chosen = [name for name in names if not hasattr(module_of(name), "start")]
        servers = [stack.enter_context(_serving(server, name)) for name in chosen]
        for one in servers:
            one.load(CONNECTIONS * 20)
        found: dict[str, list[dict[str, float]]] = {one.name: [] for one in servers}
        for turn in range(rounds):
            for one in servers[turn % len(servers) :] + servers[: turn % len(servers)]:
                found[one.name].append(one.load(number))
            progress(f"over sockets: round {turn + 1} of {rounds}")
    return {name: _summary(rows, found["limit"]) for name, rows in found.items()}


def _summary(rows: list[dict[str, float]], limits: list[dict[str, float]]) -> dict[str, float]:
    ratios = [row["wall"] / limit["wall"] for row, limit in zip(rows, limits, strict=True)]
    return {
        "rate": 1 / statistics.median(row["wall"] for row in rows),
        "p99": statistics.median(row["p99"] for row in rows),
        "ratio": statistics.median(ratios),
    }


@contextmanager
def _serving(server: PrivateDatabase, name: str) -> Iterator[Server]:
    """Create the database of a contender and serve it."""
    url, port = server.url(new_database(server, "sockets", name)), free_port()
    Process(name, database_url=url, hasher="cheap").end()  # creates the tables and the user
    paths = f"{ROOT}{os.pathsep}{ROOT / 'src'}"
    process = subprocess.Popen(
        [sys.executable, "-m", *GUNICORN.split(), "--bind", f"127.0.0.1:{port}", "benchmarks.peers.wsgi"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": paths, "DATABASE_URL": url, "CONTENDER": name, "PYTHONWARNINGS": "ignore"},
    )
    try:
        serving = Server(name, port)
        serving.log_in()
        progress(f"{serving.contender.title} is served")
        yield serving
    finally:
        process.terminate()
        process.wait(timeout=30)


def _send(connection: http.client.HTTPConnection, request: Request) -> tuple[int, bytes]:
    headers = {**request.headers, **({"Content-Type": "application/json"} if request.data else {})}
    connection.request(request.method, request.path, body=request.data or None, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read()
