"""`manage.py authkit_relay`: publish the audit outbox to RabbitMQ."""

import signal
import threading
from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from ninja_auth_kit.audit.rabbitmq import BrokerError
from ninja_auth_kit.audit.relay import BATCH, Relay, configured_relay
from ninja_auth_kit.models import database


class Command(BaseCommand):
    """Run the relay."""

    help = (
        "Publish the audit events of the outbox to RabbitMQ, and delete what the broker has confirmed. Runs until "
        "SIGTERM or SIGINT, which finish the batch in flight. Any number may run; the order of each user's events "
        "holds. A broker that is away is tried again for ever: events wait in the outbox and nothing is lost."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take --once and --batch."""
        parser.add_argument("--once", action="store_true", help="publish what waits now, then exit (1 if it fails)")
        parser.add_argument(
            "--batch",
            type=int,
            default=BATCH,
            help="how many events are published per confirmed batch (default: %(default)s)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until told to stop."""
        if options["batch"] < 1:
            raise CommandError("--batch must be at least 1.")
        try:
            relay = configured_relay(using=database(), batch=options["batch"])
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error
        if options["once"]:
            self._publish_once(relay)
        else:
            self._publish_until_stopped(relay)
        self.stdout.write(f"{relay.metrics.published} events published.")

    def _publish_once(self, relay: Relay) -> None:
        try:
            relay.drain()
        except (BrokerError, DatabaseError) as error:
            raise CommandError(f"{relay.metrics.published} events published, then: {error}") from error

    def _publish_until_stopped(self, relay: Relay) -> None:
        stop = threading.Event()

        def finish(*_: Any) -> None:
            stop.set()
            for number in (signal.SIGTERM, signal.SIGINT):  # the second signal ends it at once
                signal.signal(number, signal.SIG_DFL)

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, finish)
        if relay.wait_for_broker(stop, tell=lambda error: self._say(f"Waiting for the broker. {error}")):
            publisher = relay.publisher
            host, port = publisher.where, publisher.address.port
            self._say(f"Publishing to {publisher.exchange} on {host}:{port}.")
        relay.run(stop)

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()  # whoever reads the log of a service waits for this line, not for its end
