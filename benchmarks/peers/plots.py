"""Render the results as plots: groups of bars in SVG."""

from collections.abc import Callable
from typing import Any
from xml.sax.saxutils import escape

from benchmarks.peers.report import TITLES
from benchmarks.peers.report_asgi import OPERATIONS, ratio_of
from benchmarks.peers.variants import VARIANTS

Row = tuple[str, float, bool]  # a title, a ratio (0 in a heading), and whether it is ours
STYLE = "text{font:13px system-ui,sans-serif;fill:#57606a}.h{font-weight:600}.o{fill:#a8b1bb}.k{fill:#0a7d5a}"


def all_plots(found: dict[str, Any]) -> dict[str, str]:
    """Return the plots by their file names. Those whose results are missing are left out."""
    made: dict[str, tuple[tuple[str, ...], Callable[[dict[str, Any]], str]]] = {
        "performance.svg": (tuple(TITLES), calls),
        "performance-distance.svg": (("distance",), distance),
        "performance-asgi.svg": (("asgi",), asgi),
    }
    return {name: draw(found) for name, (keys, draw) in made.items() if set(keys) <= set(found)}


def calls(found: dict[str, Any]) -> str:
    """Return the plot of the calls without sockets."""
    groups = {
        TITLES[operation]: _ratios(found, found[operation])
        for operation in ("get", "stateless", "refresh", "logout", "login")
    }
    return bars("Time of each operation, as a multiple of the limit", groups)


def distance(found: dict[str, Any]) -> str:
    """Return the plot of the operations at the largest distance."""
    name, figures = list(found["distance"].items())[-1]
    groups = {f"{TITLES[one]}, at {name} ms": _ratios(found, rows) for one, rows in figures["operations"].items()}
    return bars(f"Time of each operation with PostgreSQL {name} ms away, as a multiple of the limit", groups)


def asgi(found: dict[str, Any]) -> str:
    """Return the plot of the requests per second."""
    cells = found["asgi"]
    measured = next(iter(next(iter(cells.values())).values()))
    groups = {}
    for operation, title in OPERATIONS.items():
        names = [name for name in measured if VARIANTS[name].operation == operation]
        rows = [(VARIANTS[name].title, ratio_of(cells, name), name.startswith("kit")) for name in names]
        groups[title] = sorted(rows, key=lambda row: -row[1])
    return bars("Requests per second, as a ratio to a bare view", groups)


def _ratios(found: dict[str, Any], figures: dict[str, Any]) -> list[Row]:
    ordered = sorted(figures.items(), key=lambda item: item[1]["ratio"])
    return [(found["about"][name]["title"], said["ratio"], name.startswith("kit")) for name, said in ordered]


def bars(title: str, groups: dict[str, list[Row]]) -> str:
    """Return an SVG with a group of bars for each heading."""
    rows: list[Row] = []
    for heading, group in groups.items():
        rows += [(heading, 0, False), *group, ("", 0, False)]
    widest = max(ratio for _, ratio, _ in rows)
    left = max(248, *(7 * len(name) for name, ratio, _ in rows if ratio))
    drawn = "".join(_bar(number, row, widest, left) for number, row in enumerate(rows))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + 512} {20 * len(rows) + 20}" role="img">'
        f"<title>{escape(title)}</title><style>{STYLE}</style>{drawn}</svg>\n"
    )


def _bar(number: int, row: Row, widest: float, left: int) -> str:
    title, ratio, is_ours = row
    y = 20 * number + 20
    if not ratio:
        return f'<text class="h" x="8" y="{y}">{escape(title)}</text>'
    width = 420 * ratio / widest
    kind = "k" if is_ours else "o"
    return (
        f'<text x="{left}" y="{y}" text-anchor="end">{escape(title)}</text>'
        f'<rect class="{kind}" x="{left + 8}" y="{y - 12}" width="{width:.0f}" height="14" rx="2"/>'
        f'<text x="{left + 14 + width:.0f}" y="{y}">{ratio:.2f}</text>'
    )
