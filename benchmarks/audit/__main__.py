"""Run every benchmark and print and write the results: `python -m benchmarks.audit [--quick]`."""

import argparse
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import django
import pika

from benchmarks.audit import commits, latency, memory, publishing, refreshes, requests
from benchmarks.audit.stage import Stage, stage

DOCS = Path(__file__).parents[2] / "docs"


def main() -> None:
    """Run the benchmarks and write docs/performance-audit.md and .json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="run a short version to check the code; write no files")
    quick = parser.parse_args().quick
    with stage() as on:
        found = measure(on, quick=quick)
    page = markdown(found)
    print(page)
    if not quick:
        (DOCS / "performance-audit.md").write_text(page)
        (DOCS / "performance-audit.json").write_text(json.dumps(found, indent=2) + "\n")


def measure(on: Stage, *, quick: bool) -> dict[str, Any]:
    """Run one benchmark after the other and print the progress."""
    rounds = 1 if quick else 5
    parts = {
        "publishing": lambda: publishing.measure(on, rounds=rounds),
        "commits": lambda: commits.measure(on, rounds=rounds),
        "refreshes": lambda: refreshes.measure(on, rounds=rounds),
        "latency": lambda: latency.measure(on),
        "requests": lambda: requests.measure(on),
        "memory": lambda: memory.measure(on, backlog=20_000 if quick else 1_000_000),
    }
    found: dict[str, Any] = {"date": time.strftime("%Y-%m-%d"), "versions": versions(on)}
    for number, (name, part) in enumerate(parts.items(), 1):
        print(f"[{number}/{len(parts)}] {name}", flush=True)
        found[name] = part()
    return found


def versions(on: Stage) -> dict[str, str]:
    """Return the versions of the software that the figures depend on."""
    return {
        "PostgreSQL": str(on.server.execute("SHOW server_version")[0][0]),
        "RabbitMQ": on.broker.control("version").strip(),
        "Python": platform.python_version(),
        "Django": django.get_version(),
        "pika": pika.__version__,
    }


def markdown(found: dict[str, Any]) -> str:
    """Return the page as Markdown."""
    named = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    lines = [
        "<!-- Written by `python -m benchmarks.audit`. -->",
        "",
        "# What the audit stream costs",
        "",
        f"Measured on {found['date']} with {named}.",
        f"Broker, database and clients share {os.cpu_count()} processors.",
        "All figures are medians of one run, in which the contenders took turns.",
        "Compare the ratios: the figures depend on the machine.",
        "",
        *ratios(
            "Confirmed events per second, into one quorum queue",
            found["publishing"],
            "BlockingConnection, a confirm per message",
        ),
        *ratios("Commits per second of 16 clients that change one row", found["commits"], "the change alone"),
        "This is the worst case, because the transaction contains nothing else.",
        "The smallest transaction of the kit itself is a refresh.",
        "",
        *ratios("Refreshes per second of 16 clients", found["refreshes"], "refreshes without events"),
        "## From the commit to the consumer",
        "",
        "| | p50 | p95 |",
        "|---|--:|--:|",
        *(f"| {way} | {p50:.1f} ms | {p95:.1f} ms |" for way, (p50, p95) in found["latency"].items()),
        "",
        *ratios("A login (cheap hasher), median in ms, by the state of the broker", found["requests"], "broker up"),
        "The naive design blocks while the broker is frozen or blocked, and fails while it is down.",
        "",
        "## Memory of a relay, with a backlog of 1,000,000",
        "",
        "| | |",
        "|---|--:|",
        *(f"| {what} | {figure:,.0f} |" for what, figure in found["memory"].items()),
        "",
    ]
    return "\n".join(lines)


def ratios(title: str, figures: dict[str, float], one: str) -> list[str]:
    """Return a table of figures, each with its ratio to one of them."""
    rows = [f"| {way} | {figure:,.1f} | {figure / figures[one]:.2f} |" for way, figure in figures.items()]
    return [f"## {title}", "", "| | | ratio |", "|---|--:|--:|", *rows, ""]


if __name__ == "__main__":
    main()
