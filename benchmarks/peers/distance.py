"""Measure the operations with the database at a distance: time and exact round trips."""

from typing import Any

from benchmarks.peers import rounds
from benchmarks.peers.proxy import delay_of, proxy_to
from tests.faults.database import PrivateDatabase

DISTANCES = (0.5, 2.0)  # milliseconds of a round trip
SCALE, TIMES = 0.1, 3  # many short rounds: what is compared is measured within a second or two


def measure(server: PrivateDatabase, names: list[str], *, turns: int, scale: float = 1) -> dict[str, Any]:
    """Return for each distance the measured delay, and the figures of each operation."""
    found = {}
    for distance in DISTANCES:
        with proxy_to(server.socket, seconds=distance / 1000) as proxy:
            delay = delay_of(proxy, server.url("postgres"))
            rounds.progress(f"distance: {distance:g} ms; SELECT 1 takes {delay:.2f} ms longer through the proxy")
            with rounds.processes(server, names, hasher="cheap", proxy=proxy) as contenders:
                operations = {
                    one: rounds.measure(contenders, one, rounds=turns * TIMES, scale=SCALE * scale)
                    for one in rounds.OPERATIONS
                }
        found[f"{distance:g}"] = {"delay": delay, "operations": operations}
    return found
