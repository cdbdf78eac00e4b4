"""What a million users cost: each operation beside a small crowd and a large one, and purging what has expired."""

import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from benchmarks.peers import crowds, once
from benchmarks.peers.rounds import OPERATIONS, REQUESTS, Process, new_database, progress
from tests.faults.database import PrivateDatabase

SMALL, LARGE = 10_000, 1_000_000


def measure(server: PrivateDatabase, names: list[str], *, rounds: int, large: int = LARGE) -> dict[str, Any]:
    """Return what each operation costs beside the large crowd, as a multiple, and what the purge takes there."""
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
                found["purge"][name] = _purge(big, url)
    return found


@contextmanager
def _among(server: PrivateDatabase, name: str, rows: int) -> Iterator[tuple[Process, str]]:
    """Start a contender whose tables have so many users, as they are after a while: analysed, and with no news."""
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
    """Return the median, over the rounds, of the time beside the large crowd by that beside the small one."""
    found = []
    for turn in range(rounds):
        first, second = (small, big) if turn % 2 else (big, small)
        walls = {one: one.ask(operation, REQUESTS[operation])["wall"] for one in (first, second)}
        found.append(walls[big] / walls[small])
    return statistics.median(found)


def _purge(busy: Process, url: str) -> dict[str, float]:
    """Delete what has expired in a process of its own, while the contender takes logins; return what both took."""
    usual = max(busy.ask("login", 1)["wall"] for _ in range(100))
    purge = once.process(busy.name, "purge", database_url=url)
    slowest, ends = 0.0, time.monotonic() + 600
    while purge.poll() is None and time.monotonic() < ends:
        slowest = max(slowest, busy.ask("login", 1)["wall"])
    figures = once.result_of(purge)
    progress(f"{busy.about['title']}: purged")
    return {**figures, "usual_login": usual / 1000, "slowest_login": slowest / 1000}
