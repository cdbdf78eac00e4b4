"""Measure requests over sockets behind uvicorn and granian, in turns, and the memory after many of them."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from benchmarks.peers.contenders import module_of
from benchmarks.peers.rounds import Process, new_database, progress
from benchmarks.peers.serving import Served, serve
from benchmarks.peers.variants import FLOOR, MOST_CONNECTIONS, VARIANTS, copies_of_the_user
from tests.faults.database import PrivateDatabase
from tests.servers import ROOT

CONNECTIONS = (8, MOST_CONNECTIONS)
SECONDS, FIRST_SECONDS = 1.0, 0.3  # of a turn, and of the first, which is not counted
# The measurement of memory: its variants, and how many requests of each.
MEMORY = (FLOOR, "kit", "kit-refresh", "ninja-jwt", "allauth-jwt", "fastapi-users")
WARM_UP, MANY, BATCH = 2_000, 50_000, 5_000


@dataclass(frozen=True)
class Setup:
    """A server, the number of its processes, and whether Django has a pool of connections."""

    program: str
    workers: int
    has_pool: bool = False

    @property
    def title(self) -> str:
        """Return the name in the tables."""
        processes = "one worker" if self.workers == 1 else "two workers"
        return f"{self.program}, {processes}{', pool' if self.has_pool else ''}"


SETUPS = (
    Setup("uvicorn", 1),
    Setup("uvicorn", 2),
    Setup("granian", 1),
    Setup("granian", 2),
    Setup("uvicorn", 1, has_pool=True),
)


class Client:
    """The process that sends the requests."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "benchmarks.peers.load"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, work: str, **options: Any) -> None:
        """Start a job."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([work, options]) + "\n")
        self._process.stdin.flush()

    def result(self) -> dict[str, float]:
        """Wait for the job and return its figures."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("The client failed. Its output is above.")
        return dict(json.loads(line))

    def do(self, work: str, **options: Any) -> dict[str, float]:
        """Do a job and return its figures."""
        self.start(work, **options)
        return self.result()

    def end(self) -> None:
        """End the process."""
        self._process.communicate(timeout=30)


class ConnectionLog:
    """The connections that PostgreSQL has authorized, as its log lists them."""

    def __init__(self, server: PrivateDatabase) -> None:
        self._file = server.home / "server.log"

    def position(self) -> int:
        """Return where the log ends."""
        return self._file.stat().st_size

    def opened(self, database: str, *, since: int) -> int:
        """Return how many connections to a database were opened since a position."""
        with self._file.open("rb") as log:
            log.seek(since)
            wanted = f"database={database}".encode()
            return sum(b"connection authorized" in line and wanted in line.split() for line in log)


@contextmanager
def logged_connections(server: PrivateDatabase) -> Iterator[ConnectionLog]:
    """Let PostgreSQL log each new connection."""
    server.execute("ALTER SYSTEM SET log_connections = 'authorization'")
    server.execute("SELECT pg_reload_conf()")
    try:
        yield ConnectionLog(server)
    finally:
        server.execute("ALTER SYSTEM RESET log_connections")
        server.execute("SELECT pg_reload_conf()")


def measure(server: PrivateDatabase, names: list[str], *, turns: int, quick: bool) -> dict[str, Any]:
    """Return the figures of each variant, by the setup and the number of connections."""
    chosen = chosen_variants(names)
    urls = _databases(server, chosen)
    setups = (SETUPS[0], SETUPS[-1]) if quick else SETUPS
    found: dict[str, Any] = {}
    with logged_connections(server) as log:
        for setup in setups:
            variants = [name for name in chosen if not (setup.has_pool and _has_its_own_pool(name))]
            with ExitStack() as stack:
                served = {
                    contender: stack.enter_context(
                        serve(
                            contender,
                            program=setup.program,
                            workers=setup.workers,
                            database_url=urls[contender],
                            has_pool=setup.has_pool,
                        )
                    )
                    for contender in {VARIANTS[name].contender: None for name in variants}
                }
                found[setup.title] = {
                    str(connections): Cell(setup, connections, served, urls, log).measure(variants, turns)
                    for connections in CONNECTIONS
                }
    return found


def chosen_variants(names: list[str]) -> list[str]:
    """Return the variants of these contenders, and the floor."""
    return [name for name, one in VARIANTS.items() if name == FLOOR or one.contender.removeprefix("asgi-") in names]


def _has_its_own_pool(variant: str) -> bool:
    return hasattr(module_of(VARIANTS[variant].contender), "start")


def _databases(server: PrivateDatabase, variants: list[str]) -> dict[str, str]:
    """Create the databases of the contenders, with many users, and return the URLs."""
    urls = {}
    for contender in {VARIANTS[name].contender: None for name in variants}:
        database = new_database(server, "asgi", contender)
        urls[contender] = server.url(database)
        Process(contender, database_url=urls[contender], hasher="cheap").end()  # creates the tables and the user
        for statement in (*copies_of_the_user(contender), "VACUUM ANALYZE"):
            server.execute(statement, name=database)
    return urls


@dataclass(frozen=True)
class Cell:
    """A server with a number of connections, at which the variants take turns."""

    setup: Setup
    connections: int
    served: dict[str, Served]
    urls: dict[str, str]
    log: ConnectionLog

    def measure(self, variants: list[str], turns: int) -> dict[str, dict[str, float]]:
        """Return the medians of the figures of each variant, and of its ratios to the floor."""
        rows: dict[str, list[dict[str, float]]] = {name: [] for name in variants}
        client = Client()
        try:
            for name in variants:
                self._turn(client, name, FIRST_SECONDS)
            for turn in range(turns):
                for name in variants[turn % len(variants) :] + variants[: turn % len(variants)]:
                    rows[name].append(self._turn(client, name, SECONDS))
                progress(f"{self.setup.title}, {self.connections} connections: round {turn + 1} of {turns}")
        finally:
            client.end()
        return {name: summary(found, rows[FLOOR]) for name, found in rows.items()}

    def _turn(self, client: Client, name: str, seconds: float) -> dict[str, float]:
        contender = VARIANTS[name].contender
        served, database = self.served[contender], urlsplit(self.urls[contender]).path.lstrip("/")
        client.do("prepare", variant=name, port=served.port, connections=self.connections)
        since, processor = self.log.position(), served.processor_time()
        client.start("run", seconds=seconds)
        time.sleep(seconds / 2)
        threads = served.threads()
        found = client.result()
        opened = self.log.opened(database, since=since)
        return {
            **found,
            "cpu": (served.processor_time() - processor) * 1000 / found["requests"],
            "opened": opened * 1000 / found["requests"],
            "threads": threads,
        }


def summary(rows: list[dict[str, float]], floors: list[dict[str, float]]) -> dict[str, float]:
    """Return the medians of rounds, and of the ratios to the floor of the same round."""
    pairs = list(zip(rows, floors, strict=True))
    return {key: statistics.median(row[key] for row in rows) for key in rows[0]} | {
        "ratio": statistics.median(row["rate"] / floor["rate"] for row, floor in pairs),
        "cpu_ratio": statistics.median(row["cpu"] / floor["cpu"] for row, floor in pairs if floor["cpu"]),
    }


def measure_memory(server: PrivateDatabase, names: list[str], *, quick: bool) -> dict[str, dict[str, float]]:
    """Return the memory in MB of uvicorn with one worker, before and after many requests of each variant."""
    chosen = [name for name in chosen_variants(names) if name in MEMORY]
    many = BATCH if quick else MANY
    urls = _databases(server, chosen)
    found = {}
    for name in chosen:
        contender, client = VARIANTS[name].contender, Client()
        with serve(contender, program="uvicorn", workers=1, database_url=urls[contender]) as served:
            try:
                found[name] = _growth_of(client, name, served, many)
            finally:
                client.end()
        progress(f"memory: {VARIANTS[name].title}, {VARIANTS[name].operation}: {found[name]}")
    return found


def _growth_of(client: Client, name: str, served: Served, many: int) -> dict[str, float]:
    def send(number: int) -> None:
        client.do("prepare", variant=name, port=served.port, connections=CONNECTIONS[0])
        client.do("run", number=number)

    send(WARM_UP)
    before = served.memory()
    for _ in range(many // BATCH):
        send(BATCH)
    return {"before": before, "after": served.memory()}
