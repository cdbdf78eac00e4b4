"""`manage.py authkit_requeue`: let the relay try refused events again, now, or give them up."""

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
from ninja_auth_kit.management.cli import database_errors_as_command_errors
from ninja_auth_kit.models import AuditDeferred

AT_ONCE = 1000
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def duration(text: str) -> timedelta:
    """Read a duration such as 90s, 15m, 1h or 7d."""
    match = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if match is None:
        raise ArgumentTypeError(f"{text!r} is no duration; write it as 90s, 15m, 1h or 7d.")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


class Command(BaseCommand):
    """Put deferred events back into the outbox, or delete them."""

    help = (
        "Put audit events that the broker has refused back into the outbox, in their order, so that the relay tries "
        "them at once: after a queue was bound, or a limit raised. Those in the state 'retry' would be tried anyway, "
        "those that are parked would not. Poison stays: it cannot be sent, now or later. Consumers may get what is "
        "put back after younger events of the same user. Run again, it changes nothing. With --discard events are "
        "given up instead: each is named, and deleted with all that it said."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take which of them, and what becomes of them."""
        parser.add_argument(
            "--reason",
            choices=["unroutable", "nacked", "too_large", "poison"],
            help="only those refused for this reason; poison only with --discard",
        )
        parser.add_argument("--event", type=uuid.UUID, metavar="ID", help="only the event with this id, a UUID")
        parser.add_argument(
            "--older-than", type=duration, metavar="DURATION", help="only those recorded longer ago: 90s, 15m, 1h, 7d"
        )
        parser.add_argument(
            "--discard",
            action="store_true",
            help="delete them for good, poison too; nobody will get them. Needs --reason or --event",
        )
        parser.add_argument("--dry-run", action="store_true", help="say how many these are, and change nothing")
        parser.add_argument("--json", action="store_true", help="print the result as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Move or delete them, a thousand at a time, and say how many."""
        if options["discard"] and not (options["reason"] or options["event"]):
            raise CommandError("--discard deletes for good: say of which events, by --reason or --event.")
        if options["reason"] == "poison" and not options["discard"]:
            raise CommandError("Poison cannot be sent, now or later. Give it up with --reason poison --discard.")
        with database_errors_as_command_errors():
            done = [event for some in self._dealt_with(options) for event in some]
        count = len(done)
        if options["json"]:
            said = {"discarded": count, "events": done} if options["discard"] else {"requeued": count}
            self.stdout.write(json.dumps({**said, "dry_run": options["dry_run"]}))
            return
        became = "are deleted" if options["discard"] else "are in the outbox again"
        would = "would be deleted" if options["discard"] else "would be put back"
        self.stdout.write(f"{count} events {would if options['dry_run'] else became}.")

    def _dealt_with(self, options: dict[str, Any]) -> Iterator[list[str]]:
        """Deal with a thousand after the other, and yield which events these were."""
        chosen, last, so_far = _chosen(options), 0, 0
        while events := list(chosen.filter(pk__gt=last).defer("payload")[:AT_ONCE]):
            ids, last = {event.pk for event in events}, events[-1].pk
            if not options["json"]:
                self._tell(events, so_far, options)
            if not options["dry_run"]:
                change = discard if options["discard"] else requeue
                ids = change(list(ids), using=accounts_database())
            so_far += len(ids)
            yield [str(event.event_id) for event in events if event.pk in ids]

    def _tell(self, events: list[AuditDeferred], so_far: int, options: dict[str, Any]) -> None:
        """Name what is given up, before it is gone; else say now and then how far it is."""
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
