"""Render the results as a page. The figures of the ASGI servers are in `report_asgi`."""

import platform
from importlib.metadata import version
from typing import Any

from benchmarks.peers import report_asgi
from benchmarks.peers.contenders import CONTENDERS, named

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
    "uvicorn",
    "granian",
)
TITLES = {
    "get": "An authenticated GET",
    "stateless": "An authenticated GET without any query",
    "refresh": "Refresh",
    "logout": "Logout",
    "login": "Login, with a hasher that costs nothing",
    "login_default": "Login, with the default hasher",
}
TABLE_OF = {**dict.fromkeys(TITLES, "calls"), "login_default": "login-default"}
PARTS = {
    "python": "Python",
    "ninja": "Django and Django Ninja",
    "jwt": "PyJWT and cryptography",
    "apps": "the other apps, their modules and models",
    "urls": "URLs, routes and schemas",
}
METHOD = """\
## Method

- Each contender runs in its own process, as a minimal project that follows its documentation.
- All have the same settings and one PostgreSQL server, with a database each.
  Commits are flushed to disk, psycopg 3 keeps its connections, `DEBUG` is off, and only the middleware that a package needs is installed.
- Unless a table says otherwise, requests go straight to the WSGI application (for fastapi-users, to the ASGI application), without sockets, and PostgreSQL is on the same machine.
- The contenders take turns, in an order that rotates.
  **ratio** is the median, over the rounds, of the median of a contender divided by the median of the limit in the same round.
- The numbers of statements, transaction statements (`tx`) and function calls are exact.
- The **limit** is not a package: it keeps the same promises, written by hand in raw SQL, with one statement per operation, and two for a login.
- The kit runs with all its rules: rate limits are counted, there is one session, and the event of each action is written to the outbox.
- "checks" says whether an access token is accepted only while its session is valid.
  An authenticated GET without that check does less work, so compare it only with its own kind.
- Where a choice was necessary, it favours the others: simplejwt, dj-rest-auth and knox use JSON only, and the rate limits of allauth are off.
- fastapi-users has no refresh, and its logout with JWT does not end anything.
- Each table says when it was measured, and the versions are [below](#versions).
  Compare figures of the same table only.
- Not measured: other versions of Python, HTTP/2, TLS, and servers on several machines.

## What explains the figures

A login of the kit sends more statements than those of the others.
It counts the attempt, finds the user who has the email address, asks Django's authentication backends, locks the user, ends the previous session, records both events, and gives the counted attempt back: eight round trips.
Compared with the time of a real password hash, the difference is negligible (see the last table of logins).
Fewer statements would be possible only without the signals and the backends.

A refresh reads the session, rotates it and records the event.
The last two are one transaction, whose BEGIN and COMMIT are sent together with its statements: three round trips, where the limit has one.
The same holds for a logout.
The signal that informs your project is sent between the change and its record, so neither can be a single statement.
This explains the remaining difference.
Without that signal both would be faster; [decisions](decisions.md) has the measurements.

With PostgreSQL at a distance, the number of round trips decides.
A login of the kit has eight, and those of the others two to ten.
A refresh of the kit has three, and those of the others five and more.

Under ASGI, Django runs the sync code of a request in a thread of its own, and closes the connections of that thread at its end.
The kit [keeps some](howto/asgi.md) for the check of a session, which is why a guarded GET opens none.
Half of them, four in each process, are for refreshes, which wait for one for a moment before they open another.
A login opens one in any case.
Async views [share the queries](howto/asgi.md) that check their sessions; a sync view takes a thread for each request.
The tables are older than this: measured since, with uvicorn and one worker, the async view of the kit has 0.68 of the bare view with 8 connections and 0.79 with 64, and without a check 0.87 with both.

A client sends the same access token many times, and so does the GET of this benchmark.
The kit verifies a signature once.
The first request with a token takes a twentieth longer.
"""


def versions(postgres: str) -> dict[str, str]:
    """Return the versions of the software that the figures depend on."""
    found = {"Python": platform.python_version(), "PostgreSQL": postgres}
    return found | {name: version(name) for name in PACKAGES}


def about() -> dict[str, dict[str, Any]]:
    """Return the title of each contender, and whether it checks the session."""
    contenders = {name: named(name) for name in CONTENDERS}
    return {name: {"title": one.title, "checks": one.checks} for name, one in contenders.items()}


def markdown(found: dict[str, Any]) -> str:
    """Return the page as Markdown."""
    lines = [
        "<!-- Written by `make bench`. -->",
        "",
        "# Performance, side by side",
        "",
        "Compare the ratios: the microseconds depend on the machine.",
        "",
        METHOD,
    ]
    if set(TITLES) <= set(found):
        lines += ["![Ratios to the limit](images/performance.svg)", ""]
    sections = [(title, TABLE_OF[one], "", _table(found, one)) for one, title in TITLES.items() if one in found]
    sections += [render(found) for key, render in SECTIONS.items() if key in found]
    for title, table, text, rows in sections:
        lines += [f"## {title}", "", f"Measured on {found['measured'][table]['date']}.", *text.splitlines(), ""]
        lines += [*rows, ""]
    return "\n".join([*lines, *_versions(found)]) + "\n"


def _versions(found: dict[str, Any]) -> list[str]:
    """Return the versions of each table. Tables that were measured with the same ones share a line."""
    tables: dict[str, list[str]] = {}
    for table, said in found["measured"].items():
        named_versions = ", ".join(f"{name} {number}" for name, number in said["versions"].items())
        tables.setdefault(named_versions, []).append(f"`{table}` ({said['date']})")
    lines = ["The names are those of the option `--tables` of `make bench`.", ""]
    lines += [f"- {', '.join(names)}: {numbers}" for numbers, names in tables.items()]
    return ["## Versions", "", *lines]


Section = tuple[str, str, str, list[str]]


def _distance(found: dict[str, Any]) -> Section:
    delays = " and ".join(f"{one['delay']:.2f} ms" for one in found["distance"].values())
    text = (
        "PostgreSQL is so many milliseconds away: a proxy in its own process delays what either side sends by half of them.\n"
        f"With its own work, a `SELECT 1` took {delays} longer through it than without it.\n"
        "**round trips** are counted by the proxy: the client sends something after it has received something.\n"
        "The ratio is to the limit at the same distance, and the milliseconds are those of the fastest round.\n"
        "\n"
        "![Ratios to the limit with PostgreSQL at a distance](images/performance-distance.svg)"
    )
    lines: list[str] = []
    for operation in ("get", "refresh", "logout", "login"):
        lines += [f"### {TITLES[operation]}, at a distance", "", *_at_distances(found, operation), ""]
    return "PostgreSQL at a distance", "distance", text, lines[:-1]


def _at_distances(found: dict[str, Any], operation: str) -> list[str]:
    """Return the table of an operation, with two columns for each distance."""
    distances = {name: one["operations"][operation] for name, one in found["distance"].items()}
    *_, farthest = distances.values()
    lines = [
        f"| | checks | round trips |{''.join(f' {name} ms: ratio | ms |' for name in distances)}",
        f"|---|---|--:|{'--:|--:|' * len(distances)}",
    ]
    for name, said in sorted(farthest.items(), key=lambda item: item[1]["ratio"]):
        checks = "yes" if found["about"][name]["checks"] else ""
        pairs = [f"{rows[name]['ratio']:.2f} | {rows[name]['least'] / 1000:.1f}" for rows in distances.values()]
        lines.append(f"| {_title(found, name)} | {checks} | {said['trips']:g} | {' | '.join(pairs)} |")
    return lines


def _sockets(found: dict[str, Any]) -> Section:
    text = (
        "The authenticated GET behind gunicorn, with two workers of two threads each.\n"
        "A client on the same machine, which uses a part of the processor time, keeps four connections open."
    )
    rows = sorted(found["sockets"].items(), key=lambda item: item[1]["ratio"])
    lines = [f"{said['ratio']:.2f} | {said['rate']:,.0f} | {said['p99']:.1f}" for _, said in rows]
    head = ["| | ratio | requests/s | p99, ms |", "|---|--:|--:|--:|"]
    return "Over sockets", "sockets", text, head + _named(found, rows, lines)


def _growth(found: dict[str, Any]) -> Section:
    text = (
        "The time of an operation with 1,000,000 users in the database, as a multiple of its time with 10,000.\n"
        "Each user has the rows that a login leaves behind."
    )
    rows = list(found["growth"].items())
    operations = ("get", "refresh", "logout", "login")
    lines = [" | ".join(f"{said[one]:.2f}" if one in said else "" for one in operations) for _, said in rows]
    head = ["| | GET | refresh | logout | login |", "|---|--:|--:|--:|--:|"]
    return "Growth", "growth", text, head + _named(found, rows, lines)


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
    return "Purge", "growth", text, head + _named(found, rows, lines)


def _start(found: dict[str, Any]) -> Section:
    text = (
        "From the start of a process until its WSGI application is loaded, including Python, Django, URLs and models.\n"
        "No query is sent, and all modules are compiled.\n"
        "The ratios are to the floor.\n"
        "The kit builds 12 tables and an API of its own.\n"
        "It does not load PyJWT, which it imports with the first token, nor pika and the modules of other processes."
    )
    rows = sorted(found["start"].items(), key=lambda item: item[1]["seconds"])
    lines = [
        f"{_ratio(said, 'ratio')} | {_ratio(said, 'cpu_ratio')} | {1000 * said['seconds']:,.0f} | {said['modules']:.0f} | {said['memory']:.0f}"
        for _, said in rows
    ]
    head = ["| | ratio | CPU ratio | ms | modules | MB |", "|---|--:|--:|--:|--:|--:|"]
    return "Startup", "start", text, [*head, *_named(found, rows, lines)]


def _ratio(said: dict[str, float], key: str) -> str:
    """Return a ratio, or nothing if what it is a ratio to was not measured."""
    return f"{said[key]:.2f}" if key in said else ""


def _start_parts(found: dict[str, Any]) -> Section:
    text = (
        "Each cell has the milliseconds of processor time, the MB of memory and the number of modules that a part adds, with the libraries loaded first.\n"
        "In parentheses is the time as a ratio to the whole start of the floor."
    )
    parts = found["start_parts"]
    floor = sum(said["cpu"] for said in parts["floor"].values()) if "floor" in parts else 0
    lines = [f"| | {' | '.join(_title(found, name) for name in parts)} |", f"|---|{'--:|' * len(parts)}"]
    for part, title in PARTS.items():
        lines.append(f"| {title} | {' | '.join(_added(said[part], floor) for said in parts.values())} |")
    sums = [{key: sum(one[key] for one in said.values()) for key in said["python"]} for said in parts.values()]
    lines.append(f"| together | {' | '.join(_added(one, floor) for one in sums)} |")
    return "Parts of a start", "start-parts", text, lines


def _added(said: dict[str, float], floor: float) -> str:
    ratio = f" ({said['cpu'] / floor:.2f})" if floor else ""
    return f"{1000 * said['cpu']:.0f} ms{ratio}, {said['memory']:.0f} MB, {said['modules']:.0f}"


def _memory(found: dict[str, Any]) -> Section:
    rows = list(found["memory"].items())
    lines = [f"{value:.0f}" for _, value in rows]
    return (
        "Memory of a worker, after all measurements",
        "calls",
        "",
        ["| | MB |", "|---|--:|", *_named(found, rows, lines)],
    )


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


SECTIONS = {
    "distance": _distance,
    "sockets": _sockets,
    "asgi": report_asgi.section,
    "asgi_memory": report_asgi.memory,
    "growth": _growth,
    "purge": _purge,
    "start": _start,
    "start_parts": _start_parts,
    "memory": _memory,
}
"""The function that renders each of the other results."""
