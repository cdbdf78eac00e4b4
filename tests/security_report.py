"""Report for each requirement of `docs/security-audit.md` how many of its tests passed.

`pytest -m security` prints the report.
"""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "security-audit.md"
OTHER_SETTINGS = "for other settings"
_ID = re.compile(r"[A-Z]+-\d\d")


class Row(NamedTuple):
    """A requirement, as the page lists it."""

    id: str
    claim: str
    tests: str
    standard: str


def requirements() -> list[Row]:
    """Return the rows of the page's tables, in order."""
    lines = (
        line.strip().strip("|").split("|")
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if line.startswith("|")
    )
    rows = ([cell.strip() for cell in cells] for cells in lines)
    return [Row(*cells) for cells in rows if _ID.fullmatch(cells[0])]


def ids_of(marks: Iterable[pytest.Mark]) -> set[str]:
    """Return the requirements that the markers name."""
    return {str(id) for mark in marks if mark.name == "security" for id in mark.args}


class SecurityReport:
    """Count the outcomes of tests by their requirements, and report them at the end."""

    def __init__(self) -> None:
        self.ids: dict[str, set[str]] = {}
        self.outcomes: dict[str, Counter[str]] = {row.id: Counter() for row in requirements()}

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Count the tests that were deselected."""
        for item in items:
            self._count(ids_of(item.iter_markers()), "left out")

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Remember which test has which requirements."""
        self.ids = {item.nodeid: ids_of(item.iter_markers()) for item in session.items}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test when it has run, and once more if its teardown fails."""
        if report.when == "call" or not report.passed:
            self._count(self.ids.get(report.nodeid, set()), _outcome(report))

    def _count(self, ids: set[str], outcome: str) -> None:
        for id in ids:
            self.outcomes.setdefault(id, Counter())[outcome] += 1

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Write the table and the totals."""
        terminalreporter.section("security requirements")
        found: dict[str, list[str]] = {}
        for id, counts in self.outcomes.items():
            state = _state(counts)
            found.setdefault(state, []).append(id)
            numbers = ", ".join(f"{number} {outcome}" for outcome, number in sorted(counts.items()))
            terminalreporter.write_line(f"{id:8} {numbers or state}", red=state == "failed")
        sums = [
            f"{len(ids)} {state}" if state == "proved" or len(ids) > 20 else f"{len(ids)} {state} ({', '.join(ids)})"
            for state in ("proved", "proved in part", "failed", "not run")
            if (ids := found.get(state))
        ]
        terminalreporter.write_line(f"{len(self.outcomes)} requirements: {', '.join(sums)}", bold=True)


def _outcome(report: pytest.TestReport) -> str:
    """Return the outcome of a test.

    A skipped test for the other user model counts as run with other settings. A test that is
    skipped for lack of a broker counts as skipped.
    """
    is_missed = not report.skipped or "RabbitMQ" in str(report.longrepr)
    return str(report.outcome) if is_missed else OTHER_SETTINGS


def _state(counts: Counter[str]) -> str:
    if counts["failed"]:
        return "failed"
    if not counts["passed"]:
        return "not run"
    return "proved" if set(counts) <= {"passed", OTHER_SETTINGS} else "proved in part"
