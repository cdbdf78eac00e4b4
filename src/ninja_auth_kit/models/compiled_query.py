"""Queries that the ORM writes once and that run many times, where building one takes longer than running it.

The SQL still follows the host's models, their default managers and the database; only the building is saved. A manager
with a `get_queryset` of its own may filter by the hour or the tenant, so behind such a one nothing is kept.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import cache
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

from django.db import connections, models
from django.db.models.expressions import RawSQL

P = ParamSpec("P")
T = TypeVar("T")


class Placeholder:
    """Stands in a query where a value will stand."""


class CompiledQuery:
    """Reads rows of joined models.

    Args:
        rows: the rows, with those of `places` where values will stand; see `where`.
        parts: the models, each with the path to it from the model of the rows ("" for that itself), and those of its
            fields that are wanted; the others are read when they are used.
        places: what stands for the values, in their order.
        ending: what follows the SQL of the ORM, such as a lock.
    """

    def __init__(self, rows: "models.QuerySet[Any]", *parts: "Part", places: Sequence[Any], ending: str = "") -> None:
        self.alias, self.parts = rows.db, parts
        columns = [column for part in parts for column in part.columns]
        # Not `sql_with_params`, which writes for the database "default", whatever that is.
        sql, parameters = rows.values_list(*columns).query.get_compiler(self.alias).as_sql()
        self.sql = f"{sql} {ending}".rstrip()
        # Each is an index among the values, or what the ORM has put there itself.
        self._parameters = [(_index(places, parameter), parameter) for parameter in parameters]

    def fetch(self, *values: Any) -> Iterator[list[Any]]:
        """Run it with values in the places; yield an instance of each part, a row at a time."""
        connection = connections[self.alias]
        given = [parameter if index is None else values[index] for index, parameter in self._parameters]
        with connection.cursor() as cursor:
            cursor.execute(self.sql, given)
            rows = cursor.fetchall()
        for row in rows:
            left = list(row)
            yield [part.take(left, connection) for part in self.parts]


class Part:
    """The columns of one model in a row of the join.

    Args:
        model: which.
        prefix: the path to it, with the underscores behind.
        only: the names of the fields that are wanted; all of them without.
    """

    def __init__(self, model: type[models.Model], prefix: str = "", *, only: Sequence[str] = ()) -> None:
        self.model = model
        self._fields = [field for field in model._meta.concrete_fields if not only or field.attname in only]
        self.names = [field.attname for field in self._fields]
        self.columns = [prefix + name for name in self.names]
        self._converters: list[tuple[int, Any]] | None = None

    def take(self, values: list[Any], connection: Any) -> Any:
        """Take this model's values from the front of the list, and return its instance."""
        own = values[: len(self.names)]
        del values[: len(self.names)]
        if self._converters is None:
            converters = ((index, converters_of(field, connection)) for index, field in enumerate(self._fields))
            self._converters = [(index, one) for index, several in converters for one in several]
        for index, convert in self._converters:
            own[index] = convert(own[index], None, connection)
        return self.model.from_db(connection.alias, self.names, own)


def _index(places: Sequence[Any], parameter: Any) -> int | None:
    return next((index for index, place in enumerate(places) if place is parameter or place == parameter), None)


def where(rows: "models.QuerySet[Any]", field: str, *places: Placeholder) -> "models.QuerySet[Any]":
    """Return the rows whose field will be what stands in a place, or in one of several.

    Not by `filter`: what a field makes of its values is done to those that will stand there, by `prepared`.

    Args:
        rows: of one model.
        field: of that model; "pk" is its primary key.
        places: where the values will stand.
    """
    return _where(rows, f"{_column(rows, field)} IN ({', '.join(['%s'] * len(places))})", places)


def where_ignoring_case(rows: "models.QuerySet[Any]", field: str, *places: Placeholder) -> "models.QuerySet[Any]":
    """Return the rows whose field will be what stands in one of several places, in upper or lower case."""
    return _where(rows, f"UPPER({_column(rows, field)}::text) IN ({', '.join(['UPPER(%s)'] * len(places))})", places)


def _where(rows: "models.QuerySet[Any]", condition: str, places: Sequence[Placeholder]) -> "models.QuerySet[Any]":
    return rows.filter(RawSQL(condition, places, models.BooleanField()))  # noqa: S611  # names of the models


def _column(rows: "models.QuerySet[Any]", field: str) -> str:
    described, quote = _field(rows.model, field), connections[rows.db].ops.quote_name
    return f"{quote(described.model._meta.db_table)}.{quote(described.column)}"


def prepared(model: type[models.Model], field: str, value: Any, connection: Any) -> Any:
    """Return a value as the ORM would hand it to the database for a field of a model; "pk" is the primary key."""
    return _field(model, field).get_db_prep_value(value, connection)


def _field(model: type[models.Model], name: str) -> Any:
    return model._meta.pk if name == "pk" else model._meta.get_field(name)


def from_database(field: Any, value: Any, connection: Any) -> Any:
    """Return a value that raw SQL has read from the column of a field, as the ORM would."""
    for convert in converters_of(field, connection):
        value = convert(value, None, connection)
    return value


def converters_of(field: Any, connection: Any) -> list[Any]:
    """Return what makes of a column's value that of the field; for a foreign key, that of the key it points at."""
    converters: list[Any] = field.get_col(field.model._meta.db_table).get_db_converters(connection)
    return converters


def cached_unless_filtered(manager: Callable[[], "models.Manager[Any]"]) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Keep what a function returns for the same arguments, where the manager is one of Django's own; decorates it.

    Django's `get_queryset` hides nobody, today or tomorrow.
    """

    def decorate(build: Callable[P, T]) -> Callable[P, T]:
        keep = cache(build)

        def built(*args: P.args, **kwargs: P.kwargs) -> T:
            own = getattr(manager().get_queryset, "__func__", None)
            chosen = keep if own is models.Manager.get_queryset else build
            return chosen(*args, **kwargs)  # type: ignore[arg-type]  # hashable, as those who call it see to

        return built

    return decorate


def array(values: Iterable[UUID | int | datetime]) -> str:
    """Return an array as PostgreSQL reads it, for a parameter that the statement casts.

    Only of what has no quotes, commas or braces in it: nothing is escaped.
    """
    return f"{{{','.join(map(str, values))}}}"
