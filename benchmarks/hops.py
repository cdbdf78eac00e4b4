"""Count the files and functions that a request enters, and its calls: `python -m benchmarks.hops`.

Run it from the root of the repository. It uses the settings of the tests with the default rate
limits and with a broker, so that events are written to the outbox. It creates a database on the
server of `DATABASE_URL`, and drops it.

Each operation runs once without the trace, so that caches are filled, and then once with it:

- `login`: by email, with the right password and a verified address. It replaces the only session of
  the account.
- `register`: a new address.
- `refresh` and `logout`: the refresh token of a new session.
- `guarded`: `GET /guarded`, a route of the benchmark's own API behind `JWTAuth()`, with a new access
  token.
- `relay`: `authkit_relay --once` publishes one batch to the broker at `RABBITMQ_HOST` (default:
  127.0.0.1), or to a substitute in this process if that broker does not respond. The exchange and
  its stream are deleted afterwards.

Only what runs before the response is counted. Jobs that run after it, such as emails, are
discarded.

- `files` and `functions` are those of ninja_auth_kit. A file counts if one of its functions is
  called. Comprehensions, the import of a module, and methods that `dataclass` or `NamedTuple`
  generate do not count.
- `calls` is the number of all calls of Python functions, in ninja_auth_kit and outside of it,
  including those of Django's test client. It differs between versions of Python, Django and Ninja.
"""

import argparse
import json
import os
import sys
import threading
import types
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from inspect import CO_OPTIMIZED
from io import StringIO
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from django.core.management import call_command
from django.test import Client

import ninja_auth_kit
from benchmarks.hops_project import EMAIL, PASSWORD, broker, project

Entered = dict[str, list[str]]  # the functions of each file, both in the order of the first call
Prepare = Callable[[], Callable[[], object]]  # sets up one run of an operation, and returns what is traced

ROOT = f"{Path(ninja_auth_kit.__file__).parent}{os.sep}"
COMPREHENSIONS = {"<dictcomp>", "<genexpr>", "<listcomp>", "<setcomp>"}  # most are not functions since Python 3.12
NUMBERS = count(1)  # of the users that register


class Trace(NamedTuple):
    """What one run of an operation entered, and how many Python functions it called."""

    entered: Entered
    calls: int

    def counts(self) -> dict[str, int]:
        """Return the numbers of the table."""
        functions = sum(map(len, self.entered.values()))
        return {"files": len(self.entered), "functions": functions, "calls": self.calls}


def main() -> None:
    """Measure the operations of the command line and print the counts."""
    options = arguments()
    chosen = options.only or OPERATIONS
    with project(), broker() if "relay" in chosen else nullcontext():
        found = {name: measure(OPERATIONS[name]) for name in chosen}
    if options.json:
        printed = {name: {**trace.counts(), "entered": trace.entered} for name, trace in found.items()}
        print(json.dumps(printed, indent=2))
    else:
        print("\n".join(report(found, functions=options.list)))


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.hops", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=OPERATIONS, help="measure only these operations")
    output = parser.add_mutually_exclusive_group()
    output.add_argument(
        "--list", action="store_true", help="also print the files and functions, in the order of their first call"
    )
    output.add_argument("--json", action="store_true", help="print the counts, files and functions as JSON")
    return parser.parse_args()


def report(found: dict[str, Trace], *, functions: bool) -> Iterable[str]:
    """Return the lines of the table and, if requested, the functions of each operation."""
    yield f"{'operation':<12}{'files':>6}{'functions':>11}{'calls':>8}"
    for operation, trace in found.items():
        yield "{:<12}{files:>6}{functions:>11}{calls:>8}".format(operation, **trace.counts())
    for operation, trace in found.items() if functions else ():
        yield f"\n{operation}"
        for file, names in trace.entered.items():
            yield from (f"  {file}", *(f"    {name}" for name in names))


def measure(prepare: Prepare) -> Trace:
    """Trace the second run of an operation, in this thread and in those that it starts."""
    prepare()()
    operation = prepare()
    entered: dict[str, dict[str, None]] = {}
    calls = count()  # unlike `+= 1`, `next` is atomic between threads

    def see(frame: types.FrameType, event: str, _: object) -> None:
        if event != "call":
            return
        next(calls)
        code = frame.f_code
        if not code.co_filename.startswith(ROOT) or code.co_name in COMPREHENSIONS:
            return
        if code.co_flags & CO_OPTIMIZED:  # a function, not the body of a module or a class
            entered.setdefault(code.co_filename.removeprefix(ROOT), {})[code.co_qualname] = None

    threading.setprofile(see)
    sys.setprofile(see)
    try:
        operation()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return Trace({Path(file).as_posix(): list(names) for file, names in entered.items()}, next(calls))


def send(method: str, path: str, body: dict[str, str] | None = None, **headers: str) -> Any:
    """Send a request and return the content of its response."""
    data = json.dumps(body) if body else ""
    response = Client().generic(method, path, data, "application/json", headers=headers)
    assert response.status_code < 300, (path, response.status_code, response.content)
    return json.loads(response.content or "null")


def login() -> Any:
    """Log in, which ends the session of the previous login, and return the tokens."""
    return send("POST", "/auth/login", {"email": EMAIL, "password": PASSWORD})


def prepare_login() -> Callable[[], object]:
    login()
    return login


def prepare_register() -> Callable[[], object]:
    name = f"user{next(NUMBERS)}"
    body = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
    return lambda: send("POST", "/auth/register", body)


def prepare_refresh_token(path: str) -> Callable[[], object]:
    body = {"refresh_token": login()["refresh_token"]}
    return lambda: send("POST", path, body)


def prepare_guarded() -> Callable[[], object]:
    authorization = f"Bearer {login()['access_token']}"
    return lambda: send("GET", "/guarded", authorization=authorization)


def prepare_relay() -> Callable[[], object]:
    login()  # its events wait in the outbox
    return lambda: call_command("authkit_relay", "--once", stdout=StringIO())


OPERATIONS: dict[str, Prepare] = {
    "login": prepare_login,
    "register": prepare_register,
    "refresh": lambda: prepare_refresh_token("/auth/refresh"),
    "logout": lambda: prepare_refresh_token("/auth/logout"),
    "guarded": prepare_guarded,
    "relay": prepare_relay,
}

if __name__ == "__main__":
    main()
