"""How a relay is monitored: metrics for Prometheus, and a file whose modification time shows that it is running."""

import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import time

from django.db import DatabaseError, InterfaceError

from ninja_auth_kit.audit.relay.health import read_health
from ninja_auth_kit.audit.relay.heartbeat import BLOCKED, PUBLISHING, WAITING
from ninja_auth_kit.connection_state import Restore, background_connection

logger = logging.getLogger("ninja_auth_kit.relay")

Sample = tuple[str, dict[str, str], float]
"""The name of a metric, its labels and its value."""

# The type and the help text of each metric.
_HELP = {
    "published_total": ("counter", "Events that the broker confirmed and routed to a queue."),
    "refused_total": ("counter", "Events that were refused and set aside, by reason."),
    "failures_total": ("counter", "Attempts that failed because of the broker or the database."),
    "connections_total": ("counter", "Connections opened to the broker."),
    "confirm_seconds_total": ("counter", "Seconds spent waiting for publisher confirms."),
    "batches_total": ("counter", "Batches that the broker answered."),
    "blocked": ("gauge", "1 while the broker blocks publishers, otherwise 0."),
    "shards": ("gauge", "Shards, of 16, that the relay held for its last batch."),
    "last_success_timestamp_seconds": ("gauge", "Time of the last round without a failure, as a Unix timestamp."),
    "pending": ("gauge", "Events in the outbox. Above 100,000 it is an estimate."),
    "oldest_seconds": ("gauge", "Age of the oldest event in the outbox. Set an alert on it."),
    "oldest_retry_seconds": (
        "gauge",
        "Age of the oldest event that was refused and is tried again. Set an alert on it.",
    ),
    "deferred": ("gauge", "Events that were refused, by state."),
    "relays": ("gauge", "Relays of this outbox with a heartbeat within the last two minutes, by state."),
}


@dataclass
class Metrics:
    """The counters of one relay.

    Attributes:
        last_round: when the last round or pause ended, whether it succeeded or failed. It shows that the relay runs.
        last_success: when the last round ended without a failure, or 0.
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

    def record_batch(self, seconds: float, *, confirmed: int, reasons: Iterable[str]) -> None:
        """Count a batch that the broker answered.

        Args:
            seconds: how long the answers took.
            confirmed: the number of events that were confirmed.
            reasons: the reason of each event that was refused.
        """
        self.batches += 1
        self.confirm_seconds += seconds
        self.published += confirmed
        for reason in reasons:
            self.refused[reason] = self.refused.get(reason, 0) + 1

    def record_success(self) -> None:
        """Record that a round ended without a failure."""
        self.last_success = time()

    def record_round(self) -> None:
        """Record that the relay is running, even if it is only waiting for the broker."""
        self.last_round = time()

    def samples(self) -> list[Sample]:
        """Return the counters as samples."""
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
    """Return samples in the text format of Prometheus.

    Label values are not escaped: they are aliases of databases and words of the kit.
    """
    lines: list[str] = []
    described: set[str] = set()
    for name, labels, value in sorted(samples, key=lambda sample: sample[0]):
        if name not in described:
            metric_type, help_text = _HELP[name]
            lines.append(f"# HELP ninja_auth_kit_audit_{name} {help_text}")
            lines.append(f"# TYPE ninja_auth_kit_audit_{name} {metric_type}")
            described.add(name)
        label = ",".join(f'{key}="{label_value}"' for key, label_value in labels.items())
        lines.append(f"ninja_auth_kit_audit_{name}{{{label}}} {value:.10g}".replace("{}", ""))
    return "\n".join([*lines, ""])


CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def samples_for(relays: Sequence[tuple[str, Metrics]], states: Mapping[str, Restore]) -> list[Sample]:
    """Return the metrics of relays and of their outboxes, labelled with the aliases of their databases.

    Args:
        relays: the aliases, and the counters of each relay.
        states: puts the state that the thread of the relay has onto the connection of this thread, for each alias.
    """
    samples: list[Sample] = []
    for using, metrics in relays:
        label = {"database": using}
        samples += [(name, {**label, **labels}, value) for name, labels, value in metrics.samples()]
        # Without a database, its metrics are missing, and failures_total rises.
        with suppress(DatabaseError, InterfaceError), background_connection(states[using], using=using):
            health = read_health(using=using)
            samples += [("pending", label, health.pending), ("oldest_seconds", label, health.oldest_seconds)]
            samples.append(("oldest_retry_seconds", label, health.oldest_retry_seconds))
            samples += [
                ("deferred", {**label, "state": state}, sum(reasons.values()))
                for state, reasons in health.deferred.items()
            ]
            found = [relay.state for relay in health.relays]
            samples += [
                ("relays", {**label, "state": state}, found.count(state)) for state in (PUBLISHING, WAITING, BLOCKED)
            ]
    return samples


def serve(host: str, port: int, read_samples: Callable[[], list[Sample]]) -> ThreadingHTTPServer:
    """Serve the metrics at `/metrics` in a daemon thread, and return the server.

    Raises:
        OSError: the port is in use, or the host is not an address of this machine.
    """

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_found = self.path == "/metrics"
            body = exposition(read_samples()).encode() if is_found else b"The metrics are at /metrics.\n"
            self.send_response(200 if is_found else 404)
            self.send_header("Content-Type", CONTENT_TYPE if is_found else "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Do not log each scrape."""

    server = ThreadingHTTPServer((host, port), Page)
    threading.Thread(target=server.serve_forever, name="ninja_auth_kit-metrics", daemon=True).start()
    return server


class HealthFile:
    """A file whose modification time is the time of the last round. With several relays, the oldest of them counts.

    A round that failed because the broker is away counts too: the relay is healthy while it waits, and restarting it
    would not help. A probe can check the age: `test $(( $(date +%s) - $(stat -c %Y FILE) )) -lt 120`.

    Args:
        path: the path of the file.
        relays: the metrics of the relays of this process.
    """

    def __init__(self, path: Path, relays: Sequence[Metrics]) -> None:
        self.path, self.relays = path, relays
        self._is_failing = False

    def create(self) -> None:
        """Create the file.

        Raises:
            OSError: the file cannot be written.
        """
        with self.path.open("a"):  # unlike `touch`, this fails if the path is a directory
            os.utime(self.path)

    def touch(self) -> None:
        """Update the modification time. If that fails, log it once: events are published all the same."""
        last_round = min(metrics.last_round for metrics in self.relays)
        try:
            self.path.touch()
            os.utime(self.path, (last_round, last_round))
        except OSError as error:
            if not self._is_failing:
                logger.warning("The health file %s cannot be written (%s).", self.path, error.strerror)
            self._is_failing = True
        else:
            self._is_failing = False

    def remove(self) -> None:
        """Remove the file, because the relay ends."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("The health file %s cannot be removed (%s).", self.path, error.strerror)
