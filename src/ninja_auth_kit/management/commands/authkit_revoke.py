"""`manage.py authkit_revoke`: end the sessions of one user or of all users, and revoke their API keys."""

import json
import re
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ninja_auth_kit import features
from ninja_auth_kit.management.cli import counted, database_errors_as_command_errors
from ninja_auth_kit.management.named_users import add_user_arguments, key_of_named_user
from ninja_auth_kit.services.admin_actions import revoke_all_sessions, revoke_sessions


class Command(BaseCommand):
    """End the sessions of one user or of all users, and revoke their API keys."""

    help = (
        "End every session of one user or of all users, forget their remembered devices, and revoke their API keys, "
        "if these optional apps are installed. "
        "Access tokens and keys are refused from the next request on, refresh tokens are blacklisted, and an audit "
        "event is recorded for each session and key. Passwords are not changed, so users can log in again. Running "
        "the command again ends the sessions that were started since."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the user, --key, --everyone, --sessions-only, --reason and --json."""
        who = parser.add_mutually_exclusive_group(required=True)
        add_user_arguments(who)
        who.add_argument("--everyone", action="store_true", help="end the sessions of all users")
        parser.add_argument(
            "--reason", default="revoked", metavar="WORD", help="reason in the audit events (default: %(default)s)"
        )
        parser.add_argument("--sessions-only", action="store_true", help="leave API keys as they are")
        parser.add_argument("--json", action="store_true", help="print the result as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """End the sessions, and print how many were ended."""
        if not re.fullmatch(r"[a-z0-9_]{1,40}", options["reason"]):
            raise CommandError("--reason must be one word of at most 40 lowercase letters, digits and underscores.")
        with database_errors_as_command_errors():
            user_id = None if options["everyone"] else self._named_user(options)
            if user_id is None:
                counts = self._revoke_everyone(options)
            else:
                counts = [revoke_sessions(user_id=user_id, reason=options["reason"])]
            revoked = {} if options["sessions_only"] else _revoke_credentials(user_id, options["reason"])
        users, sessions = sum(1 for count in counts if count), sum(counts)
        if options["json"]:
            names = {f"{row.lower().replace(' ', '_')}s": number for row, number in revoked.items()}
            self.stdout.write(json.dumps({"users": users, "sessions": sessions, **names}))
            return
        self.stdout.write(f"Ended {counted(sessions, 'session')} of {counted(users, 'user')}.")
        for row, number in revoked.items():
            self.stdout.write(f"Revoked {counted(number, row)}.")

    def _named_user(self, options: dict[str, Any]) -> Any:
        key = key_of_named_user(options)
        if not options["json"]:
            self.stdout.write(f"User {key}:")
        return key

    def _revoke_everyone(self, options: dict[str, Any]) -> list[int]:
        counts: list[int] = []
        for count in revoke_all_sessions(reason=options["reason"]):
            counts.append(count)
            if len(counts) % 1000 == 0 and not options["json"]:
                self.stdout.write(f"Ended {counted(sum(counts), 'session')} of {len(counts)} users so far")
        return counts


def _revoke_credentials(user_id: Any | None, reason: str) -> dict[str, int]:
    """Revoke the credentials that optional apps have beside sessions, of one user or of all, and return how many."""
    return {
        one.row: sum(
            one.revoke(user_id=key, reason=reason) for key in (one.holders() if user_id is None else [user_id])
        )
        for one in features.revocables()
    }
