"""`manage.py authkit_prune`: delete rows that are no longer needed."""

import json
from argparse import ArgumentParser
from collections import Counter
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from ninja_auth_kit.management.cli import counted, database_errors_as_command_errors
from ninja_auth_kit.services.pruning import BATCH, count_prunable, prune, prune_unverified


class Command(BaseCommand):
    """Delete rows that are no longer needed."""

    help = (
        "Delete sessions that ended or passed their absolute limit long ago, blacklisted tokens that would have "
        "expired, expired one-time tokens, promised emails that were given up or refused long ago, throttle counters "
        "whose window is over, and registrations whose email address was not verified within UNVERIFIED_RETENTION. It "
        "works in batches that are committed one by one, and skips locked rows. So it does not block requests, and "
        "can be stopped and run again at any time. Run it daily."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add --keep, --batch, --dry-run and --json."""
        parser.add_argument(
            "--keep",
            type=int,
            default=30,
            metavar="DAYS",
            help="days to keep rows that ended or expired (default: %(default)s)",
        )
        parser.add_argument("--batch", type=int, default=BATCH, help="rows per transaction (default: %(default)s)")
        parser.add_argument("--dry-run", action="store_true", help="only count the rows that would be deleted")
        parser.add_argument("--json", action="store_true", help="print the counts as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Delete the rows, and print how many were deleted."""
        if options["keep"] < 0 or options["batch"] < 1:
            raise CommandError("--keep must be at least 0 and --batch at least 1.")
        keep = timedelta(days=options["keep"])
        with database_errors_as_command_errors():
            if options["dry_run"]:
                counts = Counter({model.__name__: rows for model, rows in count_prunable(keep=keep).items()})
            else:
                counts = self._prune(keep, options)
                counts.update(self._prune_unverified(options))
        if options["json"]:
            self.stdout.write(json.dumps({"deleted": not options["dry_run"], "rows": dict(counts)}))
            return
        verb = "would be deleted" if options["dry_run"] else "deleted"
        for name, rows in counts.items():
            self.stdout.write(f"{name}: {rows} {verb}")
        if not counts:
            self.stdout.write("Nothing to prune.")

    def _prune_unverified(self, options: dict[str, Any]) -> Counter[str]:
        outcomes = Counter(prune_unverified(batch=options["batch"]))
        if outcomes[False]:
            kept = counted(outcomes[False], "registration")
            self.stderr.write(f"{kept} could not be deleted, because rows of your project protect the users.")
        return Counter({get_user_model().__name__: outcomes[True]}) if outcomes[True] else Counter()

    def _prune(self, keep: timedelta, options: dict[str, Any]) -> Counter[str]:
        counts: Counter[str] = Counter()
        for model, rows in prune(keep=keep, batch=options["batch"]):
            counts[model.__name__] += rows
            if options["verbosity"] > 1 and not options["json"]:
                self.stdout.write(f"{model.__name__}: {counts[model.__name__]} so far")
        return counts
