"""One schema of PostgreSQL per tenant, as django-tenants and its relatives have it.

They are recognized by what their connections can do, `set_tenant` and `schema_name`, and are never imported.

The tables of the kit are either in the schema of each tenant, if the kit is in `TENANT_APPS`, or shared by all tenants
in the schema `public`. In the first case, each tenant has users of its own, whose ids are not unique across tenants.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any
from urllib.parse import quote
from zlib import crc32

from django.apps import AppConfig, apps
from django.conf import settings
from django.db import ProgrammingError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import load_backend

PROBED = 50  # schemas that one statement looks into
SHARED = "SHARED_APPS"

_LABEL = "ninja_auth_kit"
_SHUFFLE = random.Random()  # noqa: S311  # not a secret; apart from that of your project, which tests may seed


def has_schemas(connection: BaseDatabaseWrapper) -> bool:
    """Return whether a connection works in the schema of a tenant that it can change."""
    return hasattr(connection, "set_tenant") and hasattr(connection, "schema_name")


@cache
def is_backend_with_schemas(engine: str) -> bool:
    """Return whether the connections of a database backend have a schema for each tenant.

    Args:
        engine: its `ENGINE` in `DATABASES`.
    """
    return hasattr(load_backend(engine).DatabaseWrapper, "set_tenant")


def apps_of_schemas() -> dict[str, Sequence[str]]:
    """Return the apps of each kind of schema: "SHARED_APPS" for `public`, and one or several kinds of tenants."""
    if getattr(settings, "HAS_MULTI_TYPE_TENANTS", False):
        kinds = {name: kind.get("APPS", ()) for name, kind in getattr(settings, "TENANT_TYPES", {}).items()}
        return {SHARED: kinds.pop(_public(), ()), **kinds}
    return {name: getattr(settings, name, ()) for name in (SHARED, "TENANT_APPS")}


def kinds_of_schemas_with(label: str) -> set[str]:
    """Return the kinds of schemas that have the tables of an app."""
    app: AppConfig = apps.get_app_config(label)
    names = {app.name, f"{type(app).__module__}.{type(app).__name__}"}
    return {kind for kind, installed in apps_of_schemas().items() if not names.isdisjoint(installed)}


def has_tables_per_tenant(connection: BaseDatabaseWrapper) -> bool:
    """Return whether the schema of each tenant has tables of the kit."""
    return has_schemas(connection) and bool(kinds_of_schemas_with(_LABEL) - {SHARED})


def tenant_schema(connection: Any) -> str | None:
    """Return the schema of the tenant whose users the connection works with, or None without users of a tenant.

    The users of `public`, if it has any, belong to no tenant.
    """
    if not has_tables_per_tenant(connection) or connection.schema_name == _public():
        return None
    return str(connection.schema_name)


def is_outside_tenants(connection: Any) -> bool:
    """Return whether the tables are in the schemas of tenants, and no tenant was chosen."""
    return has_tables_per_tenant(connection) and connection.schema_name == _public()


def qualified_issuer(issuer: str, connection: BaseDatabaseWrapper) -> str:
    """Return an issuer that is unique for each set of users: with the schema, if each tenant has users of its own.

    Two tenants have users with the same id. So `sub` is unique only together with an issuer (RFC 7519 section 4.1.2).
    """
    schema = tenant_schema(connection)
    return issuer if schema is None else f"{issuer}/{quote(schema, safe='')}"


def lock_offset(connection: BaseDatabaseWrapper) -> int:
    """Return what to add to the key of an advisory lock, because these are shared by all schemas of a database."""
    schema = tenant_schema(connection)
    return 0 if schema is None else (1 + crc32(schema.encode()) % 2**26) * 16


@contextmanager
def tenant_of(connection: Any, tenant: Any) -> Iterator[None]:
    """Work in the schema of a tenant, and return to the former one."""
    former, includes_public = connection.tenant, connection.include_public_schema
    connection.set_tenant(tenant)
    try:
        yield
    finally:
        connection.set_tenant(former, includes_public)


def tenants(connection: Any) -> list[Any]:
    """Return the tenants whose schemas have tables of the kit, in random order, so that each is the first at times.

    A tenant that is being created or deleted, and has no tables, is not among them.
    """
    kinds = kinds_of_schemas_with(_LABEL)
    with _in_public(connection):
        rows = apps.get_model(str(getattr(settings, "TENANT_MODEL", "")))._default_manager.using(connection.alias)
        found = {str(tenant.schema_name): tenant for tenant in rows if _kind_of(tenant) in kinds}
        if SHARED in kinds:
            found.setdefault(_public(), connection.tenant)
        with connection.cursor() as cursor:
            cursor.execute(_WITH_TABLES, [list(found)])
            existing = [found[name] for (name,) in cursor.fetchall()]
    _SHUFFLE.shuffle(existing)
    return existing


_WITH_TABLES = """
SELECT nspname FROM pg_namespace JOIN pg_class ON relnamespace = pg_namespace.oid
WHERE nspname = ANY(%s) AND relname = 'ninja_auth_kit_promisedemail'
"""


def tenants_where(connection: Any, condition: Callable[[str], str]) -> Iterator[Any]:
    """Yield the tenants in whose schemas a condition is true, and look into many schemas with one statement.

    A schema in which the statement fails, because it was dropped or is not migrated, is yielded as well, so that the
    caller reports the error. It does not stop the others.

    Args:
        connection: the connection to ask, without an open transaction.
        condition: takes the quoted name of a schema and returns SQL. It must not contain values of users.

    Raises:
        DatabaseError: the database is not available.
    """
    found = tenants(connection)
    for start in range(0, len(found), PROBED):
        some = found[start : start + PROBED]
        try:
            yield from _where(connection, condition, some)
        except ProgrammingError:
            for tenant in some:
                try:
                    yield from _where(connection, condition, [tenant])
                except ProgrammingError:
                    yield tenant


def _where(connection: Any, condition: Callable[[str], str], some: Sequence[Any]) -> list[Any]:
    schemas = [connection.ops.quote_name(tenant.schema_name) for tenant in some]
    parts = [f"SELECT {index} WHERE {condition(schema)}" for index, schema in enumerate(schemas)]
    with _in_public(connection), connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(parts))
        return [some[index] for (index,) in cursor.fetchall()]


@contextmanager
def _in_public(connection: Any) -> Iterator[None]:
    former, includes_public = connection.tenant, connection.include_public_schema
    connection.set_schema_to_public()
    try:
        yield
    finally:
        connection.set_tenant(former, includes_public)


def _kind_of(tenant: Any) -> str:
    if tenant.schema_name == _public():
        return SHARED
    return str(tenant.get_tenant_type()) if getattr(settings, "HAS_MULTI_TYPE_TENANTS", False) else "TENANT_APPS"


def _public() -> str:
    return str(getattr(settings, "PUBLIC_SCHEMA_NAME", "public"))
