"""Count the files and functions of ninja_auth_kit that one request enters: `python -m benchmarks.hops`.

Run it from the root of the repository. It uses the settings of the tests with the default throttles and with a
broker, so that events are written to the outbox. It creates a database on the server of `DATABASE_URL`, and drops it.

Each operation runs once without the trace, so that caches are filled, and then once with it:

- `login`: by email, with the right password and a verified address; it replaces the only session of the account
- `register`: a new address
- `refresh` and `logout`: the refresh token of a new session
- `guarded`: `GET /guarded`, a route of the benchmark's own API behind `JWTAuth()`, with a new access token
- `relay`: `authkit_relay --once` publishes one batch to the broker at `RABBITMQ_HOST` (default: 127.0.0.1), or to a
  substitute in this process if that broker does not answer; the exchange and its stream are deleted afterwards

Only what runs before the answer is counted: jobs that run after it, such as emails, are discarded. A file counts if
one of its functions is called. Comprehensions, the import of a module, and methods that `dataclass` or `NamedTuple`
generate do not count.
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
from typing import Any

from django.core.management import call_command
from django.test import Client

import ninja_auth_kit
from benchmarks.hops_project import EMAIL, PASSWORD, broker, project

Entered = dict[str, list[str]]  # the functions of each file, both in the order of the first call
Prepare = Callable[[], Callable[[], object]]  # set up one run of an operation, and return what is traced

ROOT = f"{Path(ninja_auth_kit.__file__).parent}{os.sep}"
COMPREHENSIONS = {"<dictcomp>", "<genexpr>", "<listcomp>", "<setcomp>"}  # most are not functions since Python 3.12
NUMBERS = count(1)  # of the users that register


def main() -> None:
    """Measure the operations of the command line and print the counts."""
    options = arguments()
    chosen = options.only or OPERATIONS
    with project(), broker() if "relay" in chosen else nullcontext():
        found = {name: measure(OPERATIONS[name]) for name in chosen}
    if options.json:
        print(json.dumps({name: {**counts(entered), "entered": entered} for name, entered in found.items()}, indent=2))
    else:
        print("\n".join(report(found, functions=options.list)))


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.hops", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=OPERATIONS, help="measure only these operations")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--list", action="store_true", help="also print the files and functions, by their first call")
    output.add_argument("--json", action="store_true", help="print the counts, files and functions as JSON")
    return parser.parse_args()


def counts(entered: Entered) -> dict[str, int]:
    """Return the number of files and of functions."""
    return {"files": len(entered), "functions": sum(map(len, entered.values()))}


def report(found: dict[str, Entered], *, functions: bool) -> Iterable[str]:
    """Return the lines of the table and, if requested, of the functions that each operation enters."""
    yield f"{'operation':<12}{'files':>6}{'functions':>11}"
    for operation, entered in found.items():
        yield "{:<12}{files:>6}{functions:>11}".format(operation, **counts(entered))
    for operation, entered in found.items() if functions else ():
        yield f"\n{operation}"
        for file, names in entered.items():
            yield from (f"  {file}", *(f"    {name}" for name in names))


def measure(prepare: Prepare) -> Entered:
    """Return what the second run of an operation enters, in this thread and in those that it starts."""
    prepare()()
    operation = prepare()
    entered: dict[str, dict[str, None]] = {}

    def see(frame: types.FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(ROOT) or code.co_name in COMPREHENSIONS:
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
    return {Path(file).as_posix(): list(names) for file, names in entered.items()}


def send(method: str, path: str, body: dict[str, str] | None = None, **headers: str) -> Any:
    """Send a request and return the content of its answer."""
    data = json.dumps(body) if body else ""
    answer = Client().generic(method, path, data, "application/json", headers=headers)
    assert answer.status_code < 300, (path, answer.status_code, answer.content)
    return json.loads(answer.content or "null")


def login() -> Any:
    """Log in, which ends the session of the last login, and return the tokens."""
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
