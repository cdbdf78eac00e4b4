"""One case: a database and an exchange of its own, the processes around them, and the count at the end."""

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
from tests.faults.processes import Process, Relay, Visitors, WebServer, Writer, environment
from tests.faults.report import Row
from tests.private_broker import PrivateBroker

WRITERS = 2
PATIENCE = 180.0  # seconds, for what must happen in the end
LONGEST_REQUEST = 5000.0  # ms: shorter than any time that the relay waits for the broker

__all__ = ["BATCH", "Case"]


class Case:
    """What a case is told in: start, write, break, mend, expect.

    Args:
        row: of the table, to be filled in.
        events: how many are written.
        broker: where the events go.
        server: where the database is.
    """

    def __init__(self, row: Row, *, events: int, broker: PrivateBroker, server: PrivateDatabase) -> None:
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
        """Start one more relay.

        Args:
            arguments: of the command.
            url: of the database, where it goes another way than everybody else.
            clock: how many seconds its clock is fast.
            variables: of its environment.
        """
        program = ["django"] if clock is None else ["tests.faults.clock", str(clock)]
        return self._relay([*program, "authkit_relay", *arguments], url=url, **variables)

    def start_old_relay(self, *arguments: str) -> Relay:
        """Start a relay of another version."""
        return self._relay(
            ["tests.faults.old_relay", self.ledger.url, str(self.broker.port), self.inbox.exchange, *arguments]
        )

    def start_writer(self, **orders: Any) -> Writer:
        """Start one writer with orders of its own."""
        writer = Writer(orders, self._environment(), self._log("writer"))
        self._exits.callback(writer.end)
        return writer

    @contextlib.contextmanager
    def writing(self, *, events: int | None = None, **orders: Any) -> Iterator[None]:
        """Write the events of the case meanwhile; it ends when they are written."""
        share = (events or self.events) // WRITERS
        writers = [self.start_writer(events=share, seed=seed, **orders) for seed in range(WRITERS)]
        yield
        for writer in writers:
            self._write_errors += writer.result(timeout=10 * PATIENCE)["errors"]
        self.tell("everything is written")

    @contextlib.contextmanager
    def visiting(self, *, server: tuple[str, ...] = (), **kit: Any) -> Iterator[WebServer]:
        """Have visitors meanwhile, who log in and refresh at a web server."""
        self.kit |= kit
        web = WebServer(server, self._environment(), self._log("web"))
        self._exits.callback(web.end)
        self.until(web.answers, "the web server answers")
        visitors = Visitors(web.port, self._log("visitors"))
        self._exits.callback(visitors.end)
        yield web
        self._visits = visitors.result()
        web.terminate()

    def run(self, *arguments: str) -> str:
        """Run a module to its end and return the last line that it prints."""
        process = Process(list(arguments), self._environment(), self._log("run"))
        self._exits.callback(process.end)
        assert process.wait(timeout=120) == 0, process.output
        return process.output.splitlines()[-1]

    def publisher(self) -> dict[str, str]:
        """Make a user of the broker for the relay, and return what its environment must say."""
        name, password = self.name, f"c4n4ry-{uuid.uuid4().hex}"
        self.broker.control("add_user", name, password)
        self.broker.control("set_permissions", name, ".*", ".*", ".*")
        return {"TEST_RABBITMQ_USER": name, "TEST_RABBITMQ_PASSWORD": password}

    def limit_inbox(self, length: int) -> None:
        """Let the inbox hold so many events, and refuse more."""
        limit = json.dumps({"max-length": length, "overflow": "reject-publish"})
        self.broker.control("set_policy", self.name, f"^{self.inbox.queue}$", limit, "--apply-to", "queues")

    def gate(self) -> Gate:
        """Keep the relay from deleting what it has published, until the gate is opened."""
        gate = Gate(self.ledger.url)
        self._exits.callback(gate.open)
        return gate

    def until_written(self, share: float) -> None:
        """Wait until this share of the events is written."""
        self.until(lambda: self.ledger.written() >= share * self.events, f"{share:.0%} are written")

    def until_published(self, share: float) -> None:
        """Wait until this share of the events is published and deleted."""
        self.until(lambda: self.ledger.published() >= share * self.events, f"{share:.0%} are published")

    def until_said(self, words: str) -> None:
        """Wait until a relay has said this."""
        self.until(lambda: any(words in relay.output for relay in self.relays), f"a relay says: {words}")

    def until_empty(self, timeout: float = PATIENCE) -> float:
        """Wait until nothing waits any more; return how many seconds it took."""
        return self.until(lambda: not self.ledger.left(), "nothing is left", timeout)

    def until(self, condition: Callable[[], bool], what: str, timeout: float = PATIENCE) -> float:
        """Wait for a condition, also where the database is away; return how many seconds it took."""
        begun = told = time.monotonic()
        while True:
            with contextlib.suppress(psycopg.OperationalError):
                if condition():
                    break
                if time.monotonic() - told > 10:
                    told = time.monotonic()
                    self.tell(f"  {self.ledger.written():,} written, {self.ledger.left():,} wait")
            assert time.monotonic() - begun < timeout, f"not in {timeout:.0f} s: {what}\n{self.logs()}"
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
        source: Callable[[Callable[[], bool]], Iterable[bytes | str]] | None = None,
    ) -> Count:
        """Count, fill in the row of the table, and hold the figures to what is promised.

        Args:
            duplicates: how many there may be at most.
            left: how many rows must be left, in the outbox or among the deferred.
            order: whether the order of each user must hold.
            errors: whether writers and visitors may meet errors: the database was away.
            source: where the messages are, if not in the inbox.
        """
        for relay in self.relays:
            assert not relay.is_running or relay.terminate() == 0, relay.output
        count = Count(self.ledger.truth())
        for body in (source or self.inbox.read)(lambda: not count.lost):
            count.take(body)
        rows = self.ledger.left()
        self._fill_in(count, rows)
        assert (count.lost, count.rolled_back, count.phantoms) == (0, 0, 0), count
        assert rows == left
        assert count.duplicates <= duplicates, count
        assert not (order and count.disorder), count
        assert errors or not self._write_errors
        assert errors or not self._visits.get("failed"), self._visits
        assert errors or self._visits.get("worst", 0) < LONGEST_REQUEST, self._visits
        return count

    def note(self, text: str) -> None:
        """Put something that was seen into the table."""
        self.row.notes.append(text)
        self.tell(text)

    def tell(self, line: str) -> None:
        """Say what is going on, to whoever watches."""
        print(f"[{time.monotonic() - self.row.begun:6.1f} s] {self.row.number:2d}  {line}", flush=True)

    def logs(self) -> str:
        """Return the end of what each process has said."""
        return "\n".join(f"--- {log.name}\n{log.read_text()[-2000:]}" for log in sorted(self.home.glob("*.log")))

    def close(self) -> None:
        """End what was started and leave nothing behind."""
        self._exits.close()
        self.inbox.remove()
        self.ledger.drop()
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
