"""The tables of the page, and the function that measures each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.peers import distance, growth, rounds, sockets, starting, under_asgi
from benchmarks.peers.contenders import CONTENDERS
from tests.faults.database import PrivateDatabase

STATELESS = [name for name in CONTENDERS if name.endswith("-stateless")]


@dataclass(frozen=True)
class Run:
    """What a table is measured with.

    Attributes:
        server: the PostgreSQL server.
        names: the contenders.
        turns: how many rounds of turns there are.
        quick: whether only the code is to be checked.
    """

    server: PrivateDatabase
    names: list[str]
    turns: int
    quick: bool

    @property
    def scale(self) -> float:
        """Return the share of the usual number of requests."""
        return 0.2 if self.quick else 1.0

    @property
    def checking(self) -> list[str]:
        """Return the contenders without those that only read tokens."""
        return [name for name in self.names if name not in STATELESS]


def calls(run: Run) -> dict[str, Any]:
    """Measure each operation without sockets."""
    found: dict[str, Any] = {}
    with rounds.processes(run.server, run.names, hasher="cheap") as contenders:
        found["counts"] = rounds.count(contenders)
        checking = [one for one in contenders if one.name not in STATELESS]
        trusting = [one for one in contenders if one.name in {*STATELESS, "floor"}]
        for operation in rounds.OPERATIONS:
            found[operation] = rounds.measure(checking, operation, rounds=run.turns, scale=run.scale)
        found["stateless"] = rounds.measure(
            trusting, "get", rounds=run.turns, scale=run.scale, limit="limit-stateless"
        )
        found["memory"] = {one.name: one.ask("memory", 0)["memory"] for one in contenders}
    return found


def login_default(run: Run) -> dict[str, Any]:
    """Measure a login with Django's default hasher."""
    with rounds.processes(run.server, run.checking, hasher="default") as contenders:
        return {"login_default": rounds.measure(contenders, "login", rounds=run.turns, scale=0.05)}


def over_sockets(run: Run) -> dict[str, Any]:
    """Measure a GET behind gunicorn."""
    return {"sockets": sockets.measure(run.server, run.checking, rounds=run.turns)}


def with_distance(run: Run) -> dict[str, Any]:
    """Measure each operation with the database at a distance."""
    names = [name for name in run.checking if name != "floor"]
    return {"distance": distance.measure(run.server, names, turns=run.turns, scale=run.scale)}


def asgi(run: Run) -> dict[str, Any]:
    """Measure requests behind two ASGI servers."""
    return {"asgi": under_asgi.measure(run.server, run.names, turns=run.turns, quick=run.quick)}


def asgi_memory(run: Run) -> dict[str, Any]:
    """Measure the memory before and after 50,000 requests under ASGI."""
    return {"asgi_memory": under_asgi.measure_memory(run.server, run.names, quick=run.quick)}


def start(run: Run) -> dict[str, Any]:
    """Measure the start of a process."""
    url = run.server.url("postgres")
    return {"start": starting.measure(run.checking, database_url=url, rounds=run.turns)}


def start_parts(run: Run) -> dict[str, Any]:
    """Measure the parts of the start of a process."""
    url = run.server.url("postgres")
    return {"start_parts": starting.measure_parts(run.checking, database_url=url, rounds=run.turns)}


def with_growth(run: Run) -> dict[str, Any]:
    """Measure each operation with a million users, and a purge."""
    large = growth.SMALL * 2 if run.quick else growth.LARGE
    return growth.measure(run.server, run.names, rounds=run.turns, large=large)


@dataclass(frozen=True)
class Table:
    """A table, or several that are measured together.

    Attributes:
        measure: the function that measures it.
        minutes: about how long it takes.
        is_default: whether it is measured unless tables are named.
    """

    measure: Callable[[Run], dict[str, Any]]
    minutes: int
    is_default: bool = True


TABLES = {
    "calls": Table(calls, 2),
    "login-default": Table(login_default, 1),
    "distance": Table(with_distance, 4),
    "sockets": Table(over_sockets, 1),
    "asgi": Table(asgi, 25),
    "asgi-memory": Table(asgi_memory, 12, is_default=False),
    "growth": Table(with_growth, 10),
    "start": Table(start, 1),
    "start-parts": Table(start_parts, 1),
}
