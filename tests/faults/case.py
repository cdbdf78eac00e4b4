"""A case of the fault suite: its database and exchange, its processes, and the final count."""

import contextlib
import json
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import psycopg

from ninja_auth_kit.audit.relay.loop import BATCH
from tests.faults.count import Count
from tests.faults.database import PrivateDatabase
from tests.faults.gate import Gate
from tests.faults.inbox import Inbox
from tests.faults.ledger import Ledger
from tests.faults.processes import AnyServer, Process, Relay, Visitors, WebServer, Writer, environment
from tests.faults.report import Row
from tests.private_broker import PrivateBroker
from tests.private_cluster import PrivateCluster

WRITERS = 2
PATIENCE = 180.0  # seconds, for what is expected to happen eventually
LONGEST_REQUEST = 5000.0  # ms, shorter than any time for which the relay waits for the broker

__all__ = ["BATCH", "Case"]


class Case:
    """The steps of a case: start, write, introduce a fault, remove it, expect.

    Args:
        row: the row of the result table to fill in.
        events: how many events are written.
        broker: the broker that receives the events.
        server: the database server.
    """

    def __init__(
        self, row: Row, *, events: int, broker: PrivateBroker | PrivateCluster, server: PrivateDatabase
    ) -> None:
        self.row, self.events, self.broker, self.server = row, events, broker, server
        self.name = f"case_{row.number}_{uuid.uuid4().hex[:8]}"
        self.ledger = Ledger(server, self.name)
        self.home = Path(tempfile.mkdtemp(prefix="nak-case-"))
        self.inbox = Inbox(broker.port, f"{self.name}.events")
        self.kit: dict[str, Any] = {"AUDIT_EXCHANGE": self.inbox.exchange}
        self.variables: dict[str, str] = {}
        self.relays: list[Relay] = []
        self._exits = contextlib.ExitStack()
        self._write_errors = 0
        self._visits: dict[str, float] = {}
        self.tell(row.fault)

    def start_relay(
        self, *arguments: str, url: str | None = None, clock: int | None = None, **variables: str
    ) -> Relay:
        """Start another relay.

        Args:
            arguments: the arguments of the command.
            url: the URL of the database, if it differs from the URL of the other processes.
            clock: how many seconds its clock is fast.
            variables: additional environment variables.
        """
        program = ["django"] if clock is None else ["tests.faults.clock", str(clock)]
        return self._relay([*program, "authkit_relay", *arguments], url=url, **variables)

    def start_old_relay(self, *arguments: str) -> Relay:
        """Start a relay of another version."""
        return self._relay(
            ["tests.faults.old_relay", self.ledger.url, str(self.broker.port), self.inbox.exchange, *arguments]
        )

    def start_writer(self, **orders: Any) -> Writer:
        """Start a writer with its own orders."""
        writer = Writer(orders, self._environment(), self._log("writer"))
        self._exits.callback(writer.end)
        return writer

    @contextlib.contextmanager
    def writing(self, *, events: int | None = None, **orders: Any) -> Iterator[None]:
        """Run the block while writers write the events of the case, and wait for the writers."""
        share = (events or self.events) // WRITERS
        writers = [self.start_writer(events=share, seed=seed, **orders) for seed in range(WRITERS)]
        yield
        for writer in writers:
            self._write_errors += writer.result(timeout=10 * PATIENCE)["errors"]
        self.tell("everything is written")

    @contextlib.contextmanager
    def visiting(self, *, server: tuple[str, ...] = (), **kit: Any) -> Iterator[WebServer]:
        """Run the block while simulated users log in and refresh at a web server."""
        self.kit |= kit
        with self.serving(*server) as web:
            visitors = Visitors(web.port, self._log("visitors"))
            self._exits.callback(visitors.end)
            yield web
            self._visits = visitors.result()
            if kit.get("AUDIT_EMBEDDED_RELAY"):
                self.until_empty()  # before the relays end together with the server

    @contextlib.contextmanager
    def serving(self, *arguments: str) -> Iterator[WebServer]:
        """Run the block while a gunicorn server responds.

        Args:
            arguments: additional arguments of gunicorn.
        """
        web = WebServer(arguments, self._environment(), self._log("web"))
        self._exits.callback(web.end)
        self.until(web.answers, "the web server responds")
        yield web
        web.terminate()

    def serve(self, arguments: str) -> AnyServer:
        """Start a server of any kind, and return it when it responds."""
        web = AnyServer(arguments, self._environment(), self._log("web"))
        self._exits.callback(web.end)
        self.until(web.answers, "the web server responds")
        return web

    def run(self, *arguments: str) -> str:
        """Run a module to its end and return the last line of its output."""
        process = Process(list(arguments), self._environment(), self._log("run"))
        self._exits.callback(process.end)
        assert process.wait(timeout=120) == 0, process.output
        return process.output.splitlines()[-1]

    def publisher(self) -> dict[str, str]:
        """Create a broker user for the relay and return its environment variables."""
        name, password = self.name, f"c4n4ry-{uuid.uuid4().hex}"
        self.broker.control("add_user", name, password)
        self.broker.control("set_permissions", name, ".*", ".*", ".*")
        return {"TEST_RABBITMQ_USER": name, "TEST_RABBITMQ_PASSWORD": password}

    def limit_inbox(self, length: int) -> None:
        """Limit the length of the inbox, which then rejects further events."""
        limit = json.dumps({"max-length": length, "overflow": "reject-publish"})
        self.broker.control("set_policy", self.name, f"^{self.inbox.queue}$", limit, "--apply-to", "queues")

    def gate(self) -> Gate:
        """Keep the relay from deleting what it has published until the gate is opened."""
        gate = Gate(self.ledger.url)
        self._exits.callback(gate.open)
        return gate

    def until_written(self, share: float) -> None:
        """Wait until this share of the events has been written."""
        self.until(lambda: self.ledger.written() >= share * self.events, f"{share:.0%} are written")

    def until_published(self, share: float) -> None:
        """Wait until this share of the events has been published and deleted."""
        self.until(lambda: self.ledger.published() >= share * self.events, f"{share:.0%} are published")

    def until_said(self, words: str) -> None:
        """Wait until the output of a relay contains these words."""
        self.until(lambda: any(words in relay.output for relay in self.relays), f"a relay says: {words}")

    def until_empty(self, timeout: float = PATIENCE) -> float:
        """Wait until every event has been published, and return how many seconds it took."""
        return self.until(lambda: not self.ledger.left(), "nothing is left", timeout)

    def until(self, condition: Callable[[], bool], what: str, timeout: float = PATIENCE) -> float:
        """Wait for a condition, even while the database is down, and return the seconds it took."""
        begun = reported = time.monotonic()
        while True:
            with contextlib.suppress(psycopg.OperationalError):
                if condition():
                    break
                if time.monotonic() - reported > 10:
                    reported = time.monotonic()
                    self.tell(f"  {self.ledger.written():,} written, {self.ledger.left():,} waiting")
            assert time.monotonic() - begun < timeout, f"not within {timeout:.0f} s: {what}\n{self.logs()}"
            time.sleep(0.05)
        self.tell(what)
        return time.monotonic() - begun

    def expect(
        self,
        *,
        duplicates: int = 0,
        left: int = 0,
        order: bool = True,
        errors: bool = False,
        uncommitted: bool = False,
        source: Callable[[Callable[[], bool]], Iterable[bytes | str]] | None = None,
    ) -> Count:
        """Count the events, fill in the row of the table, and assert the guarantees.

        Args:
            duplicates: the largest allowed number of duplicates.
            left: how many rows must remain in the outbox or among the deferred events.
            order: whether the order of each user must be kept.
            errors: whether writers and visitors may get errors, because the database was down.
            uncommitted: whether events of lost transactions may have been published, because the server that
                committed them is gone.
            source: a function that reads the messages; the default is the inbox.
        """
        for relay in self.relays:
            assert not relay.is_running or relay.terminate() == 0, relay.output
        count = Count(self.ledger.truth())
        for body in (source or self.inbox.read)(lambda: not count.lost):
            count.take(body)
        rows = self.ledger.left()
        self._fill_in(count, rows)
        assert (count.lost, count.rolled_back) == (0, 0), count
        assert uncommitted or not count.phantoms, count
        assert rows == left
        assert count.duplicates <= duplicates, count
        assert not (order and count.disorder), count
        assert errors or not self._write_errors
        assert errors or not self._visits.get("failed"), self._visits
        assert errors or self._visits.get("worst", 0) < LONGEST_REQUEST, self._visits
        return count

    def note(self, text: str) -> None:
        """Add an observation to the row of the table."""
        self.row.notes.append(text)
        self.tell(text)

    def tell(self, line: str) -> None:
        """Print the progress."""
        print(f"[{time.monotonic() - self.row.begun:6.1f} s] {self.row.number:2d}  {line}", flush=True)

    def logs(self) -> str:
        """Return the end of each process's output."""
        return "\n".join(f"--- {log.name}\n{log.read_text()[-2000:]}" for log in sorted(self.home.glob("*.log")))

    def start(self, kind: str, *arguments: str) -> Process:
        """Start a module as a process that is killed with the case, unless it has ended."""
        process = Process(list(arguments), self._environment(), self._log(kind))
        self._exits.callback(process.end)
        return process

    def close(self) -> None:
        """End the processes and remove the inbox, the database and the log files."""
        self.abandon()
        self.ledger.drop()

    def abandon(self) -> None:
        """End the processes and remove the inbox and the log files. The database goes with its server."""
        self._exits.close()
        self.inbox.remove()
        shutil.rmtree(self.home, ignore_errors=True)

    def _fill_in(self, count: Count, rows: int) -> None:
        figures = {
            "events": count.expected,
            "received": count.received,
            "lost": count.lost,
            "duplicates": count.duplicates,
            "remaining": rows,
            "out of order": count.disorder,
            "uncommitted": count.rolled_back + count.phantoms,
        }
        self.row.figures = {name: f"{figure:,}" for name, figure in figures.items()}
        self.row.figures["seconds"] = f"{time.monotonic() - self.row.begun:.0f}"
        if self._visits:
            self.row.figures |= {name: f"{self._visits[name]:,.0f} ms" for name in ("p99", "worst")}
        self.tell(str(self.row.figures))

    def _relay(self, arguments: list[str], **variables: Any) -> Relay:
        relay = Relay(arguments, self._environment(**variables), self._log("relay"))
        self.relays.append(relay)
        self._exits.callback(relay.end)
        return relay

    def _environment(self, *, url: str | None = None, **variables: str) -> dict[str, str]:
        return environment(self.broker.port, url or self.ledger.url, self.kit) | self.variables | variables

    def _log(self, kind: str) -> Path:
        return self.home / f"{kind}-{uuid.uuid4().hex[:6]}.log"
