"""`manage.py authkit_factors`: list or remove the second factors of a user, or import those of another package."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ninja_auth_kit.contrib.factors.devices import list_devices
from ninja_auth_kit.contrib.factors.enrolment import list_factors, reset_factors
from ninja_auth_kit.contrib.factors.former_factors import SOURCES
from ninja_auth_kit.contrib.factors.importing import Imported, import_factors
from ninja_auth_kit.contrib.factors.recovery_codes import codes_left
from ninja_auth_kit.management.cli import counted, database_errors_as_command_errors, ignore_broken_pipe
from ninja_auth_kit.management.import_report import ImportedRow, report_import
from ninja_auth_kit.management.named_users import add_user_arguments, key_of_named_user
from ninja_auth_kit.models.users import user_by_pk

_RESET = (
    "Remove all second factors of a user who has lost them, with the recovery codes and the remembered devices. Make "
    "sure first that the request comes from the owner of the account: afterwards, the password is enough to log in. "
    "Sessions are not ended, but lose their level; authkit_revoke ends them. The owner is notified by email, and an "
    "audit event is recorded. Running the command again does nothing."
)
_IMPORT = (
    "Import the authenticator apps and passkeys of all users from another package, which must be in INSTALLED_APPS. "
    "Recovery codes are not imported. All sessions of a user who had no factor of the kit end. No email is sent, and "
    "an audit event is recorded for each factor. What cannot be imported is listed with the reason. The command "
    "changes nothing in the tables of the other package. It can be stopped at any time, and running it again imports "
    "what is left."
)


class Command(BaseCommand):
    """List the second factors of a user, remove them all, or import those of another package."""

    help = "List or remove the second factors of a user, or import the second factors of another package."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the actions list, reset and import with their options."""
        actions = parser.add_subparsers(dest="action", required=True, metavar="list|reset|import")
        listing = actions.add_parser("list", help="list the second factors of a user")
        reset = actions.add_parser("reset", help="remove all second factors of a user", description=_RESET)
        reset.add_argument("--dry-run", action="store_true", help="only print what would be removed")
        for action in (listing, reset):
            add_user_arguments(action.add_mutually_exclusive_group(required=True))
        imports = actions.add_parser("import", help="import factors of another package", description=_IMPORT)
        imports.add_argument("source", choices=SOURCES, help="the other package")
        imports.add_argument("--dry-run", action="store_true", help="only print what would be imported")
        imports.add_argument("--include-disabled", action="store_true", help="import those of disabled users too")
        for action in (listing, reset, imports):
            action.add_argument("--json", action="store_true", help="print the result as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """List, remove or import factors."""
        with ignore_broken_pipe(self.stdout), database_errors_as_command_errors():
            if options["action"] == "import":
                self._import(options)
                return
            key = key_of_named_user(options)
            user = user_by_pk(key)
            if user is None:  # deleted in the meantime
                raise CommandError("No user has this primary key.")
            if options["action"] == "list":
                self._list(user, as_json=options["json"])
            else:
                self._reset(user, options)

    def _list(self, user: Any, *, as_json: bool) -> None:
        factors, codes, devices = list_factors(user), codes_left(user), len(list_devices(user))
        if as_json:
            listed = [
                {
                    "id": str(factor.pk),
                    "kind": factor.kind,
                    "name": factor.name,
                    "confirmed_at": factor.confirmed_at and factor.confirmed_at.isoformat(),
                    "last_used_at": factor.last_used_at and factor.last_used_at.isoformat(),
                }
                for factor in factors
            ]
            result = {"user": str(user.pk), "factors": listed, "recovery_codes_left": codes, "devices": devices}
            self.stdout.write(json.dumps(result))
            return
        self.stdout.write(f"User {user.pk}: {counted(len(factors), 'second factor')}")
        for factor in factors:
            used = f"{factor.last_used_at:%Y-%m-%d %H:%M %Z}" if factor.last_used_at else "never"
            self.stdout.write(f"  {factor.kind}  {factor.name!r}  last used: {used}  {factor.pk}")
        self.stdout.write(f"{counted(codes, 'recovery code')} left, {counted(devices, 'remembered device')}")

    def _reset(self, user: Any, options: dict[str, Any]) -> None:
        if options["dry_run"]:
            kinds = sorted(factor.kind for factor in list_factors(user))
        else:
            kinds = reset_factors(user_id=user.pk, by="system")
        if options["json"]:
            result = {"user": str(user.pk), "removed": not options["dry_run"], "kinds": kinds}
            self.stdout.write(json.dumps(result))
            return
        if not kinds:
            self.stdout.write(f"User {user.pk} has no second factor.")
            return
        verb = "Would remove" if options["dry_run"] else "Removed"
        listed = f"{counted(len(kinds), 'second factor')} ({', '.join(kinds)})"
        self.stdout.write(f"{verb} {listed} of user {user.pk}, with the recovery codes and remembered devices.")

    def _import(self, options: dict[str, Any]) -> None:
        source = SOURCES[options["source"]]
        if not source.is_installed:
            raise CommandError(
                f"'{source.app}' is not in INSTALLED_APPS. Keep the other package installed until its factors are "
                "imported."
            )
        results = import_factors(source, dry_run=options["dry_run"], include_disabled=options["include_disabled"])
        report_import(self, map(_row, results), options, noun="factor", plural="factors")


def _row(one: Imported) -> ImportedRow:
    user, name = str(one.former.user_id), one.former.name
    described = {"user": user, "factor": name}
    return ImportedRow(one.former.kind, one.outcome, f"user {user}, {name}", described, one.error)
