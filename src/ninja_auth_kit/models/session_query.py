"""The query behind every authenticated request: a session and its user, in SQL that the ORM writes once.

Building a query takes the ORM longer than answering it takes PostgreSQL. The SQL still follows the host's user model,
its default manager and the database; only the building is saved. A default manager with a `get_queryset` of its own
may filter by the hour or the tenant, so behind such a one the SQL is built anew for each request.
"""

from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import connections, models

if TYPE_CHECKING:
    from ninja_auth_kit.models.sessions import UserSession

_KEY = UUID(int=0)  # stands where the session id will stand


class SessionQuery:
    """Reads one session with its user from one database.

    Args:
        alias: the database.
        with_email: whether to join the user's `EmailAddress` too, which costs about a third more.
    """

    def __init__(self, alias: str, *, with_email: bool) -> None:
        self.alias = alias
        self.session = _Part(apps.get_model("ninja_auth_kit", "UserSession"), "sessions__")
        self.user = _Part(get_user_model(), "")
        self.email = _Part(apps.get_model("ninja_auth_kit", "EmailAddress"), "authkit_email__") if with_email else None
        parts = [part for part in (self.session, self.user, self.email) if part is not None]
        # Through the user's default manager, as Django's own get_user(): whom it hides cannot use a session.
        users = self.user.model._default_manager.using(alias).filter(sessions__id=_KEY).order_by()
        columns = [column for part in parts for column in part.columns]
        self.sql, self.parameters = users.values_list(*columns).query.sql_with_params()

    def get(self, session_id: UUID) -> "UserSession | None":
        """Return the session with its user loaded, or None where either is missing."""
        connection = connections[self.alias]
        with connection.cursor() as cursor:
            cursor.execute(self.sql, [session_id if value == _KEY else value for value in self.parameters])
            row = cursor.fetchone()
        if row is None:
            return None
        values = list(row)
        session: UserSession = self.session.take(values, connection)
        session.user = self.user.take(values, connection)
        if self.email is not None:
            address = self.email.take(values, connection)
            relation: Any = self.user.model._meta.get_field("authkit_email")
            relation.set_cached_value(session.user, address if address.pk is not None else None)
        return session


class _Part:
    """The columns of one model in a row of the join."""

    def __init__(self, model: type[models.Model], prefix: str) -> None:
        self.model = model
        self.names = [field.attname for field in model._meta.concrete_fields]
        self.columns = [prefix + name for name in self.names]
        self._converters: list[tuple[int, Any]] | None = None

    def take(self, values: list[Any], connection: Any) -> Any:
        """Take this model's values from the front of the list, and return its instance."""
        own = values[: len(self.names)]
        del values[: len(self.names)]
        for index, convert in self._converters_for(connection):
            own[index] = convert(own[index], None, connection)
        return self.model.from_db(connection.alias, self.names, own)

    def _converters_for(self, connection: Any) -> list[tuple[int, Any]]:
        if self._converters is None:
            fields = enumerate(self.model._meta.concrete_fields)
            self._converters = [(index, one) for index, field in fields for one in _converters(field, connection)]
        return self._converters


def from_database(field: Any, value: Any, connection: Any) -> Any:
    """Return a value that raw SQL has read from the column of a field, as the ORM would."""
    for convert in _converters(field, connection):
        value = convert(value, None, connection)
    return value


def _converters(field: Any, connection: Any) -> list[Any]:
    """Return what makes of a column's value that of the field; for a foreign key, that of the key it points at."""
    converters: list[Any] = field.get_col(field.model._meta.db_table).get_db_converters(connection)
    return converters


def session_query(alias: str, *, with_email: bool) -> SessionQuery:
    """Return the query for one database."""
    own = getattr(get_user_model()._default_manager.get_queryset, "__func__", None)
    # Django's get_queryset hides nobody, today or tomorrow.
    build = _kept_query if own is models.Manager.get_queryset else SessionQuery
    return build(alias, with_email=with_email)


@cache
def _kept_query(alias: str, *, with_email: bool) -> SessionQuery:
    return SessionQuery(alias, with_email=with_email)
