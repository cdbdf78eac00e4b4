"""`manage.py authkit_status`: report the state of the audit outbox and of the promised emails."""

import json
import sys
from argparse import ArgumentParser
from collections import Counter
from dataclasses import asdict
from typing import Any

from django.core.checks import Tags
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from ninja_auth_kit.audit.relay.health import Health, RelayHealth, read_health
from ninja_auth_kit.conf import accounts_database, broker
from ninja_auth_kit.management.cli import counted, database_errors_as_command_errors, positive_seconds
from ninja_auth_kit.models import PromisedEmail
from ninja_auth_kit.models.promised_emails import EmailHealth

MAX_AGE = 300  # seconds that an event or an email may wait


class Command(BaseCommand):
    """Report the state of the outbox and of the promised emails."""

    help = (
        "Report how many audit events wait and for how long, which the broker refused and why, which relays run, and "
        "why each of them last failed. Report how many promised emails wait, are tried again, were given up, or were "
        "refused by the mail server. The exit code is 1 if an operator must act: an event or an email has waited "
        "longer than --max-age, or an event that was set aside to be tried again; events wait and no relay runs; a "
        "relay cannot publish; events are parked or emails were given up (see authkit_requeue); or the database does "
        "not answer. Neither the broker nor the mail server is contacted."
    )
    requires_system_checks = [Tags.compatibility]

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add --json, --database and --max-age."""
        parser.add_argument("--json", action="store_true", help="print one JSON object, for scripts and monitoring")
        parser.add_argument(
            "--database",
            metavar="ALIAS",
            help="alias of the database of the outbox (default: the database of the users)",
        )
        parser.add_argument(
            "--max-age",
            type=positive_seconds,
            default=MAX_AGE,
            metavar="SECONDS",
            help="how long an event or an email may wait (default: %(default)s)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the state, and exit with 1 if an operator must act."""
        using = options["database"] or accounts_database()
        if using not in connections:
            known = ", ".join(connections)
            raise CommandError(f"--database {using} is not in DATABASES. Choose one of: {known}.", returncode=2)
        try:
            with database_errors_as_command_errors():
                health, emails = read_health(using=using), PromisedEmail.objects.health(using=using)
        except CommandError as error:
            if not options["json"]:
                raise
            self.stdout.write(json.dumps({"healthy": False, "problems": [str(error)]}))
            sys.exit(1)
        max_age = options["max_age"]
        problems = [*_problems(health, max_age=max_age), *_email_problems(emails, max_age=max_age)]
        verdict = {"healthy": not problems, "problems": problems}
        report = {**asdict(health), "broker": broker() is not None, "emails": asdict(emails), **verdict}
        self.stdout.write(json.dumps(report) if options["json"] else _text(health, emails, problems))
        if problems:
            sys.exit(1)


def _problems(health: Health, *, max_age: float) -> list[str]:
    """Return what an operator must act on, a sentence each."""
    retried, parked = (sum(health.deferred[state].values()) for state in ("retry", "parked"))
    problems = {
        f"The oldest event has waited for {health.oldest_seconds:.0f} seconds.": health.oldest_seconds > max_age,
        f"The broker refused {counted(retried, 'event')} that the relay tries again, the oldest for "
        f"{health.oldest_retry_seconds:.0f} seconds. Check that a queue is bound for every event and has room.": (
            health.oldest_retry_seconds > max_age
        ),
        "Events wait, and no relay has been seen for two minutes. Run authkit_relay, or look at its log.": (
            health.pending and not health.relays
        ),
        f"Parked events: {parked}. Put them back with authkit_requeue, or delete those that can never be sent with "
        "authkit_requeue --reason poison --discard.": parked,
    }
    return [*_relay_problems(health.relays), *(sentence for sentence, applies in problems.items() if applies)]


def _relay_problems(relays: list[RelayHealth]) -> list[str]:
    """Return why relays cannot publish, a sentence for each cause."""
    causes = Counter(relay.failure for relay in relays if not relay.is_publishing)
    return [f"Relays that cannot publish: {count}. {cause} Events wait." for cause, count in causes.items()]


def _email_problems(emails: EmailHealth, *, max_age: float) -> list[str]:
    problems = {
        f"The oldest promised email has waited for {emails.oldest_seconds:.0f} seconds. Check that the mail server "
        "answers, and that a web process or authkit_relay runs. The log says why emails could not be sent.": (
            emails.oldest_seconds > max_age
        ),
        f"Emails given up: {emails.given_up}. They could not be sent for a day. When the mail server answers, try "
        "them again with authkit_requeue --emails.": emails.given_up,
    }
    return [sentence for sentence, applies in problems.items() if applies]


def _text(health: Health, emails: EmailHealth, problems: list[str]) -> str:
    about = "about " if health.is_estimate else ""
    oldest = f", the oldest for {health.oldest_seconds:.0f} seconds" if health.pending else ""
    lines = [f"pending   {about}{health.pending}{oldest}"]
    for state, reasons in health.deferred.items():
        by_reason = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
        lines.append(f"{state:<9} {sum(reasons.values())}{f' ({by_reason})' if by_reason else ''}")
    lines += [
        f"{'' if number else 'relays':<9} {_relay_text(relay)}" for number, relay in enumerate(health.relays)
    ] or ["relays    none"]
    waited = f", the oldest for {emails.oldest_seconds:.0f} seconds" if emails.waiting or emails.retrying else ""
    lines.append(
        f"emails    {emails.waiting} waiting, {emails.retrying} tried again{waited}; {emails.given_up} given up, "
        f"{emails.refused} refused"
    )
    if broker() is None:
        lines.append("broker    none (RABBITMQ_HOST is not set, and events are only logged)")
    return "\n".join([*lines, *(f"\n{sentence}" for sentence in problems)])


def _relay_text(relay: RelayHealth) -> str:
    text = f"{relay}: {relay.state}, seen {relay.seen_seconds:.0f} seconds ago"
    if relay.failed_seconds is None:
        return text
    return f"{text}; last failure {relay.failed_seconds:.0f} seconds ago: {relay.failure}"
