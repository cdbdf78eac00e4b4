"""`manage.py authkit_requeue`: let the relay try refused events again, now."""

import re
from argparse import ArgumentParser, ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand
from django.db.models import QuerySet
from django.db.models.functions import Now

from ninja_auth_kit.audit.requeue import requeue
from ninja_auth_kit.models import AuditDeferred, database

AT_ONCE = 1000
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def duration(text: str) -> timedelta:
    """Read a duration such as 90s, 15m, 1h or 7d."""
    match = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if match is None:
        raise ArgumentTypeError(f"{text!r} is no duration; write it as 90s, 15m, 1h or 7d.")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


class Command(BaseCommand):
    """Put deferred events back into the outbox."""

    help = (
        "Put audit events that the broker has refused back into the outbox, in their order, so that the relay tries "
        "them at once: after a queue was bound, or a limit raised. Those in the state 'retry' would be tried anyway, "
        "those that are parked would not. Poison stays: it cannot be sent, now or later. Consumers may get what is "
        "put back after younger events of the same user. Run again, it changes nothing."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take which of them."""
        parser.add_argument(
            "--reason", choices=["unroutable", "nacked", "too_large"], help="only those refused for this reason"
        )
        parser.add_argument(
            "--older-than", type=duration, metavar="DURATION", help="only those recorded longer ago: 90s, 15m, 1h, 7d"
        )
        parser.add_argument("--dry-run", action="store_true", help="say how many these are, and move none")

    def handle(self, *args: Any, **options: Any) -> None:
        """Move them, a thousand at a time, and say how many."""
        chosen = _chosen(options)
        if options["dry_run"]:
            self.stdout.write(f"{chosen.count()} events would be put back.")
            return
        moved, last = 0, 0
        while ids := list(chosen.filter(pk__gt=last).values_list("pk", flat=True)[:AT_ONCE]):
            moved, last = moved + len(requeue(ids, using=database())), ids[-1]
            if len(ids) == AT_ONCE:
                self.stdout.write(f"{moved} so far")
                self.stdout.flush()
        self.stdout.write(f"{moved} events are in the outbox again.")


def _chosen(options: dict[str, Any]) -> QuerySet[AuditDeferred]:
    chosen = AuditDeferred.objects.using(database()).exclude(reason="poison").order_by("pk")
    if options["reason"]:
        chosen = chosen.filter(reason=options["reason"])
    if options["older_than"]:
        chosen = chosen.filter(created_at__lt=Now() - options["older_than"])
    return chosen
