"""The process of one contender, which executes the operations that the parent requests."""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.peers.contender import Contender, Request, Tokens
from benchmarks.peers.contenders import module_of, named
from benchmarks.peers.counting import calls_of, django_statements
from benchmarks.peers.proxy import Counter


class Worker:
    """A running contender and its operations."""

    def __init__(self, contender: Contender, call: Callable[[Request], tuple[int, bytes]], counting: Any) -> None:
        self.contender, self._call, self._counting = contender, call, counting
        self._trips = Counter(Path(os.environ["ROUND_TRIPS"])) if "ROUND_TRIPS" in os.environ else None

    def ask(self, request: Request) -> Any:
        """Send a request that must succeed, and return the content of its response."""
        status, body = self._call(request)
        if not self.contender.is_done(request, status):
            raise RuntimeError(f"{self.contender.title}: {request.method} {request.path}: {status} {body[:500]!r}")
        return json.loads(body) if body else None

    def login(self) -> Tokens:
        return self.contender.tokens(self.ask(self.contender.login()))

    def requests(self, operation: str) -> Iterator[Request | None]:
        """Yield the requests of an operation. The response to each is sent into the generator."""
        if operation == "login":
            while True:
                yield self.contender.login()
        tokens = self.login()
        while True:
            answer = yield getattr(self.contender, operation)(tokens)
            if operation == "refresh":
                tokens = self.contender.tokens({"refresh": tokens.refresh, **answer})
            if operation == "logout":
                tokens = self.login()

    def measure(self, operation: str, number: int) -> dict[str, float]:
        """Return the median wall time and mean processor time of an operation in microseconds.

        Behind a proxy, also return the median number of round trips to the database.
        """
        walls, processor, trips = [], [], []
        requests: Any = self.requests(operation)
        request = next(requests)
        for _ in range(number):
            sent = self._trips.read() if self._trips else 0
            began, cpu = time.perf_counter_ns(), time.process_time_ns()
            answer = self.ask(request)
            processor.append(time.process_time_ns() - cpu)
            walls.append(time.perf_counter_ns() - began)
            trips.append(self._trips.read() - sent if self._trips else 0)
            request = requests.send(answer)
        said = {"wall": statistics.median(walls) / 1000, "cpu": statistics.mean(processor) / 1000}
        if self._trips:
            said["trips"] = statistics.median(trips)
        return said

    def count(self, operation: str) -> dict[str, int]:
        """Return the statements and function calls of one request of an operation."""
        requests: Any = self.requests(operation)
        request = next(requests)
        for _ in range(3):
            request = requests.send(self.ask(request))
        with self._counting() as count:
            answer = self.ask(request)
        request = requests.send(answer)
        calls = calls_of(lambda: self.ask(request))
        return {"statements": count.statements, "transactions": count.transactions, "calls": calls}

    def offers(self) -> list[str]:
        """Return the operations that the contender supports."""
        tokens = self.login()
        found = ["get", "login"]
        return found + [name for name in ("refresh", "logout") if getattr(self.contender, name)(tokens) is not None]


def main(name: str, hasher: str) -> None:
    """Start the contender and execute the operations that arrive on stdin, one JSON line each."""
    began = time.perf_counter()
    contender, module = named(name), module_of(name)
    start = getattr(module, "start", None) or import_module("benchmarks.peers.project").start
    counting = getattr(module, "statements", django_statements)
    worker = Worker(contender, start(contender, database_url=os.environ["DATABASE_URL"], hasher=hasher), counting)
    say(
        {
            "title": contender.title,
            "checks": contender.checks,
            "statements": contender.statements,
            "purges": bool(contender.purge_command),
            "offers": worker.offers(),
            "started": time.perf_counter() - began,
        }
    )
    for line in sys.stdin:
        operation, number = json.loads(line)
        if operation == "memory":
            say({"memory": resident()})
        else:
            say(worker.measure(operation, number) if number else worker.count(operation))


def resident() -> float:
    """Return the resident memory of this process in MB."""
    with open("/proc/self/status") as status:  # noqa: PTH123  # not a path of the project
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024


def say(answer: Any) -> None:
    """Send a JSON line to the parent."""
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:3])
