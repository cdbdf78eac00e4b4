"""Measure the start of a web worker in new processes: time, memory and modules."""

import statistics
from typing import Any

from benchmarks.peers import fresh
from benchmarks.peers.contenders import module_of
from benchmarks.peers.rounds import progress


def measure(names: list[str], *, database_url: str, rounds: int) -> dict[str, Any]:
    """Return the medians of the contenders that are Django projects, each started once per round."""
    chosen = [name for name in names if not hasattr(module_of(name), "start")]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in chosen}
    for turn in range(rounds):
        for name in chosen:
            found[name].append(fresh.result_of(fresh.process(name, "start", database_url=database_url)))
        progress(f"start: round {turn + 1} of {rounds}")
    return {
        name: {key: statistics.median(row[key] for row in rows) for key in rows[0]} for name, rows in found.items()
    }
