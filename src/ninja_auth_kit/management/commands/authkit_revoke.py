"""`manage.py authkit_revoke`: end the sessions of one user or of all users."""

import json
import re
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from ninja_auth_kit.conf import accounts_database
from ninja_auth_kit.management.cli import counted, database_errors_as_command_errors
from ninja_auth_kit.models.email_addresses import InvalidEmailError
from ninja_auth_kit.models.users import find_holders
from ninja_auth_kit.services.admin_actions import revoke_all_sessions, revoke_sessions


class Command(BaseCommand):
    """End the sessions of one user or of all users."""

    help = (
        "End every session of one user or of all users. Access tokens are refused from the next request on, refresh "
        "tokens are blacklisted, and an audit event is recorded for each session. Passwords are not changed, so users "
        "can log in again. Running the command again ends the sessions that were started since."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the user, --key, --everyone, --reason and --json."""
        who = parser.add_mutually_exclusive_group(required=True)
        who.add_argument(
            "user",
            nargs="?",
            help="email address, username or primary key of a user; put it after -- if it begins with a hyphen",
        )
        who.add_argument("--key", help="primary key of a user; use it if another user has the key as a username")
        who.add_argument("--everyone", action="store_true", help="end the sessions of all users")
        parser.add_argument(
            "--reason", default="revoked", metavar="WORD", help="reason in the audit events (default: %(default)s)"
        )
        parser.add_argument("--json", action="store_true", help="print the result as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """End the sessions, and print how many were ended."""
        if not re.fullmatch(r"[a-z0-9_]{1,40}", options["reason"]):
            raise CommandError("--reason must be one word of at most 40 lowercase letters, digits and underscores.")
        with database_errors_as_command_errors():
            counts = self._revoke_everyone(options) if options["everyone"] else [self._revoke_one(options)]
        users, sessions = sum(1 for count in counts if count), sum(counts)
        if options["json"]:
            self.stdout.write(json.dumps({"users": users, "sessions": sessions}))
        else:
            self.stdout.write(f"Ended {counted(sessions, 'session')} of {counted(users, 'user')}.")

    def _revoke_one(self, options: dict[str, Any]) -> int:
        key = _find_key(options["user"]) if options["key"] is None else _existing_key(options["key"])
        if not options["json"]:
            self.stdout.write(f"User {key}:")
        return revoke_sessions(user_id=key, reason=options["reason"])

    def _revoke_everyone(self, options: dict[str, Any]) -> list[int]:
        counts: list[int] = []
        for count in revoke_all_sessions(reason=options["reason"]):
            counts.append(count)
            if len(counts) % 1000 == 0 and not options["json"]:
                self.stdout.write(f"Ended {counted(sum(counts), 'session')} of {len(counts)} users so far")
        return counts


def _find_key(text: str) -> Any:
    """Return the primary key of the only user that the text matches.

    If several match, such as one by username and another by primary key, ending the sessions of the first would pick
    the wrong user.
    """
    found = {user.pk: user for find in (_find_by_email, _find_by_username, _find_by_key) for user in find(text)}
    if not found:
        raise CommandError("No user has this email address, username or primary key.")
    if len(found) > 1:
        keys = ", ".join(str(key) for key in found)
        raise CommandError(f"Several users match. Choose one with --key=KEY: {keys}.")
    return next(iter(found))


def _existing_key(key: str) -> Any:
    for user in _find_by_key(key):
        return user.pk
    raise CommandError("No user has this primary key.")


def _find_by_email(text: str) -> list[Any]:
    try:
        return find_holders(text)
    except InvalidEmailError:
        return []


def _find_by_username(text: str) -> list[Any]:
    return _find_by(get_user_model().USERNAME_FIELD, text)


def _find_by_key(text: str) -> list[Any]:
    return _find_by("pk", text)


def _find_by(field: str, text: str) -> list[Any]:
    try:
        return list(get_user_model()._base_manager.using(accounts_database()).filter(**{field: text}))
    except (ValueError, ValidationError):  # not a value of the field
        return []
