"""`manage.py authkit_relay`: publish the audit outbox to RabbitMQ, and send promised emails."""

import _thread
import random
import signal
import threading
from argparse import ArgumentParser
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from django.core.checks import Tags
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, DatabaseError, InterfaceError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from ninja_auth_kit.audit.broker.errors import BrokerError
from ninja_auth_kit.audit.relay.loop import BATCH, Relay, configured_relay
from ninja_auth_kit.audit.relay.monitoring import HealthFile, samples_for, serve
from ninja_auth_kit.audit.relay.wakeup import own_session
from ninja_auth_kit.conf import accounts_database
from ninja_auth_kit.connection_state import Restore, background_connection, connection_state
from ninja_auth_kit.exceptions import describe_database_error
from ninja_auth_kit.models import PromisedEmail
from ninja_auth_kit.tenancy import has_tables_per_tenant, is_outside_tenants, tenants_where

EMAIL_PATIENCE = 10.0  # seconds that the end of a relay waits for the email that is being sent
EMAIL_PAUSE = (1.0, 3.0)  # seconds between two looks for promised emails, at least and at most


class Command(BaseCommand):
    """Run the relay."""

    help = (
        "Publish the audit events of the outbox to RabbitMQ, and delete those that the broker has confirmed. It runs "
        "until SIGTERM or SIGINT, and then finishes the current batch. The same signal again ends it at once. Any "
        "number of relays may run: the events of each user are still published in order. If the broker is not "
        "available, the relay tries again until it is. Meanwhile events wait in the outbox, and none is lost. The "
        "relay also sends the emails that a web process has promised and could not send, because it was stopped or "
        "the mail server was away."
    )
    # Without the checks of URLs. They would load the whole API, and double the memory of a relay.
    requires_system_checks = [Tags.compatibility]

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options for what to publish, for how long, and for monitoring."""
        parser.add_argument(
            "--once",
            action="store_true",
            help="publish the events that wait now, then exit (with 1 if that fails or an event is refused)",
        )
        parser.add_argument(
            "--batch",
            type=int,
            default=BATCH,
            help="number of events that are published before their confirms are awaited (default: %(default)s)",
        )
        parser.add_argument(
            "--database",
            action="append",
            metavar="ALIAS",
            help="alias of the database whose outbox is published (default: the database of the users). Repeat it for "
            "several databases: each gets a thread and a connection of its own",
        )
        parser.add_argument(
            "--all-schemas",
            action="store_true",
            help="publish the events and send the emails of every tenant (django-tenants). This is the default if the "
            "kit is in TENANT_APPS, unless tenant_command has chosen a tenant",
        )
        parser.add_argument(
            "--health-file",
            type=Path,
            metavar="FILE",
            help="touch this file after each round: about once per second, and at least every 30 seconds or so while "
            "the relay waits for the broker. A supervisor may restart a relay whose file is older than two minutes. "
            "The file is removed when the relay ends",
        )
        parser.add_argument(
            "--no-emails",
            action="store_true",
            help="do not send promised emails: for a machine that cannot reach the mail server",
        )
        parser.add_argument(
            "--metrics-port", type=int, metavar="PORT", help="serve metrics for Prometheus at /metrics on this port"
        )
        parser.add_argument(
            "--metrics-host", default="127.0.0.1", help="address that --metrics-port listens on (default: %(default)s)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the relays, once or until they are stopped."""
        if options["all_schemas"]:
            _leave_tenant(options["database"] or [accounts_database()])
        relays = self._relays(options)
        if options["metrics_port"] is not None:
            self._serve(relays, options["metrics_host"], options["metrics_port"])
        health = _health_file(options["health_file"], relays)
        try:
            if options["once"]:
                self._publish_once(relays)
            else:
                self._publish_until_stopped(
                    relays, health.touch if health else lambda: None, sends_emails=not options["no_emails"]
                )
        finally:
            if health:
                health.remove()
        self.stdout.write(f"Events published: {_published(relays)}.")

    def _relays(self, options: dict[str, Any]) -> list[Relay]:
        if options["batch"] < 1:
            raise CommandError(f"--batch must be at least 1 (got {options['batch']}).")
        aliases = list(dict.fromkeys(options["database"] or [accounts_database()]))
        unknown = [alias for alias in aliases if alias not in connections]
        if unknown:
            known = ", ".join(connections)
            raise CommandError(f"--database {unknown[0]} is not in DATABASES. Choose one of: {known}.")
        try:
            return [configured_relay(using=alias, batch=options["batch"]) for alias in aliases]
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error

    def _serve(self, relays: list[Relay], host: str, port: int) -> None:
        states = {relay.using: connection_state(connections[relay.using]) for relay in relays}
        try:
            serve(host, port, partial(samples_for, [(relay.using, relay.metrics) for relay in relays], states))
        except (OSError, OverflowError) as error:
            raise CommandError(
                f"--metrics-port {port}: cannot listen on {host} ({error}). Choose a free port and an address of this "
                "machine."
            ) from error

    def _publish_once(self, relays: list[Relay]) -> None:
        for relay in relays:
            try:
                relay.drain()
            except (BrokerError, DatabaseError, InterfaceError) as error:
                cause = error if isinstance(error, BrokerError) else describe_database_error(error)
                raise CommandError(f"Events published: {relay.metrics.published}. Then: {cause}") from error
        refused = sum(sum(relay.metrics.refused.values()) for relay in relays)
        if refused:
            raise CommandError(
                f"Events published: {_published(relays)}, refused and set aside: {refused}. See authkit_status."
            )

    def _publish_until_stopped(
        self, relays: list[Relay], report_alive: Callable[[], None], *, sends_emails: bool
    ) -> None:
        stop = threading.Event()

        def finish(number: int, _: Any) -> None:
            # In another thread, because the code that the signal interrupted may hold the lock of
            # the event. Setting it here would then wait for ever.
            _thread.start_new_thread(stop.set, ())
            signal.signal(number, signal.SIG_DFL)  # the same signal again ends the process at once

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, finish)
        using = accounts_database()
        send_emails = partial(_send_emails, stop, connection_state(connections[using]), using=using)
        # A daemon, because a mail server that does not answer must not delay the end for long.
        emails = threading.Thread(target=send_emails, name="ninja_auth_kit-emails", daemon=True)
        if sends_emails:
            emails.start()
        # An unexpected error in one relay ends the others and the process, so that a supervisor
        # restarts it.
        with ThreadPoolExecutor(len(relays)) as threads:
            runs = [
                threads.submit(self._run, relay, connections[relay.using], stop, report_alive) for relay in relays[1:]
            ]
            for run in runs:
                run.add_done_callback(lambda _: stop.set())
            try:
                # In this thread, because another one needs more memory.
                self._run(relays[0], connections[relays[0].using], stop, report_alive)
            finally:
                stop.set()
        if sends_emails:
            emails.join(EMAIL_PATIENCE)
        for run in runs:
            run.result()

    def _run(
        self, relay: Relay, like: BaseDatabaseWrapper, stop: threading.Event, report_alive: Callable[[], None]
    ) -> None:
        source = "" if relay.using == DEFAULT_DB_ALIAS else f" of {relay.using}"
        with own_session(using=relay.using, like=like):
            if relay.wait_for_broker(stop, report_error=self._report_error, report_alive=report_alive):
                publisher = relay.publisher
                self._print(f"Publishing{source} to {publisher.exchange} on {publisher.where}.")
            relay.run(stop, report_alive=report_alive)

    def _report_error(self, error: BrokerError) -> None:
        self._print(f"Waiting for the broker. {error}")

    def _print(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()  # at once, because the log of a service is read while it runs


def _leave_tenant(aliases: list[str]) -> None:
    """Let the relays serve all tenants.

    Raises:
        CommandError: the tables are not in the schemas of tenants.
    """
    for alias in set(aliases).intersection(connections):  # an unknown alias is reported later
        connection: Any = connections[alias]
        if not has_tables_per_tenant(connection):
            raise CommandError(
                f"--all-schemas needs a schema with tables of the kit for each tenant, and {alias!r} has none. Put "
                "'ninja_auth_kit' into TENANT_APPS of django-tenants, or run authkit_relay without --all-schemas."
            )
        connection.set_schema_to_public()


def _send_emails(stop: threading.Event, restore: Restore, *, using: str) -> None:
    """Send promised emails that are due, until `stop` is set."""
    while not stop.wait(random.uniform(*EMAIL_PAUSE)):  # noqa: S311  # jitter, not a secret
        try:
            with background_connection(restore, using=using) as connection:
                is_due = _is_email_due(connection)
        except (DatabaseError, InterfaceError):  # the relay logs it
            is_due = False
        if is_due:
            # Imported when it is needed, because the services double the memory of a relay.
            from ninja_auth_kit.services import promised_emails

            promised_emails.send_due_and_log(stop, restore=restore)


def _is_email_due(connection: BaseDatabaseWrapper) -> bool:
    emails = PromisedEmail.objects
    if is_outside_tenants(connection):
        return any(True for _ in tenants_where(connection, emails.is_due_in))
    return emails.has_due()


def _published(relays: list[Relay]) -> int:
    return sum(relay.metrics.published for relay in relays)


def _health_file(path: Path | None, relays: list[Relay]) -> HealthFile | None:
    """Create the health file and return it, or None without a path. So a wrong path is reported at the start."""
    if path is None:
        return None
    health = HealthFile(path, [relay.metrics for relay in relays])
    try:
        health.create()
    except OSError as error:
        raise CommandError(
            f"--health-file {path}: cannot be written ({error.strerror}). Choose a file in an existing directory that "
            "this user can write to. With systemd, set RuntimeDirectory."
        ) from error
    return health
