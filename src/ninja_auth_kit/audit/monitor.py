"""What a supervisor sees of a relay: a page of figures, and a file that is touched while it lives."""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from django.db import DatabaseError, connections

from ninja_auth_kit.audit.health import health_of
from ninja_auth_kit.audit.metrics import Metrics, Sample, exposition

logger = logging.getLogger("ninja_auth_kit.relay")

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def samples_of(relays: Sequence[tuple[str, Metrics]]) -> list[Sample]:
    """Return the figures of relays and of their outboxes, each with the alias of its database."""
    found: list[Sample] = []
    for using, metrics in relays:
        label = {"database": using}
        found += [(name, {**label, **labels}, value) for name, labels, value in metrics.samples()]
        with suppress(DatabaseError):  # a database that is away is told by what is missing, and by the failures
            health = health_of(using=using)
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
