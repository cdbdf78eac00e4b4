"""`manage.py authkit_verify`: mark the email addresses of users as verified."""

import json
import sys
from argparse import ArgumentParser
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ninja_auth_kit.management.cli import counted, database_errors_as_command_errors, ignore_broken_pipe
from ninja_auth_kit.services.admin_actions import Outcome
from ninja_auth_kit.services.vouching import Vouch, Vouched, vouch_for_emails, vouch_for_everyone

PROGRESS_EVERY = 10_000
LISTED = 100  # users of each outcome in the JSON object

# Outcomes that need no attention; they are only counted.
_EXPECTED = {Outcome.DONE, Outcome.VERIFIED}
_EXPECTED_OF_ALL = _EXPECTED | {Outcome.PENDING, Outcome.DISABLED}
_SENTENCES = {
    Outcome.VERIFIED: "already verified",
    Outcome.PENDING: "skipped: registrations that wait for their owners",
    Outcome.DISABLED: "skipped: disabled",
}


class Command(BaseCommand):
    """Mark the email addresses of users as verified."""

    help = (
        "Mark the email addresses of users as verified, without a link, because you know that they are theirs. Users "
        "who were made by createsuperuser, in the admin, by create_user() or by an import need it, or verify their "
        "addresses themselves with a password reset. Nothing else is changed: disabled users stay disabled. Running "
        "the command again does nothing, and it can be stopped at any time. The exit code is 1 if an address that was "
        "named could not be verified."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the addresses, --file, --all, --include-disabled, --no-events, --dry-run and --json."""
        parser.add_argument("emails", nargs="*", metavar="EMAIL", help="an email address to mark as verified")
        parser.add_argument(
            "--file",
            metavar="PATH",
            help="read the email addresses from a file, one per line; - is the standard input",
        )
        parser.add_argument(
            "--all",
            action="store_true",
            help="mark the addresses of all users, except of registrations that wait for their owners and of disabled "
            "users",
        )
        parser.add_argument(
            "--include-disabled", action="store_true", help="with --all, mark those of disabled users too"
        )
        parser.add_argument(
            "--no-events",
            action="store_true",
            help="send no signal and record no audit event for each user, for the first import of very many users",
        )
        parser.add_argument("--dry-run", action="store_true", help="only print what would be done")
        parser.add_argument("--json", action="store_true", help="print the result as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Mark the addresses, and print what was done."""
        is_named = bool(options["emails"]) or options["file"] is not None
        if is_named == options["all"]:
            raise CommandError("Name email addresses, as arguments or with --file, or use --all, but not both.")
        vouch = Vouch(
            announce=not options["no_events"],
            dry_run=options["dry_run"],
            include_pending=is_named,
            include_disabled=is_named or options["include_disabled"],
        )
        expected = _EXPECTED if is_named else _EXPECTED_OF_ALL
        with ExitStack() as stack:
            stack.enter_context(ignore_broken_pipe(self.stdout))
            stack.enter_context(database_errors_as_command_errors())
            results = vouch_for_emails(_emails(options, stack), vouch) if is_named else vouch_for_everyone(vouch)
            counts = self._report(results, expected=expected, options=options)
        if is_named and set(counts) - expected:
            sys.exit(1)

    def _report(
        self, results: Iterator[Vouched], *, expected: set[Outcome], options: dict[str, Any]
    ) -> Counter[Outcome]:
        counts: Counter[Outcome] = Counter()
        listed: dict[Outcome, list[dict[str, str]]] = defaultdict(list)
        for one in results:
            counts[one.outcome] += 1
            if one.outcome not in expected:
                if not options["json"]:
                    self.stdout.write(f"skipped {_name(one)}: {one.outcome.label}")
                elif len(listed[one.outcome]) < LISTED:
                    listed[one.outcome].append({"user": str(one.key), "email": one.email})
            if counts.total() % PROGRESS_EVERY == 0 and options["verbosity"] > 0:
                self.stderr.write(f"{counts.total()} users so far")
        self.stdout.write(
            _as_json(counts, listed, options) if options["json"] else _as_text(counts, expected, options)
        )
        return counts


def _emails(options: dict[str, Any], stack: ExitStack) -> Iterable[str]:
    yield from options["emails"]
    if options["file"] is None:
        return
    try:
        path = Path(options["file"])
        lines = sys.stdin if options["file"] == "-" else stack.enter_context(path.open(encoding="utf-8"))
        yield from (line.strip() for line in lines if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"--file {options['file']} cannot be read: {error}") from error


def _name(one: Vouched) -> str:
    return one.email or f"user {one.key}" if one.key is None else f"user {one.key} ({one.email or 'no email address'})"


def _as_text(counts: Counter[Outcome], expected: set[Outcome], options: dict[str, Any]) -> str:
    verb = "would be marked as verified" if options["dry_run"] else "marked as verified"
    lines = [f"{counted(counts[Outcome.DONE], 'user')} {verb}."]
    lines += [
        f"{counted(counts[one], 'user')} {words}."
        for one, words in _SENTENCES.items()
        if counts[one] and one in expected
    ]
    left = sum(count for outcome, count in counts.items() if outcome not in expected)
    if left:
        lines.append(f"{left} skipped, see above.")
    return "\n".join(lines)


def _as_json(counts: Counter[Outcome], listed: dict[Outcome, list[dict[str, str]]], options: dict[str, Any]) -> str:
    skipped = {
        outcome.value: {"count": count, "listed": listed[outcome]}
        for outcome, count in counts.items()
        if outcome is not Outcome.DONE
    }
    return json.dumps({"verified": counts[Outcome.DONE], "dry_run": options["dry_run"], "skipped": skipped})
