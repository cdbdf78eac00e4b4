"""Measure what a million users cost: each operation with few and with many users, and a purge."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

from benchmarks.peers import crowds, fresh
from benchmarks.peers.rounds import OPERATIONS, REQUESTS, Process, new_database, progress
from tests.faults.database import PrivateDatabase

SMALL, LARGE = 10_000, 1_000_000
LOGINS, MOST_LOGINS = 200, 100_000  # before a purge, and at most during it


def measure(server: PrivateDatabase, names: list[str], *, rounds: int, large: int = LARGE) -> dict[str, Any]:
    """Return the cost of each operation with many users, as a multiple, and of the purge."""
    found: dict[str, Any] = {"growth": {}, "purge": {}}
    for name in [name for name in names if name in crowds.BESIDE]:
        with ExitStack() as stack:
            small, _ = stack.enter_context(_among(server, name, SMALL))
            big, url = stack.enter_context(_among(server, name, large))
            found["growth"][name] = {
                operation: _multiple(small, big, operation, rounds=rounds)
                for operation in OPERATIONS
                if operation in big.about["offers"]
            }
            if big.about["purges"]:
                found["purge"][name] = _purge(server, big, url)
    return found


@contextmanager
def _among(server: PrivateDatabase, name: str, rows: int) -> Iterator[tuple[Process, str]]:
    """Start a contender whose tables hold this many users and have been vacuumed and analyzed."""
    database = new_database(server, f"crowd_{rows}", name)
    url = server.url(database)
    process = Process(name, database_url=url, hasher="cheap")
    try:
        progress(f"{process.about['title']}: {rows:,} users")
        for statement in (*crowds.statements(name, rows), "VACUUM ANALYZE", "CHECKPOINT"):
            server.execute(statement, name=database)
        yield process, url
    finally:
        process.end()
        server.drop(database)


def _multiple(small: Process, big: Process, operation: str, *, rounds: int) -> float:
    """Return the median ratio of the time with many users to the time with few."""
    found = []
    for turn in range(rounds):
        first, second = (small, big) if turn % 2 else (big, small)
        walls = {one: one.ask(operation, REQUESTS[operation])["wall"] for one in (first, second)}
        found.append(walls[big] / walls[small])
    return statistics.median(found)


def _purge(server: PrivateDatabase, busy: Process, url: str) -> dict[str, float]:
    """Purge in another process while the contender handles logins; return the figures of both."""
    purge = fresh.process(busy.name, "purge", database_url=url)
    assert purge.stdin is not None
    assert purge.stdout is not None
    if purge.stdout.readline() != "ready\n":
        raise SystemExit(f"The purge of {busy.name} failed. Its output is above.")
    before, deleted = _logins(busy, lambda taken: taken < LOGINS), _deleted(server, url)
    purge.stdin.write("go\n")
    purge.stdin.flush()
    meanwhile = _logins(busy, lambda _: purge.poll() is None)
    figures = fresh.result_of(purge)
    progress(f"{busy.about['title']}: purged")
    return {**figures, "rows": _deleted(server, url) - deleted, "before": before, "meanwhile": meanwhile}


def _logins(busy: Process, go_on: Callable[[int], bool]) -> float:
    """Log in repeatedly and return the 95th percentile in milliseconds."""
    walls: list[float] = []
    while len(walls) < 2 or (go_on(len(walls)) and len(walls) < MOST_LOGINS):
        walls.append(busy.ask("login", 1)["wall"] / 1000)
    return statistics.quantiles(walls, n=20)[18]


def _deleted(server: PrivateDatabase, url: str) -> int:
    """Return how many rows have been deleted in a database.

    A session reports its statistics when it ends, or after a second.
    """
    time.sleep(1.5)
    name = urlsplit(url).path.lstrip("/")
    return int(str(server.execute(f"SELECT tup_deleted FROM pg_stat_database WHERE datname = '{name}'")[0][0]))
