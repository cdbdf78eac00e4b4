"""Queries whose SQL the ORM writes once per process instead of once per request.

For a small query, building the SQL takes the ORM longer than PostgreSQL takes to answer. These are
milliseconds, the medians of 2,000 interleaved rounds with Django 5.2, and PostgreSQL 15 on the same
machine:

                                                 compiled    ORM
    a user by primary key, with the address          0.29   0.59
    a user by email address                          0.51   1.41
    a user with a lock, and the address              0.42   1.02
    a session, its user and the address              0.43   1.01
    the active sessions of a user                    0.31   0.82

In comparison, a guarded GET takes 0.4 ms with one of these queries, a refresh 1.5, a logout 1.6, and
a login with a hasher that costs nothing 6.0 (docs/performance.md). A statement that gains less than
3 % of its operation is left to the ORM.

The SQL still follows the models of your project, their default managers and the database. To
compile a query, write an ordinary queryset in which each value that changes between calls is a
`Placeholder`, and list the models to read:

    user = Placeholder("user", UserSession._meta.get_field("user"))
    queryset = UserSession.objects.filter(user=user, is_active=True)
    query = CompiledQuery(queryset, ModelColumns(UserSession))

    # query.sql is:
    # SELECT "ninja_auth_kit_usersession"."id" AS "id", ... FROM "ninja_auth_kit_usersession"
    # WHERE ("ninja_auth_kit_usersession"."is_active"
    #     AND "ninja_auth_kit_usersession"."user_id" = (%s))

    for (session,) in query.fetch(user=7):
        ...  # a UserSession, as the ORM would have returned it

Compile inside a function that is decorated with `functools.cache`, or with `cached_unless_filtered`
if the queryset comes from a manager of your project.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

from django.db import connections, models
from psycopg import adapters
from psycopg.pq import Format

from ninja_auth_kit.short_transaction import accepts_several_statements

_TIMESTAMPTZ = adapters.types["timestamptz"].oid
_DATETIME_LOADER = adapters.get_loader(_TIMESTAMPTZ, Format.TEXT)  # psycopg's own, in C if that is installed

P = ParamSpec("P")
T = TypeVar("T")


class Placeholder(models.Expression):
    """A value in a queryset that is not known before `CompiledQuery.fetch` is called.

    Args:
        name: the keyword argument of `fetch` that has the value.
        field: the model field that the value is compared with; it converts the value for the
            database.
    """

    def __init__(self, name: str, field: Any) -> None:
        super().__init__(output_field=field)
        self.name = name

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        """Return SQL whose parameter is this placeholder, for `CompiledQuery` to replace."""
        return "%s", [self]


class ModelColumns:
    """The columns of one model in the rows of a query, and how to make an instance from them.

    Args:
        model: the model.
        path: the lookup path from the queryset's model to this one, such as "authkit_email"; "" for
            that model itself.
        fields: the attribute names of the fields to read; by default all. The others are deferred.
    """

    def __init__(self, model: type[models.Model], path: str = "", *, fields: Sequence[str] = ()) -> None:
        self.model = model
        self._fields = [field for field in model._meta.concrete_fields if not fields or field.attname in fields]
        self._names = [field.attname for field in self._fields]
        self.lookups = [f"{path}__{name}" if path else name for name in self._names]
        self._converters: list[tuple[int, Any]] | None = None

    def pop_instance(self, row: list[Any], connection: Any) -> Any:
        """Remove the values of this model from the front of a row, and return its instance."""
        values = row[: len(self._names)]
        del row[: len(self._names)]
        if self._converters is None:
            self._converters = [
                (index, convert)
                for index, field in enumerate(self._fields)
                for convert in _time_zone_converters(field, connection) + _converters_from_database(field, connection)
            ]
        for index, convert in self._converters:
            values[index] = convert(values[index], None, connection)
        return self.model.from_db(connection.alias, self._names, values)


class CompiledQuery:
    """A SELECT that the ORM has written once and that runs with different values.

    Args:
        queryset: the rows to read, with a `Placeholder` for each value that changes.
        columns: the columns of the models to read from each row.
        suffix: SQL to append, such as a locking clause.
    """

    def __init__(self, queryset: "models.QuerySet[Any]", *columns: ModelColumns, suffix: str = "") -> None:
        self.alias, self._columns = queryset.db, columns
        lookups = [lookup for of_model in columns for lookup in of_model.lookups]
        # Not `query.sql_with_params()`, which always compiles for the database "default".
        sql, self._parameters = queryset.values_list(*lookups).query.get_compiler(self.alias).as_sql()
        self.sql = f"{sql} {suffix}".rstrip()

    def fetch(self, **values: Any) -> Iterator[list[Any]]:
        """Run the query, and return for each row a list with one instance of each model.

        Args:
            values: the values of the placeholders, by name.
        """
        return self.instances(self.rows(**values))

    def rows(self, **values: Any) -> list[tuple[Any, ...]]:
        """Run the query, and return the rows as the database returns them, for `instances`.

        Args:
            values: as in `fetch`.
        """
        with connections[self.alias].cursor() as cursor:
            _load_datetimes_in_c(cursor)
            cursor.execute(self.sql, self.parameters(values))
            found: list[tuple[Any, ...]] = cursor.fetchall()
        return found

    def parameters(self, values: Mapping[str, Any]) -> list[Any]:
        """Return the parameters of the SQL, with these values for the placeholders."""
        connection = connections[self.alias]
        return [
            to_database(parameter.output_field, values[parameter.name], connection)
            if isinstance(parameter, Placeholder)
            else parameter
            for parameter in self._parameters
        ]

    def instances(self, rows: Iterable[Sequence[Any]]) -> Iterator[list[Any]]:
        """Yield for each row that was read a list with one instance of each model."""
        connection = connections[self.alias]
        for row in rows:
            remaining = list(row)
            yield [of_model.pop_instance(remaining, connection) for of_model in self._columns]


def fetch_in_turn(*queries: CompiledQuery, **values: Any) -> list[Iterator[list[Any]]]:
    """Run queries of one database one after the other, in one round trip if possible, and return what each yields.

    Each reads what is committed when it begins, as it would in a round trip of its own. A join would not: PostgreSQL
    reads all of it at the same time.

    Args:
        queries: the queries.
        values: the values of the placeholders of all queries, by name.
    """
    connection = connections[queries[0].alias]
    with connection.cursor() as cursor:
        if not accepts_several_statements(cursor):
            return [query.fetch(**values) for query in queries]
        parameters = [parameter for query in queries for parameter in query.parameters(values)]
        _load_datetimes_in_c(cursor)
        cursor.execute("; ".join(query.sql for query in queries), parameters)
        rows = [cursor.fetchall()]
        while cursor.nextset():
            rows.append(cursor.fetchall())
    return [query.instances(found) for query, found in zip(queries, rows, strict=True)]


def _load_datetimes_in_c(cursor: Any) -> None:
    """Let a cursor convert datetimes by psycopg's own loader.

    Django has one in Python, which takes longer than the rest of a row. They differ in the object that says UTC, so
    `_time_zone_converters` sets Django's.
    """
    if _DATETIME_LOADER is not None:
        cursor.adapters.register_loader(_TIMESTAMPTZ, _DATETIME_LOADER)


def _time_zone_converters(field: Any, connection: Any) -> list[Any]:
    if field.db_type(connection) != "timestamp with time zone":
        return []

    def with_time_zone(value: datetime | None, expression: None, connection: Any) -> datetime | None:
        return None if value is None else value.replace(tzinfo=connection.timezone)

    return [with_time_zone]


def cached_unless_filtered(manager: Callable[[], "models.Manager[Any]"]) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorate a function to cache what it returns, unless a manager overrides `get_queryset`.

    An overridden `get_queryset` may filter by the time of day or by the tenant of the request, so
    the SQL that follows from it must be written for every call. Django's own never filters. The
    arguments of the decorated function must be hashable.

    Args:
        manager: returns the manager that the decorated function uses.
    """

    def decorate(build: Callable[P, T]) -> Callable[P, T]:
        cached = cache(build)

        def cached_or_built(*args: P.args, **kwargs: P.kwargs) -> T:
            chosen = build if is_filtered(manager()) else cached
            return chosen(*args, **kwargs)  # type: ignore[arg-type]  # hashable

        return cached_or_built

    return decorate


def is_filtered(manager: "models.Manager[Any]") -> bool:
    """Return whether a manager overrides `get_queryset`, and may filter by what only the request's thread knows."""
    return getattr(manager.get_queryset, "__func__", None) is not models.Manager.get_queryset


# For hand-written SQL


def to_database(field: Any, value: Any, connection: Any) -> Any:
    """Return a value of a field as the ORM would pass it to the database."""
    return field.get_db_prep_value(value, connection)


def from_database(field: Any, value: Any, connection: Any) -> Any:
    """Return a value from the column of a field as the ORM would return it."""
    for convert in _converters_from_database(field, connection):
        value = convert(value, None, connection)
    return value


def _converters_from_database(field: Any, connection: Any) -> list[Any]:
    """Return the functions that convert the value of a field's column, in their order."""
    converters: list[Any] = field.get_col(field.model._meta.db_table).get_db_converters(connection)
    return converters


def array(values: Iterable[UUID | int | datetime]) -> str:
    """Return a PostgreSQL array literal, for a parameter that the statement casts to an array type.

    Nothing is escaped, so the values must not contain quotes, commas or braces; those of the
    accepted types do not.
    """
    return f"{{{','.join(map(str, values))}}}"
