"""What ties the kit's tables to that of the users, beyond what Django's models can say.

It is made after every `migrate` where it is missing: Django drops foreign keys that no model has when the type of the
users' key changes, tests without migrations never had them, and the users may get their address after the kit.
"""

import logging
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router, transaction
from django.db.backends.utils import CursorWrapper

logger = logging.getLogger("ninja_auth_kit.models")

OWNED_BY_USERS = ("EmailAddress", "OneTimeToken", "ShadowRegistration", "UserSession")
ADDRESS_INDEX = "authkit_user_by_address"

_IS_TABLE = "SELECT to_regclass(%s) IS NOT NULL"
_HAS_CASCADE = "SELECT EXISTS (SELECT FROM pg_constraint WHERE conname = %s AND conrelid = to_regclass(%s))"
# A row of nobody is one that the cascade would have taken.
_CLEAR = (
    "DELETE FROM {table} AS owned WHERE NOT EXISTS (SELECT FROM {users} AS owner WHERE owner.{key} = owned.{column})"
)
_CASCADE = """
ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY ({column}) REFERENCES {users} ({key})
ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
"""
# A user app's later migrations may rename them yet.
_HAS_COLUMN = """
SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attname = %s AND NOT attisdropped)
"""
_HAS_INDEX = """
SELECT EXISTS (
    SELECT FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE indrelid = to_regclass(%s) AND relname = %s
)
"""


def add_user_constraints(*, using: str, **_: Any) -> None:
    """Receive `post_migrate`: make the foreign keys with their cascade, and the index on addresses, where missing.

    Args:
        using: the alias of the database that was migrated.

    Raises:
        ImproperlyConfigured: a foreign key is missing, and all that it would hold to belongs to nobody.
    """
    connection, session = connections[using], _model("UserSession")
    if connection.vendor != "postgresql" or not router.allow_migrate_model(using, session):
        return
    with connection.cursor() as cursor:
        if not _holds(cursor, _IS_TABLE, connection.ops.quote_name(session._meta.db_table)):
            return  # `migrate ninja_auth_kit zero`
        for name in OWNED_BY_USERS:
            with transaction.atomic(using=using):  # each its own: no lock is held for longer than it must be
                _add_cascade(cursor, _model(name))
        _index_addresses(cursor)


def _add_cascade(cursor: CursorWrapper, model: Any) -> None:
    """Let the database delete what belongs to a user, so that a user deleted by SQL leaves nothing behind.

    Django 5.2 cannot say ON DELETE in a model, so the models have `db_constraint=False`. And `DO_NOTHING`: Django
    would delete the sessions before the user, and a login, which locks the user first, would meet it in a deadlock.
    """
    quote, user = cursor.db.ops.quote_name, model._meta.get_field("user")
    name, table = f"authkit_{model._meta.model_name}_user", quote(model._meta.db_table)
    target = user.target_field
    users = quote(target.model._meta.db_table)
    if _holds(cursor, _HAS_CASCADE, name, table) or not _holds(cursor, _HAS_COLUMN, users, target.column):
        return
    names = {"name": name, "column": user.column, "users": target.model._meta.db_table, "key": target.column}
    parts = {"table": table, **{part: quote(text) for part, text in names.items()}}
    if not _holds(cursor, f"SELECT EXISTS (SELECT FROM {users})"):  # noqa: S608  # a name of the models
        _refuse_to_clear(cursor, table)
    cursor.execute(_CLEAR.format(**parts))
    if cursor.rowcount:
        logger.warning("%d rows of users who are gone were deleted from %s.", cursor.rowcount, table)
    cursor.execute(_CASCADE.format(**parts))


def _refuse_to_clear(cursor: CursorWrapper, table: str) -> None:
    """Delete nothing where no user can be seen: another table may be meant, or the role may not see the rows."""
    if _holds(cursor, f"SELECT EXISTS (SELECT FROM {table})"):  # noqa: S608  # a name of the models
        raise ImproperlyConfigured(
            f"There are no users, but rows of users in {table}. Is AUTH_USER_MODEL the right one? If so, empty that "
            "table, and migrate again."
        )


def _index_addresses(cursor: CursorWrapper) -> None:
    """Let a login find its user by the address: Django's own user has no index on it, let alone in any case."""
    quote = cursor.db.ops.quote_name
    field: Any = get_user_model()._meta.get_field(get_user_model().get_email_field_name())
    table = quote(field.model._meta.db_table)
    if _holds(cursor, _HAS_COLUMN, table, field.column) and not _holds(cursor, _HAS_INDEX, table, ADDRESS_INDEX):
        cursor.execute(f"CREATE INDEX {quote(ADDRESS_INDEX)} ON {table} (UPPER({quote(field.column)}::text))")


def _holds(cursor: CursorWrapper, question: str, *values: str) -> bool:
    cursor.execute(question, values)
    return bool(cursor.fetchone()[0])


def _model(name: str) -> Any:
    return apps.get_model("ninja_auth_kit", name)
