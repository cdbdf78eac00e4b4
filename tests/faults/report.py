"""The result table of the fault suite, in the terminal and in docs/faults.md."""

import platform
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

import django
import pika

from tests.servers import ROOT

PAGE = ROOT / "docs" / "faults.md"
_BETWEEN = re.compile(r"(?<=<!-- faults -->\n).*?(?=<!-- /faults -->)", re.DOTALL)
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

    def markdown(self) -> str:
        """Return the table for the page, with the date and the versions."""
        rule = "|" + "|".join("---" if name in {"fault", "notes"} else "--:" for name in _HEAD) + "|"
        table = [_HEAD, *(row.cells() for row in self._sorted())]
        lines = ["| " + " | ".join(cells) + " |" for cells in table]
        lines.insert(1, rule)
        return "\n".join([self.setting(), "", *lines, "", self.summary(), ""])

    def setting(self) -> str:
        """Return a sentence with the date and the software versions."""
        versions = {"Python": platform.python_version(), "Django": django.get_version(), "pika": pika.__version__}
        named = ", ".join(f"{name} {version}" for name, version in {**self.versions, **versions}.items())
        return f"Run on {time.strftime('%Y-%m-%d')} with {named}."

    def summary(self) -> str:
        """Return a sentence with the number of cases, by result."""
        count = {state: sum(row.state == state for row in self.rows) for state in ("passed", "FAILED", "not run")}
        minutes = (time.monotonic() - self.begun) / 60
        total = f"{len(self.rows)} cases in {minutes:.0f} minutes: {count['passed']} as expected"
        return f"{total}, {count['FAILED']} not as expected, {count['not run']} not run."

    def write(self, page: Path = PAGE) -> None:
        """Write the table into the page."""
        page.write_text(_BETWEEN.sub(lambda _: self.markdown(), page.read_text()))

    def _sorted(self) -> list[Row]:
        return sorted(self.rows, key=lambda row: row.number)


def _aligned(cell: str, width: int) -> str:
    return cell.rjust(width) if cell[:1].isdigit() else cell.ljust(width)
