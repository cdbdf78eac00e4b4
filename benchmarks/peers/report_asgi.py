"""Render the figures of the ASGI servers."""

import statistics
from typing import Any

from benchmarks.peers.variants import VARIANTS

TEXT = """\
Requests over sockets, with 8 and with 64 connections that are kept open, behind uvicorn (with uvloop and httptools) and granian.
Each connection has a user of its own.
The client is a process on the same machine, which reads and writes sockets without a library; it used {client:.0%} of a processor at most.
**ratio** is the requests per second, divided by those of the floor in the same round: with the same server, workers and connections.
So more is better, unlike in the other tables.
"async" and "sync" say how the view is written; the views of the packages themselves are sync, except those of fastapi-users.
The hasher of the logins costs nothing.

Nothing is configured for the speed under ASGI, so [the kit keeps its connections](howto/asgi.md).
With "pool", the database has `"OPTIONS": {{"pool": True}}`; fastapi-users always has the pool of SQLAlchemy.

The plot has the medians over the eight columns without a pool.

![Requests per second, as a ratio to the floor](images/performance-asgi.svg)"""
OPERATIONS = {"get": "An authenticated GET", "refresh": "Refresh", "login": "Login"}
DETAILS = """\
The same in figures: with 8 connections / with 64.
Processor time repeats better than requests per second, so the CPU ratio is the more exact of the two.
CPU is the processor time of the server's processes for a request, without PostgreSQL and the client.
**opened** is the number of connections to PostgreSQL opened for 1,000 requests, as its log lists them.
**threads** are those of the process that has most, in the middle of a turn."""

Section = tuple[str, str, str, list[str]]


def section(found: dict[str, Any]) -> Section:
    """Return the section with all tables."""
    cells = found["asgi"]
    client = max(one["client"] for counts in cells.values() for rows in counts.values() for one in rows.values())
    lines: list[str] = []
    for operation, title in OPERATIONS.items():
        lines += [f"### {title} under ASGI", "", *_ratios(cells, operation), ""]
    lines += [DETAILS, ""]
    for setup, counts in cells.items():
        lines += [f"### {setup.capitalize()}", "", *_figures(counts), ""]
    return "Under ASGI", "asgi", TEXT.format(client=client), lines[:-1]


def memory(found: dict[str, Any]) -> Section:
    """Return the section about memory."""
    text = (
        "The resident memory of uvicorn with one worker and 8 connections, after 2,000 requests and after 50,000 more."
    )
    lines = ["| | operation | MB before | MB after | growth |", "|---|---|--:|--:|--:|"]
    for name, said in found["asgi_memory"].items():
        growth = said["after"] - said["before"]
        lines.append(
            f"| {_title(name)} | {VARIANTS[name].operation} | {said['before']:.1f} | {said['after']:.1f} | {growth:+.1f} |"
        )
    return "Memory under ASGI", "asgi-memory", text, lines


def _ratios(cells: dict[str, Any], operation: str) -> list[str]:
    """Return the ratios of an operation, with a column for each cell."""
    heads = [(setup, count) for setup, counts in cells.items() for count in counts]
    first = next(iter(cells.values()))
    names = [name for name in next(iter(first.values())) if VARIANTS[name].operation == operation]
    lines = [
        f"| | checks | {' | '.join(f'{setup}: {count}' for setup, count in heads)} |",
        f"|---|---|{'--:|' * len(heads)}",
    ]
    for name in sorted(names, key=lambda name: -ratio_of(cells, name)):
        said = [cells[setup][count].get(name) for setup, count in heads]
        ratios = " | ".join(f"{one['ratio']:.2f}" if one else "" for one in said)
        lines.append(f"| {_title(name)} | {'yes' if VARIANTS[name].checks else ''} | {ratios} |")
    return lines


def ratio_of(cells: dict[str, Any], name: str) -> float:
    """Return the median of the ratios of a variant over the cells without a pool of Django."""
    chosen = [counts for setup, counts in cells.items() if not setup.endswith("pool")]
    return statistics.median(float(rows[name]["ratio"]) for counts in chosen for rows in counts.values())


def _figures(counts: dict[str, Any]) -> list[str]:
    """Return the figures of a server, with those of each number of connections in one column."""
    lines = [
        "| | operation | requests/s | p50, ms | p99, ms | CPU, ms | CPU ratio | opened | threads |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    formats = {
        "rate": ",.0f",
        "p50": ",.0f",
        "p99": ",.0f",
        "cpu": ".2f",
        "cpu_ratio": ".2f",
        "opened": ",.0f",
        "threads": ",.0f",
    }
    for name in next(iter(counts.values())):
        columns = [
            " / ".join(format(rows[name][key], how) for rows in counts.values()) for key, how in formats.items()
        ]
        lines.append(f"| {_title(name)} | {VARIANTS[name].operation} | {' | '.join(columns)} |")
    return lines


def _title(name: str) -> str:
    title = VARIANTS[name].title
    return f"**{title}**" if name.startswith("kit") else title
