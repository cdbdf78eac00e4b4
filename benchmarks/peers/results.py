"""Keep the results of earlier runs beside those of this one, and write all files at the end."""

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.peers import plots, report

PAGE, FIGURES, IMAGES = "performance.md", "performance.json", "images"


def read(docs: Path) -> dict[str, Any]:
    """Return the results of the last run, or {} before the first run."""
    file = docs / FIGURES
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}


def merge(
    old: dict[str, Any], new: dict[str, Any], *, tables: Iterable[str], versions: dict[str, str]
) -> dict[str, Any]:
    """Return all results: the tables of this run, each with its date and versions, and the other tables as they were.

    Args:
        old: the results of earlier runs.
        new: the results of this run.
        tables: the tables of this run.
        versions: the versions of the software of this run.
    """
    measured = {table: {"date": time.strftime("%Y-%m-%d"), "versions": versions} for table in tables}
    return {**old, **new, "measured": {**old.get("measured", {}), **measured}}


def write(found: dict[str, Any], docs: Path) -> None:
    """Write the page, the figures and the plots, each of them completely or not at all."""
    files = {docs / PAGE: report.markdown(found), docs / FIGURES: json.dumps(found, indent=2) + "\n"}
    files |= {docs / IMAGES / name: svg for name, svg in plots.all_plots(found).items()}
    for file, text in files.items():
        unfinished = file.with_name(f"{file.name}.unfinished")
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(file)
