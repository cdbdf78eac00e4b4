"""Measure the operations with the database at a distance: time and exact round trips."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.peers import rounds
from benchmarks.peers.proxy import Proxy, delay_of, proxy_to
from tests.faults.database import PrivateDatabase

DISTANCES = (0.5, 2.0)  # milliseconds of a round trip
SCALE = 0.25  # of the requests per turn: each takes much longer


def measure(server: PrivateDatabase, names: list[str], *, turns: int, scale: float = 1) -> dict[str, Any]:
    """Return for each distance the measured delay, and the figures of each operation."""
    found = {}
    for distance in DISTANCES:
        with _proxy_at(server, distance) as (proxy, delay):
            rounds.progress(f"distance: {distance:g} ms; SELECT 1 takes {delay:.2f} ms longer through the proxy")
            with rounds.processes(server, names, hasher="cheap", proxy=proxy) as contenders:
                operations = {
                    one: rounds.measure(contenders, one, rounds=turns, scale=SCALE * scale)
                    for one in rounds.OPERATIONS
                }
        found[f"{distance:g}"] = {"delay": delay, "operations": operations}
    return found


@contextmanager
def _proxy_at(server: PrivateDatabase, distance: float) -> Iterator[tuple[Proxy, float]]:
    """Start a proxy that adds so many milliseconds with its own work, and measure them."""
    with proxy_to(server.socket, seconds=0) as proxy:
        own = delay_of(proxy, server.url("postgres"))
    with proxy_to(server.socket, seconds=max(0, distance - own) / 1000) as proxy:
        yield proxy, delay_of(proxy, server.url("postgres"))
