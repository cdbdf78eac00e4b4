"""The checks of what the database routers do with the tables of the kit, and of replicas; and what stops `migrate`.

A test runner calls `migrate` without checks. So `migrate` is also stopped before its first statement: an error of the
database half way would name neither the cause nor the fix, and MySQL and MariaDB would keep the tables made so far.
"""

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Tags, register
from django.core.management import CommandError
from django.db import DEFAULT_DB_ALIAS, connections, router

from ninja_auth_kit.checks.messages import error, warning
from ninja_auth_kit.checks.users_and_database import check_database
from ninja_auth_kit.conf import accounts_database
from ninja_auth_kit.tenancy import has_schemas

_LABEL = "ninja_auth_kit"
_PRIMARY_ONLY = {"read-write", "primary"}  # values of libpq's target_session_attrs
_WITHOUT_DATABASE = "unknown"  # the vendor of an empty entry in DATABASES


@register(Tags.compatibility)
def check_routers(**_: Any) -> list[CheckMessage]:
    """E016 and E017: the tables are in the database of the users, and `migrate` makes them in no other engine."""
    return [*_apart_from_users(), *_other_engine(DEFAULT_DB_ALIAS)]


def _apart_from_users() -> list[CheckMessage]:
    users = accounts_database()
    # The router of django-tenants answers for the schema that the connection is in. E018 checks all schemas.
    by_schema = has_schemas(connections[users])
    if all(
        router.db_for_write(model) == users and (by_schema or router.allow_migrate_model(users, model))
        for model in apps.get_app_config(_LABEL).get_models()
    ):
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


@register(Tags.security, deploy=True)
def check_replicas(**_: Any) -> list[CheckMessage]:
    """W026: a replica lags, and accepts passwords and sessions that the primary does not accept any more."""
    return [*_any_of_several_hosts(accounts_database()), *_users_read_elsewhere()]


def _any_of_several_hosts(alias: str) -> Iterator[CheckMessage]:
    configured = connections[alias].settings_dict
    options = configured.get("OPTIONS") or {}
    wanted = options.get("target_session_attrs") if isinstance(options, dict) else None
    if "," in str(configured.get("HOST") or "") and wanted not in _PRIMARY_ONLY:
        yield warning(
            "W026",
            f"DATABASES[{alias!r}]['HOST'] names several servers, and a connection may be to a replica.",
            f"Set DATABASES[{alias!r}]['OPTIONS']['target_session_attrs'] to 'read-write'. Without it, libpq takes "
            "the first server that answers. On a replica, a session that has ended is accepted as long as the "
            "replica lags, and each login is a 503.",
        )


def _users_read_elsewhere() -> Iterator[CheckMessage]:
    model = get_user_model()
    written, read = router.db_for_write(model), router.db_for_read(model)
    if written != read:
        yield warning(
            "W026",
            f"The database routers send reads of {model.__name__} to {read!r}, and writes to {written!r}.",
            f"Let db_for_read() of your database router return {written!r} for the app label "
            f"{model._meta.app_label!r}. The kit itself reads from {written!r}, but Django's authentication backends "
            "read the user by the router: if the replica lags, a new user and a new password are refused, and the "
            "admin lets in a user who was disabled.",
        )


def require_postgresql(*, using: str, plan: list[Any], **_: Any) -> None:
    """Stop `migrate` before its first statement if it would make the tables in another engine than PostgreSQL.

    This receives the signal `pre_migrate`.

    Raises:
        CommandError: E005 or E017, with the hint.
    """
    is_planned = any(migration.app_label == _LABEL and not is_backwards for migration, is_backwards in plan)
    from django.db.migrations.loader import MigrationLoader  # not at the start of a process, which makes no tables

    has_migrations = MigrationLoader.migrations_module(_LABEL)[0] is not None  # tests may run without migrations
    if connections[using].vendor == "postgresql" or not _are_made_in(using) or (has_migrations and not is_planned):
        return
    for fault in check_database() if using == accounts_database() else _other_engine(using):
        raise CommandError(f"({fault.id}) {fault.msg}\n\tHINT: {fault.hint}")
