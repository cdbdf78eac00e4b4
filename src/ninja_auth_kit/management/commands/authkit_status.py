"""`manage.py authkit_status`: how the audit outbox is doing."""

import json
import sys
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.checks import Tags
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from ninja_auth_kit.audit.relay.health import Health, read_health
from ninja_auth_kit.conf import accounts_database, broker
from ninja_auth_kit.management.cli import database_errors_as_command_errors, seconds

MAX_AGE = 300  # seconds


class Command(BaseCommand):
    """Tell how the outbox is doing."""

    help = (
        "Tell how many audit events wait, how long the oldest has waited, what the broker has refused and why, and "
        "which relays are connected to the database. Exits with 1 when something needs a person: an event has waited "
        "longer than --max-age, in the outbox or set aside to be tried again, events wait and no relay is connected, "
        "or some are parked (see authkit_requeue), and where the database does not answer. The broker is not asked."
    )
    requires_system_checks = [Tags.compatibility]

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take how to print, of which database, and what is too old."""
        parser.add_argument("--json", action="store_true", help="print one JSON object, for scripts and monitors")
        parser.add_argument("--database", metavar="ALIAS", help="whose outbox (default: where users are written to)")
        parser.add_argument(
            "--max-age",
            type=seconds,
            default=MAX_AGE,
            metavar="SECONDS",
            help="how long an event may wait (default: %(default)s)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Look, print, and exit."""
        using = options["database"] or accounts_database()
        if using not in connections:
            raise CommandError(f"--database {using}: there is no such database in DATABASES.", returncode=2)
        try:
            with database_errors_as_command_errors():
                health = read_health(using=using)
        except CommandError as error:
            if not options["json"]:
                raise
            self.stdout.write(json.dumps({"healthy": False, "problems": [str(error)]}))
            sys.exit(1)
        problems = _problems(health, max_age=options["max_age"])
        report = {**asdict(health), "broker": broker() is not None, "healthy": not problems, "problems": problems}
        self.stdout.write(json.dumps(report) if options["json"] else _text(health, problems))
        if problems:
            sys.exit(1)


def _problems(health: Health, *, max_age: float) -> list[str]:
    """Return what needs a person, a sentence each."""
    retried, parked = (sum(health.deferred[state].values()) for state in ("retry", "parked"))
    found = {
        f"The oldest event has waited for {health.oldest_seconds:.0f} seconds.": health.oldest_seconds > max_age,
        f"{retried} refused by the broker and tried again, the oldest for {health.oldest_retry_seconds:.0f} seconds: "
        "is a queue bound for every event, and does it have room?": health.oldest_retry_seconds > max_age,
        "Events wait, and no relay is connected: none runs, or it waits for the broker. Run authkit_relay, or look at "
        "its log.": health.pending and not health.relays,
        f"{parked} parked, for a person: authkit_requeue tries them again, authkit_requeue --reason poison --discard "
        "gives up what can never be sent.": parked,
    }
    return [sentence for sentence, is_so in found.items() if is_so]


def _text(health: Health, problems: list[str]) -> str:
    about = "about " if health.is_estimate else ""
    oldest = f", the oldest for {health.oldest_seconds:.0f} seconds" if health.pending else ""
    lines = [f"pending   {about}{health.pending}{oldest}"]
    for state, reasons in health.deferred.items():
        why = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
        lines.append(f"{state:<9} {sum(reasons.values())}{f' ({why})' if why else ''}")
    lines.append(f"relays    {'; '.join(health.relays) or 'none'}")
    if broker() is None:
        lines.append("broker    none: RABBITMQ_HOST is not set, and events are only logged")
    return "\n".join([*lines, *(f"\n{sentence}" for sentence in problems)])
