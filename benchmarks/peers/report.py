"""What was found, as a page and as a plot."""

import platform
import time
from importlib.metadata import version
from typing import Any
from xml.sax.saxutils import escape

PACKAGES = (
    "django",
    "django-ninja",
    "django-ninja-jwt",
    "djangorestframework",
    "djangorestframework-simplejwt",
    "django-allauth",
    "dj-rest-auth",
    "django-rest-knox",
    "fastapi-users",
    "fastapi",
    "sqlalchemy",
    "pyjwt",
    "psycopg",
)
TITLES = {
    "get": "An authenticated GET",
    "stateless": "An authenticated GET without any query",
    "refresh": "Refresh",
    "logout": "Logout",
    "login": "Login, with a hasher that costs nothing",
    "login_default": "Login, with the hasher that is the default",
}
METHOD = """\
One process for each contender, a minimal project as its documentation advises; the same settings, one PostgreSQL (a database each, commits
flushed to disk), psycopg 3 with kept connections, `DEBUG` off, no middleware but what a package needs. Requests go straight to the WSGI
application (fastapi-users: ASGI), without sockets. The contenders take turns, in an order that rotates; **ratio** is the median, over the
rounds, of a contender's median divided by that of the limit in the same round. Statements, transaction statements (`tx`) and function calls
are exact. The **limit** is no package: the same promises by hand, in raw SQL, one statement each. This kit runs with all its rules: limits
counted, one session, the event of each action in the outbox. "checks": whether an access token counts only while its session does. An
authenticated GET without that check is another, cheaper thing; compare like with like.

A login of this kit sends more than others do: it counts the attempt, finds the holder of the address, asks Django's backends, locks the user, ends
the session before it, records both, and gives the counted attempt back. Beside the hash of a password that does not show (the last table of
logins), and merging it into fewer statements would take the signals and the backends out of it.

A refresh reads the session, rotates it and records the event, in one transaction: five round trips where the limit has one, and a logout the same.
The signal that tells the host stands between the change and its record, so these are no single statement; that is what is left of the distance.
[What both would gain](decisions.md) by giving that up was measured, too.

The access token of a GET comes again and again, as from a client. This kit verifies a signature once; the first time takes a twentieth more.

Kindnesses to the others: simplejwt, dj-rest-auth and knox have JSON alone, allauth's rate limits are off. fastapi-users has no refresh, and its
logout with JWT ends nothing. What was left out: Python's other versions, a server on another machine than its database.
"""


def versions(postgres: str) -> dict[str, str]:
    """Return what it was measured with."""
    found = {"Python": platform.python_version(), "PostgreSQL": postgres}
    return found | {name: version(name) for name in PACKAGES}


def markdown(found: dict[str, Any]) -> str:
    """Return the page."""
    named = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    lines = [
        "<!-- Written by `make bench`. -->",
        "",
        "# Performance, side by side",
        "",
        f"Measured on {time.strftime('%Y-%m-%d')} with {named}. Read the ratios: the microseconds are the machine's.",
        "",
        METHOD,
        "![Ratios to the limit](images/performance.svg)",
        "",
    ]
    for operation, title in TITLES.items():
        if operation in found:
            lines += [f"## {title}", "", *_table(found, operation), ""]
    for title, text, table in (_sockets(found), _growth(found), _purge(found), _start(found), _memory(found)):
        lines += [f"## {title}", "", *([text, ""] if text else []), *table, ""]
    return "\n".join(lines[:-1]) + "\n"


Section = tuple[str, str, list[str]]


def _sockets(found: dict[str, Any]) -> Section:
    text = (
        "The authenticated GET behind gunicorn, two workers with two threads, four kept connections of a client on the "
        "same machine, which takes its\nshare of the time."
    )
    rows = sorted(found["sockets"].items(), key=lambda item: item[1]["ratio"])
    lines = [f"{said['ratio']:.2f} | {said['rate']:,.0f} | {said['p99']:.1f}" for _, said in rows]
    head = ["| | ratio | requests/s | slowest 1 %, ms |", "|---|--:|--:|--:|"]
    return "Over sockets", text, head + _named(found, rows, lines)


def _growth(found: dict[str, Any]) -> Section:
    text = "What an operation takes beside 1,000,000 users, as a multiple of what it takes beside 10,000; each with what logins leave behind."
    rows = list(found["growth"].items())
    operations = ("get", "refresh", "logout", "login")
    lines = [" | ".join(f"{said[one]:.2f}" if one in said else "" for one in operations) for _, said in rows]
    head = ["| | GET | refresh | logout | login |", "|---|--:|--:|--:|--:|"]
    return "Growth", text, head + _named(found, rows, lines)


def _purge(found: dict[str, Any]) -> Section:
    text = (
        "Of 1,000,000 users what 100,000 have left behind has expired. The command of each package deletes it, in a process "
        "of its own, while another takes\nlogins. The seconds are without the start of that process, the memory is the most "
        "that it had. knox has no such command."
    )
    rows = sorted(found["purge"].items(), key=lambda item: item[1]["seconds"] / item[1]["rows"])
    lines = [
        f"{said['rows']:,} | {said['seconds']:.1f} | {said['seconds'] * 1e5 / said['rows']:.2f} | {said['memory']:.0f} "
        f"| {said['before']:.0f} | {said['meanwhile']:.0f}"
        for _, said in rows
    ]
    head = [
        "| | rows | seconds | seconds for 100,000 | MB | a slow login (95 %) before, ms | meanwhile, ms |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    return "Purge", text, head + _named(found, rows, lines)


def _start(found: dict[str, Any]) -> Section:
    text = (
        "A fresh process until its WSGI application is there, Python, Django, URLs and models included; no query is sent. "
        "This kit takes the longest: it makes\nthe classes of its events and an API of its own, and loads neither pika nor "
        "what is for other processes."
    )
    rows = sorted(found["start"].items(), key=lambda item: item[1]["seconds"])
    lines = [f"{1000 * said['seconds']:,.0f} | {said['modules']:.0f} | {said['memory']:.0f}" for _, said in rows]
    return "Start", text, ["| | ms | modules | MB |", "|---|--:|--:|--:|", *_named(found, rows, lines)]


def _memory(found: dict[str, Any]) -> Section:
    rows = list(found["memory"].items())
    lines = [f"{value:.0f}" for _, value in rows]
    return "Memory of a worker, after all that", "", ["| | MB |", "|---|--:|", *_named(found, rows, lines)]


def _named(found: dict[str, Any], rows: list[tuple[str, Any]], lines: list[str]) -> list[str]:
    """Return rows of a table: the titles of the contenders, and what is said of them."""
    return [f"| {_title(found, name)} | {line} |" for (name, _), line in zip(rows, lines, strict=True)]


def _title(found: dict[str, Any], name: str) -> str:
    title = found["about"][name]["title"]
    return f"**{title}**" if name.startswith("kit") else str(title)


def _table(found: dict[str, Any], operation: str) -> list[str]:
    exact = operation != "login_default"
    head = ["| | ratio | CPU ratio | µs |", "|---|--:|--:|--:|"]
    if exact:
        head = ["| | checks | ratio | CPU ratio | µs | statements | tx | calls |", "|---|---|--:|--:|--:|--:|--:|--:|"]
    rows = sorted(found[operation].items(), key=lambda item: item[1].get("ratio", item[1]["wall"]))
    return [*head, *(_row(found, operation, name, said, exact=exact) for name, said in rows)]


def _row(found: dict[str, Any], operation: str, name: str, said: dict[str, float], *, exact: bool) -> str:
    title = _title(found, name)
    figures = f"{said.get('ratio', 1):.2f} | {said.get('cpu_ratio', 1):.2f} | {said['wall']:,.0f}"
    if not exact:
        return f"| {title} | {figures} |"
    counted = found["counts"][name]["get" if operation == "stateless" else operation]
    checks = "yes" if found["about"][name]["checks"] else ""
    numbers = f"{counted['statements']} | {counted['transactions']} | {counted['calls']:,}"
    return f"| {title} | {checks} | {figures} | {numbers} |"


def plot(found: dict[str, Any]) -> str:
    """Return an SVG with a group of bars for each operation."""
    rows: list[tuple[str, float, bool]] = []
    for operation in ("get", "stateless", "refresh", "logout", "login"):
        rows.append((TITLES[operation], 0, False))
        ordered = sorted(found[operation].items(), key=lambda item: item[1]["ratio"])
        rows += [(found["about"][name]["title"], said["ratio"], name.startswith("kit")) for name, said in ordered]
        rows.append(("", 0, False))
    widest = max(ratio for _, ratio, _ in rows)
    bars = [_bar(number, row, widest) for number, row in enumerate(rows)]
    height = 20 * len(rows) + 20
    style = "text{font:13px system-ui,sans-serif;fill:#57606a}.h{font-weight:600}.o{fill:#a8b1bb}.k{fill:#0a7d5a}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 {height}" role="img">'
        f"<title>Time of each operation, as a multiple of the limit</title><style>{style}</style>{''.join(bars)}</svg>\n"
    )


def _bar(number: int, row: tuple[str, float, bool], widest: float) -> str:
    title, ratio, is_ours = row
    y = 20 * number + 20
    if not ratio:
        return f'<text class="h" x="8" y="{y}">{escape(title)}</text>'
    width = 420 * ratio / widest
    kind = "k" if is_ours else "o"
    return (
        f'<text x="248" y="{y}" text-anchor="end">{escape(title)}</text>'
        f'<rect class="{kind}" x="256" y="{y - 12}" width="{width:.0f}" height="14" rx="2"/>'
        f'<text x="{262 + width:.0f}" y="{y}">{ratio:.2f}</text>'
    )
