"""Measure the start of a web worker in new processes: time, memory and modules."""

import statistics
from typing import Any

from benchmarks.peers import fresh
from benchmarks.peers.contenders import module_of
from benchmarks.peers.rounds import progress

WITH_NINJA = ("floor", "limit", "ninja-jwt", "allauth-jwt", "kit")  # they share the first parts of a start


def measure(names: list[str], *, database_url: str, rounds: int) -> dict[str, Any]:
    """Return the medians of the contenders that are Django projects, each started once per round.

    With the floor among them, also the medians of the ratios of its time and processor time to the floor's.
    """
    chosen = [name for name in names if not hasattr(module_of(name), "start")]
    found = _rounds(chosen, "start", database_url=database_url, rounds=rounds)
    for rows in found.values() if "floor" in found else ():
        for row, floor in zip(rows, found["floor"], strict=True):
            row["ratio"], row["cpu_ratio"] = row["seconds"] / floor["seconds"], row["cpu"] / floor["cpu"]
    return {name: _medians(rows) for name, rows in found.items()}


def measure_parts(names: list[str], *, database_url: str, rounds: int) -> dict[str, Any]:
    """Return what each part of the start adds, for the contenders that use Django Ninja."""
    chosen = [name for name in WITH_NINJA if name in names]
    found = _rounds(chosen, "parts", database_url=database_url, rounds=rounds)
    return {name: {part: _medians([row[part] for row in rows]) for part in rows[0]} for name, rows in found.items()}


def _rounds(names: list[str], work: str, *, database_url: str, rounds: int) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {name: [] for name in names}
    for name in names:  # Python compiles modules at their first import
        fresh.result_of(fresh.process(name, work, database_url=database_url))
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            found[name].append(fresh.result_of(fresh.process(name, work, database_url=database_url)))
        progress(f"{work}: round {turn + 1} of {rounds}")
    return found


def _medians(rows: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(row[key] for row in rows) for key in rows[0]}
