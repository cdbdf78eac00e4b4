"""What a supervisor sees of a relay: a page of figures, and a file that is touched while it lives."""

import logging
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import time

from django.db import DatabaseError, connections

from ninja_auth_kit.audit.relay.health import read_health

logger = logging.getLogger("ninja_auth_kit.relay")


Sample = tuple[str, dict[str, str], float]


# name, kind, and what it says: as the exposition format of Prometheus has it.
_HELP = {
    "published_total": ("counter", "Events that the broker has confirmed and routed."),
    "refused_total": ("counter", "Events set aside, by reason."),
    "failures_total": ("counter", "Tries that the broker or the database did not play along with."),
    "connections_total": ("counter", "Connections that were opened to the broker."),
    "confirm_seconds_total": ("counter", "Seconds spent waiting for the answers to batches."),
    "batches_total": ("counter", "Batches that were answered."),
    "blocked": ("gauge", "1 while the broker blocks publishers."),
    "shards": ("gauge", "Shards that the last turn held, of 16."),
    "last_success_timestamp_seconds": ("gauge", "When the outbox was last looked at without a failure."),
    "pending": ("gauge", "Events in the outbox, counted up to 100,000."),
    "oldest_seconds": ("gauge", "Age of the oldest event in the outbox: the one to alarm on."),
    "oldest_retry_seconds": ("gauge", "Age of the oldest event that was refused and is tried again: alarm on it too."),
    "deferred": ("gauge", "Events that were refused, by state."),
}


@dataclass
class Metrics:
    """The counters of one relay.

    Attributes:
        last_round: when it last came to the end of a round or of a pause, whatever came of it: that it lives.
        last_success: when it last looked at the outbox without a failure, or 0.
    """

    published: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    failures: int = 0
    connections: int = 0
    confirm_seconds: float = 0.0
    batches: int = 0
    blocked: bool = False
    shards: int = 0
    last_success: float = 0.0
    last_round: float = field(default_factory=time)

    def answered(self, seconds: float, *, confirmed: int, reasons: Iterable[str]) -> None:
        """Count a batch that was answered."""
        self.batches += 1
        self.confirm_seconds += seconds
        self.published += confirmed
        for reason in reasons:
            self.refused[reason] = self.refused.get(reason, 0) + 1

    def succeeded(self) -> None:
        """Note that a look at the outbox went well."""
        self.last_success = time()

    def went_round(self) -> None:
        """Note that the relay is alive, though it may only wait for the broker."""
        self.last_round = time()

    def samples(self) -> list[Sample]:
        """Return each figure as name, labels and value."""
        return [
            ("published_total", {}, self.published),
            *(("refused_total", {"reason": reason}, count) for reason, count in sorted(self.refused.items())),
            ("failures_total", {}, self.failures),
            ("connections_total", {}, self.connections),
            ("confirm_seconds_total", {}, self.confirm_seconds),
            ("batches_total", {}, self.batches),
            ("blocked", {}, self.blocked),
            ("shards", {}, self.shards),
            ("last_success_timestamp_seconds", {}, self.last_success),
        ]


def exposition(samples: Iterable[Sample]) -> str:
    """Return figures in the text format that Prometheus scrapes; the labels hold words of ours alone."""
    lines: list[str] = []
    told: set[str] = set()
    for name, labels, value in sorted(samples, key=lambda sample: sample[0]):
        if name not in told:
            kind, what = _HELP[name]
            lines += [f"# HELP ninja_auth_kit_audit_{name} {what}", f"# TYPE ninja_auth_kit_audit_{name} {kind}"]
            told.add(name)
        label = ",".join(f'{key}="{said}"' for key, said in labels.items())
        lines.append(f"ninja_auth_kit_audit_{name}{{{label}}} {value:.10g}".replace("{}", ""))
    return "\n".join([*lines, ""])


CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def samples_for(relays: Sequence[tuple[str, Metrics]]) -> list[Sample]:
    """Return the figures of relays and of their outboxes, each with the alias of its database."""
    found: list[Sample] = []
    for using, metrics in relays:
        label = {"database": using}
        found += [(name, {**label, **labels}, value) for name, labels, value in metrics.samples()]
        with suppress(DatabaseError):  # a database that is away is told by what is missing, and by the failures
            health = read_health(using=using)
            found += [("pending", label, health.pending), ("oldest_seconds", label, health.oldest_seconds)]
            found.append(("oldest_retry_seconds", label, health.oldest_retry_seconds))
            found += [
                ("deferred", {**label, "state": state}, sum(reasons.values()))
                for state, reasons in health.deferred.items()
            ]
        connections[using].close()  # of the thread that answers this request
    return found


def serve(host: str, port: int, figures: Callable[[], list[Sample]]) -> ThreadingHTTPServer:
    """Serve the figures at `/metrics` in a daemon thread, and return the server.

    Raises:
        OSError: the port is taken, or the host is not one of this machine's.
    """

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == "/metrics"
            body = exposition(figures()).encode() if known else b"The figures are at /metrics.\n"
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", CONTENT_TYPE if known else "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Log no line for each scrape."""

    server = ThreadingHTTPServer((host, port), Page)
    threading.Thread(target=server.serve_forever, name="ninja_auth_kit-metrics", daemon=True).start()
    return server


class HealthFile:
    """A file whose time is that of the last round, of the relay for which that is the longest ago.

    A round that only found the broker away counts: a relay that waits is well, and to restart it helps nobody. A probe
    asks for the age: `test $(( $(date +%s) - $(stat -c %Y FILE) )) -lt 120`.

    Args:
        path: where.
        relays: what the relays of this process say of themselves.
    """

    def __init__(self, path: Path, relays: Sequence[Metrics]) -> None:
        self.path, self.relays = path, relays
        self._is_failing = False

    def create(self) -> None:
        """Make the file.

        Raises:
            OSError: it cannot be written.
        """
        with self.path.open("a"):  # unlike `touch`, this finds that it is a directory
            os.utime(self.path)

    def touch(self) -> None:
        """Bring its time up to date. That it cannot is logged, once: events go out all the same."""
        moment = min(metrics.last_round for metrics in self.relays)
        try:
            self.path.touch()
            os.utime(self.path, (moment, moment))
        except OSError as error:
            if not self._is_failing:
                logger.warning("The health file %s cannot be written (%s).", self.path, error.strerror)
            self._is_failing = True
        else:
            self._is_failing = False

    def remove(self) -> None:
        """Say that nobody works any more."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("The health file %s cannot be removed (%s).", self.path, error.strerror)
