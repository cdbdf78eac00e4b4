"""The checks of what the database routers do with the tables of the kit, and what stops `migrate`.

A test runner calls `migrate` without checks. So `migrate` is also stopped before its first statement: an error of the
database half way would name neither the cause nor the fix, and MySQL and MariaDB would keep the tables made so far.
"""

from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Tags, register
from django.core.management import CommandError
from django.db import DEFAULT_DB_ALIAS, connections, router
from django.db.migrations.loader import MigrationLoader

from ninja_auth_kit.checks.messages import error
from ninja_auth_kit.checks.users_and_database import check_database
from ninja_auth_kit.conf import accounts_database

_LABEL = "ninja_auth_kit"
_WITHOUT_DATABASE = "unknown"  # the vendor of an empty entry in DATABASES


@register(Tags.compatibility)
def check_routers(**_: Any) -> list[CheckMessage]:
    """E016 and E017: the tables are in the database of the users, and `migrate` makes them in no other engine."""
    return [*_apart_from_users(), *_other_engine(DEFAULT_DB_ALIAS)]


def _apart_from_users() -> list[CheckMessage]:
    users = accounts_database()
    models = apps.get_app_config(_LABEL).get_models()
    if all(router.db_for_write(model) == users and router.allow_migrate_model(users, model) for model in models):
        return []
    hint = (
        "Treat the app label 'ninja_auth_kit' like that of your user model in every method of your database router, "
        f"and run `manage.py migrate --database {users}`."
    )
    message = f"The users are in the database {users!r}, and the database routers put the kit's tables elsewhere."
    return [error("E016", message, hint)]


def _other_engine(alias: str) -> list[CheckMessage]:
    users, vendor = accounts_database(), connections[alias].vendor
    if alias == users or vendor in {"postgresql", _WITHOUT_DATABASE} or not _are_made_in(alias):
        return []
    hint = (
        f"Let allow_migrate() of a database router return False for the app label 'ninja_auth_kit' and the database "
        f"{alias!r}. The users are in {users!r}, and the tables belong there."
    )
    message = f"`migrate` would make the tables of the kit in the database {alias!r}, which is not PostgreSQL."
    return [error("E017", message, hint)]


def _are_made_in(alias: str) -> bool:
    return any(router.allow_migrate_model(alias, model) for model in apps.get_app_config(_LABEL).get_models())


def require_postgresql(*, using: str, plan: list[Any], **_: Any) -> None:
    """Stop `migrate` before its first statement if it would make the tables in another engine than PostgreSQL.

    This receives the signal `pre_migrate`.

    Raises:
        CommandError: E005 or E017, with the hint.
    """
    is_planned = any(migration.app_label == _LABEL and not is_backwards for migration, is_backwards in plan)
    has_migrations = MigrationLoader.migrations_module(_LABEL)[0] is not None  # tests may run without migrations
    if connections[using].vendor == "postgresql" or not _are_made_in(using) or (has_migrations and not is_planned):
        return
    for fault in check_database() if using == accounts_database() else _other_engine(using):
        raise CommandError(f"({fault.id}) {fault.msg}\n\tHINT: {fault.hint}")
