"""`manage.py authkit_addresses`: write the canonical spelling of email addresses again."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ninja_auth_kit.management.cli import counted, database_errors_as_command_errors
from ninja_auth_kit.services.address_spellings import Respelling, find_respellings, respell


class Command(BaseCommand):
    """Write the canonical spelling of email addresses again."""

    help = (
        "Compare the canonical spelling of every email address with the one that this version of ninja_auth_kit "
        "computes, and write it again if it differs. If two users would have the same address, nothing is changed, "
        "and the command lists them. Run it after an upgrade that changes the spelling, and after an import that has "
        "written EmailAddress rows. It exits with 1 if there are collisions or invalid addresses."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add --dry-run and --json."""
        parser.add_argument("--dry-run", action="store_true", help="only list what would change")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Find the differences and the collisions, and store the right spellings if there is no collision."""
        with database_errors_as_command_errors():
            found = find_respellings()
            invalid = [one for one in found if not one.canonical]
            collisions = [one for one in found if one.others]
            changes = [one for one in found if one.canonical]
            is_written = not (collisions or options["dry_run"])
            failed = [one for one in changes if not respell(one)] if is_written else []
        if options["json"]:
            self._print_json(changes, collisions, invalid, failed, is_written=is_written)
        else:
            self._print(changes, collisions, invalid, is_written=is_written)
        if collisions or invalid or failed:
            raise CommandError(_summary(len(collisions), len(invalid), len(failed)))

    def _print(
        self, changes: list[Respelling], collisions: list[Respelling], invalid: list[Respelling], *, is_written: bool
    ) -> None:
        for one in collisions:
            others = ", ".join(map(str, one.others))
            self.stdout.write(f"Collision: user {one.user_id} would have {one.canonical}, as user {others}.")
        for one in invalid:
            self.stdout.write(f"Invalid: user {one.user_id} has {one.former}.")
        verb = "changed" if is_written else "would change"
        for one in changes:
            if not one.others:
                self.stdout.write(f"User {one.user_id}: {one.former} {verb} to {one.canonical}")
        if not (changes or invalid):
            self.stdout.write("All email addresses have their canonical spelling.")

    def _print_json(
        self,
        changes: list[Respelling],
        collisions: list[Respelling],
        invalid: list[Respelling],
        failed: list[Respelling],
        *,
        is_written: bool,
    ) -> None:
        rows = {"changes": changes, "collisions": collisions, "invalid": invalid, "failed": failed}
        listed = {name: [_as_json(one) for one in found] for name, found in rows.items()}
        self.stdout.write(json.dumps({"changed": is_written, **listed}))


def _as_json(one: Respelling) -> dict[str, Any]:
    spellings = {"former": one.former, "canonical": one.canonical or None}
    return {"user": str(one.user_id), **spellings, "others": [str(key) for key in one.others]}


def _summary(collisions: int, invalid: int, failed: int) -> str:
    parts = []
    if collisions:
        parts.append(
            f"{counted(collisions, 'collision')}: nothing was changed. Give all but one of these users another email "
            "address, or delete them, and run the command again."
        )
    if invalid:
        parts.append(
            f"{counted(invalid, 'user')} with an invalid address cannot log in by email address. Correct the email "
            "field of the user model and EmailAddress.email."
        )
    if failed:
        parts.append(f"{counted(failed, 'user')} changed in the meantime. Run the command again.")
    return " ".join(parts)
