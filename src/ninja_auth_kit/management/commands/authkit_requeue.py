"""`manage.py authkit_requeue`: put refused events back into the outbox, or delete them; try emails again."""

import json
import re
import uuid
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import QuerySet
from django.db.models.functions import Now

from ninja_auth_kit.audit.relay.retries import discard, requeue
from ninja_auth_kit.conf import accounts_database
from ninja_auth_kit.management.cli import counted, database_errors_as_command_errors
from ninja_auth_kit.models import AuditDeferred, PromisedEmail

BATCH = 1000  # events per statement
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def duration(text: str) -> timedelta:
    """Return the value of an argument such as 90s, 15m, 1h or 7d."""
    match = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if match is None:
        raise ArgumentTypeError(f"{text!r} is not a duration. Write it as 90s, 15m, 1h or 7d.")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


class Command(BaseCommand):
    """Put deferred events back into the outbox, or delete them."""

    help = (
        "Put audit events that the broker refused back into the outbox, in their order, so that the relay publishes "
        "them at once. Use it after binding a queue or raising a limit. Events in the state 'retry' would be tried "
        "again anyway, parked events would not. Events with the reason 'poison' stay, because they can never be sent. "
        "Consumers may receive the events after younger events of the same user. Running the command again changes "
        "nothing. With --discard, the events are deleted with their content instead, and each is printed before. With "
        "--emails, promised emails that were given up or refused by the mail server are tried again for another day "
        "instead, by any web process or relay; with --emails --discard they are deleted."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options that choose the events, and what is done with them."""
        parser.add_argument(
            "--reason",
            choices=["unroutable", "nacked", "too_large", "poison"],
            help="only events that were refused for this reason; poison requires --discard",
        )
        parser.add_argument("--event", type=uuid.UUID, metavar="ID", help="only the event with this id (a UUID)")
        parser.add_argument(
            "--older-than",
            type=duration,
            metavar="DURATION",
            help="only events recorded longer ago, such as 90s, 15m, 1h or 7d",
        )
        parser.add_argument(
            "--discard",
            action="store_true",
            help="delete the events for good, also poison: no consumer will receive them. Needs --reason or --event",
        )
        parser.add_argument("--emails", action="store_true", help="promised emails instead of events")
        parser.add_argument("--dry-run", action="store_true", help="only count the events, and change nothing")
        parser.add_argument("--json", action="store_true", help="print the result as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Put the events back or delete them, or the emails, and print how many."""
        if options["emails"]:
            self._requeue_emails(options)
            return
        if options["discard"] and not (options["reason"] or options["event"]):
            raise CommandError("--discard deletes events for good. Choose the events with --reason or --event.")
        if options["reason"] == "poison" and not options["discard"]:
            raise CommandError(
                "Events with the reason poison can never be sent. Delete them with --reason poison --discard."
            )
        with database_errors_as_command_errors():
            event_ids = [event_id for batch in self._process(options) for event_id in batch]
        count = len(event_ids)
        if options["json"]:
            result = {"discarded": count, "events": event_ids} if options["discard"] else {"requeued": count}
            self.stdout.write(json.dumps({**result, "dry_run": options["dry_run"]}))
            return
        verb = "deleted" if options["discard"] else "put back into the outbox"
        self.stdout.write(f"{counted(count, 'event')} {'would be ' if options['dry_run'] else ''}{verb}.")

    def _requeue_emails(self, options: dict[str, Any]) -> None:
        """Try the emails again that were given up or refused, or delete them, and print how many."""
        if options["reason"] or options["event"] or options["older_than"]:
            raise CommandError("--emails cannot be combined with --reason, --event or --older-than.")
        with database_errors_as_command_errors():
            if options["dry_run"]:
                count = PromisedEmail.objects.exclude(state=PromisedEmail.State.WAITING).count()
            elif options["discard"]:
                count = PromisedEmail.objects.exclude(state=PromisedEmail.State.WAITING).delete()[0]
            else:
                count = PromisedEmail.objects.requeue()
        if options["json"]:
            verb = "discarded" if options["discard"] else "requeued"
            self.stdout.write(json.dumps({verb: count, "dry_run": options["dry_run"]}))
            return
        verb = "deleted" if options["discard"] else "put back"
        self.stdout.write(f"{counted(count, 'email')} {'would be ' if options['dry_run'] else ''}{verb}.")

    def _process(self, options: dict[str, Any]) -> Iterator[list[str]]:
        """Put back or delete the chosen events in batches, and yield the event ids of each batch."""
        chosen, last, so_far = _chosen(options), 0, 0
        while events := list(chosen.filter(pk__gt=last).defer("payload")[:BATCH]):
            ids, last = {event.pk for event in events}, events[-1].pk
            if not options["json"]:
                self._report_progress(events, so_far, options)
            if not options["dry_run"]:
                change = discard if options["discard"] else requeue
                ids = change(list(ids), using=accounts_database())
            so_far += len(ids)
            yield [str(event.event_id) for event in events if event.pk in ids]

    def _report_progress(self, events: list[AuditDeferred], so_far: int, options: dict[str, Any]) -> None:
        """Print each event that is about to be deleted or, if events are put back, how many were so far."""
        if options["discard"]:
            for event in events:
                self.stdout.write(f"{event.event_id}  {event.routing_key}  {event.reason}: {event.last_error}")
        elif so_far and not options["dry_run"]:
            self.stdout.write(f"{so_far} so far")
        self.stdout.flush()


def _chosen(options: dict[str, Any]) -> QuerySet[AuditDeferred]:
    chosen = AuditDeferred.objects.using(accounts_database()).order_by("pk")
    if not options["discard"]:
        chosen = chosen.exclude(reason="poison")
    if options["reason"]:
        chosen = chosen.filter(reason=options["reason"])
    if options["event"]:
        chosen = chosen.filter(event_id=options["event"])
    if options["older_than"]:
        chosen = chosen.filter(created_at__lt=Now() - options["older_than"])
    return chosen
