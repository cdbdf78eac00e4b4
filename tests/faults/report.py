"""The results of the fault suite: in the terminal, in docs/faults.json, and from there in docs/faults.md."""

import json
import platform
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import django
import pika

from tests.servers import ROOT

PAGE = ROOT / "docs" / "faults.md"
RESULTS = ROOT / "docs" / "faults.json"
_RUNS = re.compile(r"(?<=<!-- runs -->\n).*?(?=<!-- /runs -->)", re.DOTALL)
_FAULTS = re.compile(r"(?<=<!-- faults -->\n).*?(?=<!-- /faults -->)", re.DOTALL)
_COUNTS = (
    "events",
    "received",
    "lost",
    "duplicates",
    "remaining",
    "out of order",
    "uncommitted",
    "p99",
    "worst",
    "seconds",
)
_HEAD = ("#", "fault", *_COUNTS, "notes")


@dataclass
class Row:
    """The result of one case.

    Attributes:
        number: the number of the fault in the list of faults.
        fault: the fault that was introduced.
        figures: the counts, by the name of their column.
        notes: other observations.
        state: "passed", "FAILED" or "not run".
    """

    number: int
    fault: str
    figures: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    state: str = "FAILED"
    begun: float = field(default_factory=time.monotonic)

    def cells(self) -> list[str]:
        """Return the row as text."""
        notes = [*([] if self.state == "passed" else [self.state]), *self.notes]
        figures = [self.figures.get(name, "") for name in _COUNTS]
        return [str(self.number), self.fault, *figures, "; ".join(notes)]


@dataclass
class Report:
    """All rows, and the software versions of the run."""

    rows: list[Row] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)

    def lines(self) -> list[str]:
        """Return the table for a terminal."""
        table = [list(_HEAD), *(row.cells() for row in self._sorted())]
        widths = [max(len(cells[column]) for cells in table) for column in range(len(_HEAD) - 1)]
        return [
            "  ".join([*(_aligned(cell, width) for cell, width in zip(cells, widths, strict=False)), cells[-1]])
            for cells in table
        ] + ["", self.summary()]

    def summary(self) -> str:
        """Return a sentence with the number of cases, by result."""
        count = {state: sum(row.state == state for row in self.rows) for state in ("passed", "FAILED", "not run")}
        minutes = (time.monotonic() - self.begun) / 60
        total = f"{len(self.rows)} cases in {minutes:.0f} minutes: {count['passed']} as expected"
        return f"{total}, {count['FAILED']} not as expected, {count['not run']} not run."

    def write(self, version: str) -> None:
        """Add the results to those of other runs, and write them into the page.

        A run can be one of some files, or with another RabbitMQ. It replaces the results of the same faults with the
        same RabbitMQ.

        Args:
            version: that of RabbitMQ.
        """
        results = Results(json.loads(RESULTS.read_text()) if RESULTS.exists() else {})
        results.add(version, self.rows, software=self._software())
        RESULTS.write_text(json.dumps(results.runs, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
        page = _RUNS.sub(lambda _: results.list_of_runs(), PAGE.read_text())
        PAGE.write_text(_FAULTS.sub(lambda _: results.table(), page))

    def _software(self) -> str:
        versions = {"Python": platform.python_version(), "Django": django.get_version(), "pika": pika.__version__}
        return ", ".join(f"{name} {version}" for name, version in {**self.versions, **versions}.items())

    def _sorted(self) -> list[Row]:
        return sorted(self.rows, key=lambda row: row.number)


def _aligned(cell: str, width: int) -> str:
    return cell.rjust(width) if cell[:1].isdigit() else cell.ljust(width)


@dataclass
class Results:
    """The last result of each fault with each RabbitMQ.

    Attributes:
        runs: by the version of RabbitMQ, then by the number and the name of the fault.
    """

    runs: dict[str, dict[str, dict[str, Any]]]

    def add(self, version: str, rows: Iterable[Row], *, software: str) -> None:
        """Replace the results of the faults that a run had."""
        date = time.strftime("%Y-%m-%d")
        of_version = self.runs.setdefault(version, {})
        for row in rows:
            of_version[f"{row.number:02} {row.fault}"] = {
                "cells": row.cells(),
                "state": row.state,
                "date": date,
                "software": software,
            }

    def list_of_runs(self) -> str:
        """Return the table of the versions, for the page."""
        lines = [
            "| RabbitMQ | date | cases | as expected | not as expected | not run | with |",
            "|---|---|--:|--:|--:|--:|---|",
        ]
        for version, found in sorted(self.runs.items(), key=lambda run: _sortable(run[0])):
            states = [one["state"] for one in found.values()]
            counts = [len(states), *(states.count(state) for state in ("passed", "FAILED", "not run"))]
            latest = max(found.values(), key=lambda one: str(one["date"]))
            lines.append(f"| {version} | {latest['date']} | {' | '.join(map(str, counts))} | {latest['software']} |")
        return "\n".join([*lines, ""])

    def table(self) -> str:
        """Return the figures of each fault with the newest RabbitMQ that it was run with, for the page."""
        newest: dict[str, tuple[str, dict[str, Any]]] = {}
        for version, found in sorted(self.runs.items(), key=lambda run: _sortable(run[0])):
            newest |= {fault: (version, result) for fault, result in found.items()}
        rule = "|" + "|".join("---" if name in {"fault", "notes"} else "--:" for name in _HEAD) + "|---|"
        lines = ["| " + " | ".join([*_HEAD, "RabbitMQ"]) + " |", rule]
        lines += [
            "| " + " | ".join([*result["cells"], version]) + " |" for _, (version, result) in sorted(newest.items())
        ]
        return "\n".join([*lines, ""])


def _sortable(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]
