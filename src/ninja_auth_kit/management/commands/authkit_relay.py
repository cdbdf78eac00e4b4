"""`manage.py authkit_relay`: publish the audit outbox to RabbitMQ."""

import _thread
import signal
import threading
from argparse import ArgumentParser
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from django.core.checks import Tags
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, DatabaseError, InterfaceError, connections

from ninja_auth_kit.audit.broker.errors import BrokerError
from ninja_auth_kit.audit.relay.loop import BATCH, Relay, configured_relay
from ninja_auth_kit.audit.relay.monitoring import HealthFile, samples_for, serve
from ninja_auth_kit.conf import accounts_database
from ninja_auth_kit.exceptions import describe_database_error


class Command(BaseCommand):
    """Run the relay."""

    help = (
        "Publish the audit events of the outbox to RabbitMQ, and delete what the broker has confirmed. Runs until "
        "SIGTERM or SIGINT, which finish the batch in flight; the same again ends it at once. Any number may run; the "
        "order of each user's events holds. A broker that is away is tried again for ever: events wait in the outbox "
        "and nothing is lost."
    )
    # Not the checks of URLs: they would load the whole API, and with it as much memory again as a relay needs.
    requires_system_checks = [Tags.compatibility]

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take what to publish, how long, and how to be watched."""
        parser.add_argument(
            "--once",
            action="store_true",
            help="publish what waits now, then exit (1 if it fails, or if an event was refused)",
        )
        parser.add_argument(
            "--batch",
            type=int,
            default=BATCH,
            help="how many events are published per confirmed batch (default: %(default)s)",
        )
        parser.add_argument(
            "--database",
            action="append",
            metavar="ALIAS",
            help="the alias of a database whose outbox to publish; may be given several times, and each gets a thread "
            "and a connection of its own (default: the one that users are written to)",
        )
        parser.add_argument(
            "--health-file",
            type=Path,
            metavar="FILE",
            help="touch this file after each round, about once in a second, and at least every 30 seconds or so while "
            "it waits for the broker: a supervisor may restart a relay whose file is older than two minutes. It is "
            "removed at the end",
        )
        parser.add_argument(
            "--metrics-port", type=int, metavar="PORT", help="serve figures for Prometheus at /metrics"
        )
        parser.add_argument(
            "--metrics-host", default="127.0.0.1", help="the address for it to listen on (default: %(default)s)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until told to stop."""
        relays = self._relays(options)
        if options["metrics_port"] is not None:
            self._serve(relays, options["metrics_host"], options["metrics_port"])
        health = _health_file(options["health_file"], relays)
        try:
            if options["once"]:
                self._publish_once(relays)
            else:
                self._publish_until_stopped(relays, health.touch if health else lambda: None)
        finally:
            if health:
                health.remove()
        self.stdout.write(f"{sum(relay.metrics.published for relay in relays)} events published.")

    def _relays(self, options: dict[str, Any]) -> list[Relay]:
        if options["batch"] < 1:
            raise CommandError("--batch must be at least 1.")
        aliases = list(dict.fromkeys(options["database"] or [accounts_database()]))
        unknown = [alias for alias in aliases if alias not in connections]
        if unknown:
            known = ", ".join(connections)
            raise CommandError(f"--database {unknown[0]}: there is no such database in DATABASES, only {known}.")
        try:
            return [configured_relay(using=alias, batch=options["batch"]) for alias in aliases]
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error

    def _serve(self, relays: list[Relay], host: str, port: int) -> None:
        try:
            serve(host, port, lambda: samples_for([(relay.using, relay.metrics) for relay in relays]))
        except (OSError, OverflowError) as error:
            raise CommandError(f"--metrics-port {port}: cannot listen on {host} there ({error}).") from error

    def _publish_once(self, relays: list[Relay]) -> None:
        for relay in relays:
            try:
                relay.drain()
            except (BrokerError, DatabaseError, InterfaceError) as error:
                cause = error if isinstance(error, BrokerError) else describe_database_error(error)
                raise CommandError(f"{relay.metrics.published} events published, then: {cause}") from error
        published = sum(relay.metrics.published for relay in relays)
        refused = sum(sum(relay.metrics.refused.values()) for relay in relays)
        if refused:
            raise CommandError(f"{published} events published, {refused} refused and set aside; see authkit_status.")

    def _publish_until_stopped(self, relays: list[Relay], alive: Callable[[], None]) -> None:
        stop = threading.Event()

        def finish(number: int, _: Any) -> None:
            # In a thread of its own: what the signal has interrupted may hold the lock of the event.
            _thread.start_new_thread(stop.set, ())
            signal.signal(number, signal.SIG_DFL)  # the same again ends it at once

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, finish)
        # A relay that fails as nobody foresaw ends the others and the process, for its supervisor to start it again.
        with ThreadPoolExecutor(len(relays)) as threads:
            runs = [threads.submit(self._run, relay, stop, alive) for relay in relays[1:]]
            for run in runs:
                run.add_done_callback(lambda _: stop.set())
            try:
                self._run(relays[0], stop, alive)  # in this thread: another one takes memory of its own
            finally:
                stop.set()
        for run in runs:
            run.result()

    def _run(self, relay: Relay, stop: threading.Event, alive: Callable[[], None]) -> None:
        where = "" if relay.using == DEFAULT_DB_ALIAS else f" of {relay.using}"
        if relay.wait_for_broker(stop, tell=self._tell, alive=alive):
            publisher = relay.publisher
            self._say(f"Publishing{where} to {publisher.exchange} on {publisher.where}:{publisher.address.port}.")
        relay.run(stop, alive=alive)

    def _tell(self, error: BrokerError) -> None:
        self._say(f"Waiting for the broker. {error}")

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()  # whoever reads the log of a service waits for this line, not for its end


def _health_file(path: Path | None, relays: list[Relay]) -> HealthFile | None:
    """Return the health file, written for the first time: a mistake in its path must not wait for the first event."""
    if path is None:
        return None
    health = HealthFile(path, [relay.metrics for relay in relays])
    try:
        health.create()
    except OSError as error:
        raise CommandError(
            f"--health-file {path}: cannot be written ({error.strerror}). Name a file in a directory that is there "
            "and that this user may write to; for systemd set RuntimeDirectory."
        ) from error
    return health
