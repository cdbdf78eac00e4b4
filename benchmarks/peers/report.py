"""Render the results as a page and as a plot."""

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
    "login_default": "Login, with the default hasher",
}
METHOD = """\
## Method

- Each contender runs in its own process, as a minimal project that follows its documentation.
- All have the same settings and one PostgreSQL server, with a database each.
  Commits are flushed to disk, psycopg 3 keeps its connections, `DEBUG` is off, and only the middleware that a package needs is installed.
- Requests go straight to the WSGI application (for fastapi-users, to the ASGI application), without sockets.
- The contenders take turns, in an order that rotates.
  **ratio** is the median, over the rounds, of the median of a contender divided by the median of the limit in the same round.
- The numbers of statements, transaction statements (`tx`) and function calls are exact.
- The **limit** is not a package: it keeps the same promises, written by hand in raw SQL, with one statement per operation, and two for a login.
- The kit runs with all its rules: rate limits are counted, there is one session, and the event of each action is written to the outbox.
- "checks" says whether an access token is accepted only while its session is valid.
  An authenticated GET without that check does less work, so compare it only with its own kind.
- Where a choice was necessary, it favours the others: simplejwt, dj-rest-auth and knox use JSON only, and the rate limits of allauth are off.
- fastapi-users has no refresh, and its logout with JWT does not end anything.
- Not measured: other versions of Python, and a server on another machine than its database.

## What explains the figures

A login of the kit sends more statements than those of the others.
It counts the attempt, finds the user who has the email address, asks Django's authentication backends, locks the user, ends the previous session, records both events, and gives the counted attempt back: nine round trips.
Compared with the time of a real password hash, the difference is negligible (see the last table of logins).
Fewer statements would be possible only without the signals and the backends.

A refresh reads the session, rotates it and records the event.
The last two are one transaction, whose BEGIN and COMMIT are sent together with its statements: three round trips, where the limit has one.
The same holds for a logout.
The signal that informs your project is sent between the change and its record, so neither can be a single statement.
This explains the remaining difference.
Without that signal both would be faster; [decisions](decisions.md) has the measurements.

A client sends the same access token many times, and so does the GET of this benchmark.
The kit verifies a signature once.
The first request with a token takes a twentieth longer.
"""


def versions(postgres: str) -> dict[str, str]:
    """Return the versions of the software that the figures depend on."""
    found = {"Python": platform.python_version(), "PostgreSQL": postgres}
    return found | {name: version(name) for name in PACKAGES}


def markdown(found: dict[str, Any]) -> str:
    """Return the page as Markdown."""
    named = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    lines = [
        "<!-- Written by `make bench`. -->",
        "",
        "# Performance, side by side",
        "",
        f"Measured on {time.strftime('%Y-%m-%d')} with {named}.",
        "Compare the ratios: the microseconds depend on the machine.",
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
        "The authenticated GET behind gunicorn, with two workers of two threads each.\n"
        "A client on the same machine, which uses a part of the processor time, keeps four connections open."
    )
    rows = sorted(found["sockets"].items(), key=lambda item: item[1]["ratio"])
    lines = [f"{said['ratio']:.2f} | {said['rate']:,.0f} | {said['p99']:.1f}" for _, said in rows]
    head = ["| | ratio | requests/s | p99, ms |", "|---|--:|--:|--:|"]
    return "Over sockets", text, head + _named(found, rows, lines)


def _growth(found: dict[str, Any]) -> Section:
    text = (
        "The time of an operation with 1,000,000 users in the database, as a multiple of its time with 10,000.\n"
        "Each user has the rows that a login leaves behind."
    )
    rows = list(found["growth"].items())
    operations = ("get", "refresh", "logout", "login")
    lines = [" | ".join(f"{said[one]:.2f}" if one in said else "" for one in operations) for _, said in rows]
    head = ["| | GET | refresh | logout | login |", "|---|--:|--:|--:|--:|"]
    return "Growth", text, head + _named(found, rows, lines)


def _purge(found: dict[str, Any]) -> Section:
    text = (
        "Of 1,000,000 users, 100,000 have left rows that have expired.\n"
        "The command of each package deletes these rows in a separate process, while another process takes logins.\n"
        "The seconds do not include the start of that process, and the memory is its peak.\n"
        "knox has no such command."
    )
    rows = sorted(found["purge"].items(), key=lambda item: item[1]["seconds"] / item[1]["rows"])
    lines = [
        f"{said['rows']:,} | {said['seconds']:.1f} | {said['seconds'] * 1e5 / said['rows']:.2f} | {said['memory']:.0f} "
        f"| {said['before']:.0f} | {said['meanwhile']:.0f}"
        for _, said in rows
    ]
    head = [
        "| | rows | seconds | seconds for 100,000 | MB | p95 of a login before, ms | p95 during the purge, ms |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    return "Purge", text, head + _named(found, rows, lines)


def _start(found: dict[str, Any]) -> Section:
    text = (
        "From the start of a process until its WSGI application is loaded, including Python, Django, URLs and models.\n"
        "No query is sent.\n"
        "The kit takes longest: it builds its tables and an API of its own.\n"
        "It does not load PyJWT, which it imports with the first token, nor pika and the modules of other processes."
    )
    rows = sorted(found["start"].items(), key=lambda item: item[1]["seconds"])
    lines = [f"{1000 * said['seconds']:,.0f} | {said['modules']:.0f} | {said['memory']:.0f}" for _, said in rows]
    return "Startup", text, ["| | ms | modules | MB |", "|---|--:|--:|--:|", *_named(found, rows, lines)]


def _memory(found: dict[str, Any]) -> Section:
    rows = list(found["memory"].items())
    lines = [f"{value:.0f}" for _, value in rows]
    return "Memory of a worker, after all measurements", "", ["| | MB |", "|---|--:|", *_named(found, rows, lines)]


def _named(found: dict[str, Any], rows: list[tuple[str, Any]], lines: list[str]) -> list[str]:
    """Return the rows of a table, each with the title of a contender."""
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
