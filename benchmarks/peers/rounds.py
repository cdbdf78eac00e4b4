"""Run the contenders in turn, each in its own process, and compare them within each round."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.peers.proxy import Proxy
from tests.faults.database import PrivateDatabase
from tests.servers import ROOT

OPERATIONS = ("get", "refresh", "logout", "login")
PATHS = f"{ROOT}{os.pathsep}{ROOT / 'src'}"
REQUESTS = {"get": 200, "refresh": 80, "logout": 50, "login": 50}  # per turn


class Process:
    """A contender in its own process, which waits for its turns."""

    def __init__(self, name: str, *, database_url: str, hasher: str, **environment: str) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "benchmarks.peers.worker", name, hasher],
            cwd=ROOT,
            env={**os.environ, **environment, "PYTHONPATH": PATHS, "DATABASE_URL": database_url},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.about = self._answer()

    def ask(self, operation: str, number: int) -> dict[str, Any]:
        """Return the times of `number` requests, or the counts of one request if `number` is 0."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([operation, number]) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def end(self) -> None:
        """Close the process's input, which ends it, and wait."""
        self._process.communicate(timeout=30)

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} failed. Its output is above.")
        return dict(json.loads(line))


def new_database(server: PrivateDatabase, purpose: str, name: str) -> str:
    """Create an empty database for a contender and return its name."""
    database = f"{purpose}_{name.replace('-', '_')}"
    server.execute(f"CREATE DATABASE {database}")
    return database


@contextmanager
def processes(
    server: PrivateDatabase, names: list[str], *, hasher: str, proxy: Proxy | None = None
) -> Iterator[list[Process]]:
    """Start the contenders, each with its own database, if wanted behind a proxy."""
    started = []
    purpose = f"bench_{hasher}" if proxy is None else f"distance_{proxy.port}"
    url_of = server.url if proxy is None else proxy.url
    environment = {} if proxy is None else {"ROUND_TRIPS": str(proxy.counter_file)}
    try:
        for name in names:
            url = url_of(new_database(server, purpose, name))
            started.append(Process(name, database_url=url, hasher=hasher, **environment))
            progress(f"{started[-1].about['title']} is ready")
        yield started
    finally:
        for process in started:
            process.end()


def measure(
    contenders: list[Process], operation: str, *, rounds: int, scale: float = 1, limit: str = "limit"
) -> dict[str, dict[str, float]]:
    """Return wall and processor time of an operation, and the median of its ratios to the limit."""
    taking = [one for one in contenders if operation in one.about["offers"]]
    number = max(5, int(REQUESTS[operation] * scale))
    found: dict[str, list[dict[str, float]]] = {one.name: [] for one in taking}
    for turn in range(rounds):
        for one in taking[turn % len(taking) :] + taking[: turn % len(taking)]:
            found[one.name].append(one.ask(operation, number))
        progress(f"{operation}: round {turn + 1} of {rounds}")
    return {name: _summary(rows, found.get(limit)) for name, rows in found.items()}


def count(contenders: list[Process]) -> dict[str, dict[str, dict[str, int]]]:
    """Return statements, transaction statements and function calls of each operation.

    Raises:
        SystemExit: if a contender sends a different number of statements than
            `Contender.statements` says.
    """
    found = {
        one.name: {operation: one.ask(operation, 0) for operation in OPERATIONS if operation in one.about["offers"]}
        for one in contenders
    }
    for one in contenders:
        sent = {name: [said["statements"], said["transactions"]] for name, said in found[one.name].items()}
        if sent != one.about["statements"]:
            raise SystemExit(
                f"{one.name} is misconfigured: it sends {sent} statements instead of {one.about['statements']}."
            )
    return found


def _summary(rows: list[dict[str, float]], limits: list[dict[str, float]] | None) -> dict[str, float]:
    said = {key: statistics.median(row[key] for row in rows) for key in ("wall", "cpu")}
    said["least"] = min(row["wall"] for row in rows)
    if "trips" in rows[0]:
        said["trips"] = statistics.median(row["trips"] for row in rows)
    if limits is not None:
        said["ratio"] = statistics.median(row["wall"] / limit["wall"] for row, limit in zip(rows, limits, strict=True))
        said["cpu_ratio"] = statistics.median(
            row["cpu"] / limit["cpu"] for row, limit in zip(rows, limits, strict=True)
        )
    return said


def progress(line: str) -> None:
    """Print the progress."""
    print(line, file=sys.stderr, flush=True)
