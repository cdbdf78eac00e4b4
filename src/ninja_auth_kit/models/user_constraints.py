"""Foreign keys and an index between the tables of this app and the table of the users.

Django's models cannot describe them: see `_add_foreign_key` and `_add_address_index`. They are
created after every `migrate` if they are missing, because

- Django drops foreign keys that no model describes when the type of the users' primary key changes,
- tests that run without migrations never had them,
- the users may get their email field after this app is installed.
"""

import logging
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router, transaction
from django.db.backends.utils import CursorWrapper

from ninja_auth_kit import features

logger = logging.getLogger("ninja_auth_kit.models")

OWNED_BY_USERS = ("EmailAddress", "OneTimeToken", "ShadowRegistration", "UserSession")
ADDRESS_INDEX = "authkit_user_by_address"

_TABLE_EXISTS = "SELECT to_regclass(%s) IS NOT NULL"
_COLUMN_EXISTS = """
SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attname = %s AND NOT attisdropped)
"""
_INDEX_EXISTS = """
SELECT EXISTS (
    SELECT FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE indrelid = to_regclass(%s) AND relname = %s
)
"""
_FOREIGN_KEY_EXISTS = "SELECT EXISTS (SELECT FROM pg_constraint WHERE conname = %s AND conrelid = to_regclass(%s))"
# The rows that the foreign key would have deleted with their user.
_DELETE_ORPHANS = (
    "DELETE FROM {table} AS owned WHERE NOT EXISTS (SELECT FROM {users} AS owner WHERE owner.{key} = owned.{column})"
)
_ADD_FOREIGN_KEY = """
ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY ({column}) REFERENCES {users} ({key})
ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
"""


def add_user_constraints(*, using: str, **_: Any) -> None:
    """Create the foreign keys to the users and the index on their email addresses if missing.

    This receives the signal `post_migrate`.

    Args:
        using: the alias of the database that was migrated.

    Raises:
        ImproperlyConfigured: a foreign key is missing and there are no users, but rows that belong
            to users.
    """
    connection, session = connections[using], _model("UserSession")
    if connection.vendor != "postgresql" or not router.allow_migrate_model(using, session):
        return
    with connection.cursor() as cursor:
        if not _is_true(cursor, _TABLE_EXISTS, connection.ops.quote_name(session._meta.db_table)):
            return  # after `migrate ninja_auth_kit zero`
        for model, field in _owned_models():
            # One transaction for each, so that no lock is held longer than necessary.
            with transaction.atomic(using=using):
                _add_foreign_key(cursor, model, field)
        _add_address_index(cursor)


def _add_foreign_key(cursor: CursorWrapper, model: Any, field: str) -> None:
    """Let PostgreSQL delete the rows of a user with the user, and those of a factor with the factor.

    So a user who is deleted by SQL leaves no rows behind. Django 5.2 cannot declare ON DELETE in a
    model, so the models have `db_constraint=False` and `DO_NOTHING`. With `CASCADE`, Django would
    delete the sessions before the user. A login locks the user first, so the two could deadlock.

    Raises:
        ImproperlyConfigured: there are no users, but rows that belong to users.
    """
    quote, user = cursor.db.ops.quote_name, model._meta.get_field(field)
    name, table = f"authkit_{model._meta.model_name}_{field}", quote(model._meta.db_table)
    if not _is_true(cursor, _TABLE_EXISTS, table):
        return  # a feature whose migrations come later
    target = user.target_field
    users = quote(target.model._meta.db_table)
    if _is_true(cursor, _FOREIGN_KEY_EXISTS, name, table):
        return
    if not _is_true(cursor, _COLUMN_EXISTS, users, target.column):
        return  # a later migration of the users' app may rename the table or the column
    if not _is_true(cursor, f"SELECT EXISTS (SELECT FROM {users})"):  # noqa: S608  # from the models
        _require_empty(cursor, table)
    names = {"name": name, "column": user.column, "users": target.model._meta.db_table, "key": target.column}
    parts = {"table": table, **{part: quote(text) for part, text in names.items()}}
    cursor.execute(_DELETE_ORPHANS.format(**parts))
    if cursor.rowcount:
        logger.warning("Deleted %d rows from %s because their users do not exist any more.", cursor.rowcount, table)
    cursor.execute(_ADD_FOREIGN_KEY.format(**parts))


def _require_empty(cursor: CursorWrapper, table: str) -> None:
    """Raise an error instead of deleting all rows if no user can be seen.

    `AUTH_USER_MODEL` may be the wrong model, or the database role may not see the rows of the
    users.
    """
    if _is_true(cursor, f"SELECT EXISTS (SELECT FROM {table})"):  # noqa: S608  # from the models
        raise ImproperlyConfigured(
            f"There are no users, but {table} has rows that belong to users. Check that AUTH_USER_MODEL is the right "
            "model and that the database role can read its table. If there really are no users, delete the rows of "
            f"{table} and run migrate again."
        )


def _add_address_index(cursor: CursorWrapper) -> None:
    """Let a login find its user by the address in upper or lower case.

    Django's own user model has no index on the address.
    """
    quote = cursor.db.ops.quote_name
    field: Any = get_user_model()._meta.get_field(get_user_model().get_email_field_name())
    table = quote(field.model._meta.db_table)
    if not _is_true(cursor, _COLUMN_EXISTS, table, field.column):
        return  # a later migration of the users' app may add it
    if not _is_true(cursor, _INDEX_EXISTS, table, ADDRESS_INDEX):
        cursor.execute(f"CREATE INDEX {quote(ADDRESS_INDEX)} ON {table} (UPPER({quote(field.column)}::text))")


def _is_true(cursor: CursorWrapper, query: str, *values: str) -> bool:
    cursor.execute(query, values)
    return bool(cursor.fetchone()[0])


def _owned_models() -> list[tuple[Any, str]]:
    """Return the models whose rows the database deletes with another row, each with the field that refers to it."""
    of_features = [
        (apps.get_model(feature.name, name), field)
        for feature in features.features()
        for name, field in feature.owned_models
    ]
    return [*((_model(name), "user") for name in OWNED_BY_USERS), *of_features]


def _model(name: str) -> Any:
    return apps.get_model("ninja_auth_kit", name)
