"""`manage.py authkit_identities`: list the identities of a user at providers, or import those of another package."""

import json
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ninja_auth_kit.contrib.oidc.former_identities import SOURCES
from ninja_auth_kit.contrib.oidc.identities import list_identities
from ninja_auth_kit.contrib.oidc.importing import Imported, import_identities
from ninja_auth_kit.contrib.oidc.providers import providers
from ninja_auth_kit.management.cli import database_errors_as_command_errors, ignore_broken_pipe
from ninja_auth_kit.management.import_report import ImportedRow, report_import
from ninja_auth_kit.management.named_users import add_user_arguments, key_of_named_user
from ninja_auth_kit.models.users import user_by_pk

_IMPORT = (
    "Import the identities of all users at Google, GitHub and other providers from another package, which must be in "
    "INSTALLED_APPS. No session ends, no email is sent, and an audit event is recorded for each identity. What cannot "
    "be imported is listed with the reason. The command changes nothing in the tables of the other package. It can "
    "be stopped at any time, and running it again imports what is left."
)


def _name_and_id(text: str) -> tuple[str, str]:
    name, separator, key = text.partition("=")
    if not (name and separator and key):
        raise ArgumentTypeError("must be NAME=ID, such as keycloak=company")
    return name, key


class Command(BaseCommand):
    """List the identities of a user at providers, or import those of another package."""

    help = "List the identities of a user at providers, or import those of another package."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the actions list and import with their options."""
        actions = parser.add_subparsers(dest="action", required=True, metavar="list|import")
        listing = actions.add_parser("list", help="list the identities of a user")
        add_user_arguments(listing.add_mutually_exclusive_group(required=True))
        imports = actions.add_parser("import", help="import identities of another package", description=_IMPORT)
        imports.add_argument("source", choices=SOURCES, help="the other package")
        imports.add_argument(
            "--provider",
            type=_name_and_id,
            action="append",
            default=[],
            metavar="NAME=ID",
            help="what the other package calls a provider, and its id in OIDC['PROVIDERS'], if the other package does "
            "not know the issuer; can be repeated",
        )
        imports.add_argument("--dry-run", action="store_true", help="only print what would be imported")
        imports.add_argument("--include-disabled", action="store_true", help="import those of disabled users too")
        for action in (listing, imports):
            action.add_argument("--json", action="store_true", help="print the result as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """List or import identities."""
        with ignore_broken_pipe(self.stdout), database_errors_as_command_errors():
            if options["action"] == "import":
                self._import(options)
                return
            user = user_by_pk(key_of_named_user(options))
            if user is None:  # deleted in the meantime
                raise CommandError("No user has this primary key.")
            self._list(user, as_json=options["json"])

    def _list(self, user: Any, *, as_json: bool) -> None:
        rows = list_identities(user)
        if as_json:
            listed = [
                {
                    "id": str(row.pk),
                    "provider": row.provider,
                    "email": row.email,
                    "linked_at": row.linked_at.isoformat(),
                    "last_used_at": row.last_used_at and row.last_used_at.isoformat(),
                }
                for row in rows
            ]
            self.stdout.write(json.dumps({"user": str(user.pk), "identities": listed}))
            return
        self.stdout.write(f"User {user.pk}: {_identities(len(rows))}")
        for row in rows:
            used = f"{row.last_used_at:%Y-%m-%d %H:%M %Z}" if row.last_used_at else "never"
            self.stdout.write(f"  {row.provider}  {row.email!r}  last used: {used}  {row.pk}")

    def _import(self, options: dict[str, Any]) -> None:
        source = SOURCES[options["source"]]
        if not source.is_installed:
            raise CommandError(
                f"'{source.app}' is not in INSTALLED_APPS. Keep the other package installed until its identities are "
                "imported."
            )
        names = dict(options["provider"])
        unknown = sorted(set(names.values()) - set(providers()))
        if unknown:
            raise CommandError(
                f"OIDC['PROVIDERS'] has no usable provider with the id {', '.join(unknown)}. Known are: "
                f"{', '.join(sorted(providers())) or 'none'}."
            )
        results = import_identities(
            source, names=names, dry_run=options["dry_run"], include_disabled=options["include_disabled"]
        )
        report_import(self, map(_row, results), options, noun="identity", plural="identities")


def _row(one: Imported) -> ImportedRow:
    user, name, provider = str(one.former.user_id), one.former.name, one.former.provider
    described = {"user": user, "identity": name, "provider": provider}
    return ImportedRow(provider, one.outcome, f"user {user}, {name} ({provider})", described)


def _identities(number: int) -> str:
    return f"{number} {'identity' if number == 1 else 'identities'}"
