"""`manage.py authkit_revoke`: end the sessions of a user, or of everybody."""

import json
import re
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from ninja_auth_kit.conf import accounts_database
from ninja_auth_kit.management.cli import database_errors_as_command_errors
from ninja_auth_kit.models.email_addresses import InvalidEmailError
from ninja_auth_kit.models.users import find_holders
from ninja_auth_kit.services.admin_actions import revoke_all_sessions, revoke_sessions


class Command(BaseCommand):
    """Revoke."""

    help = (
        "End every session of a user, or of everybody: access tokens are refused on the next request, refresh tokens "
        "are blacklisted, and each session is an audit event. Passwords stay as they are, so people can log in again. "
        "Run again, it ends what has begun since."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take a user or --everyone, --reason and --json."""
        who = parser.add_mutually_exclusive_group(required=True)
        who.add_argument(
            "user",
            nargs="?",
            help="the address, the username or the primary key of a user; behind -- if it begins with a hyphen",
        )
        who.add_argument("--key", help="the primary key of a user, where another user has it for a name")
        who.add_argument("--everyone", action="store_true", help="all users")
        parser.add_argument(
            "--reason", default="revoked", metavar="WORD", help="for the audit events (default: %(default)s)"
        )
        parser.add_argument("--json", action="store_true", help="print the result as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Revoke, and say how many sessions were ended."""
        if not re.fullmatch(r"[a-z0-9_]{1,40}", options["reason"]):
            raise CommandError("--reason must be one word of at most 40 small letters, digits and underscores.")
        with database_errors_as_command_errors():
            counts = self._revoke_everyone(options) if options["everyone"] else [self._revoke_one(options)]
        users, sessions = sum(1 for count in counts if count), sum(counts)
        if options["json"]:
            self.stdout.write(json.dumps({"users": users, "sessions": sessions}))
        else:
            self.stdout.write(f"{sessions} sessions of {users} users ended.")

    def _revoke_one(self, options: dict[str, Any]) -> int:
        key = _named(options["user"]) if options["key"] is None else _existing(options["key"])
        if not options["json"]:
            self.stdout.write(f"User {key}:")
        return revoke_sessions(user_id=key, reason=options["reason"])

    def _revoke_everyone(self, options: dict[str, Any]) -> list[int]:
        counts: list[int] = []
        for count in revoke_all_sessions(reason=options["reason"]):
            counts.append(count)
            if len(counts) % 1000 == 0 and not options["json"]:
                self.stdout.write(f"{sum(counts)} sessions of {len(counts)} users so far")
        return counts


def _named(text: str) -> Any:
    """Return the one user whom the text can mean; a name that is another user's key must not pick the wrong one."""
    found = {user.pk: user for find in (_by_address, _by_name, _by_key) for user in find(text)}
    if not found:
        raise CommandError("There is no user with this address, username or primary key.")
    if len(found) > 1:
        keys = ", ".join(str(key) for key in found)
        raise CommandError(f"This can mean several users. Say which by --key=KEY, one of {keys}.")
    return next(iter(found))


def _existing(key: str) -> Any:
    for user in _by_key(key):
        return user.pk
    raise CommandError("There is no user with this primary key.")


def _by_address(text: str) -> list[Any]:
    try:
        return find_holders(text)
    except InvalidEmailError:
        return []


def _by_name(text: str) -> list[Any]:
    return _everybody_with(get_user_model().USERNAME_FIELD, text)


def _by_key(text: str) -> list[Any]:
    return _everybody_with("pk", text)


def _everybody_with(field: str, text: str) -> list[Any]:
    try:
        return list(get_user_model()._base_manager.using(accounts_database()).filter(**{field: text}))
    except (ValueError, ValidationError):  # nothing that the field can have
        return []
