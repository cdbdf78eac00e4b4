"""Who has this key, who holds this address, and the lock of a user's row, each with the address that is noted.

They run in every login and every logout; `find_user`, `user_by_key` and `lock_user` say what they mean.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import connections
from django.db.models import Manager, QuerySet

from ninja_auth_kit.models.kept import KeptQuery, Part, Place, kept_behind, prepared, where, where_in_any_case
from ninja_auth_kit.models.session_query import set_address

_CANONICAL = "place@place.invalid"  # what a filter of the ORM takes for an address
_SPELLINGS = (Place(), Place())
_PK = Place()


def by_key(key: Any, *, alias: str) -> Iterator[Any]:
    """Yield the user with this primary key, of those whom the default manager shows."""
    return _users(_by_key(alias), _prepared("pk", key, alias))


def locked(key: Any, *, alias: str) -> Iterator[Any]:
    """Lock the row of a user until the transaction ends, and yield the user as it is now.

    The address is read behind the lock: of a join PostgreSQL would read again only the row that it had to wait for,
    and the address would be that of before.
    """
    value = _prepared("pk", key, alias)
    for (user,) in _locked(alias).fetch(value):
        set_address(user, next((address for (address,) in _address(alias).fetch(value)), None))
        yield user


def holders(canonical: str, readable: str, *, alias: str, everybody: bool = False) -> Iterator[Any]:
    """Yield the users for whom an address is noted, and those who have it in their e-mail field, in any case.

    Both by an index: that on the users' table, see `user_ties`, is for this query alone.

    Args:
        canonical: the address as it is noted.
        readable: the same, with the domain as people read it.
        alias: the database.
        everybody: whether those count, too, whom the default manager hides.
    """
    field = get_user_model().get_email_field_name()
    query = (_all_holders if everybody else _holders)(alias, field)
    return _users(query, canonical, *(_prepared(field, one, alias) for one in (canonical, readable)))


def _users(query: KeptQuery, *values: Any) -> Iterator[Any]:
    for user, address in query.fetch(*values):
        set_address(user, address)
        yield user


def _prepared(field: str, value: Any, alias: str) -> Any:
    return prepared(get_user_model(), field, value, connections[alias])


def _parts() -> list[Part]:
    return [Part(get_user_model()), Part(apps.get_model("ninja_auth_kit", "EmailAddress"), "authkit_email__")]


@kept_behind(lambda: get_user_model()._default_manager)
def _by_key(alias: str) -> KeptQuery:
    rows = get_user_model()._default_manager.using(alias).order_by()
    return KeptQuery(where(rows, "pk", _PK), *_parts(), places=[_PK])


@kept_behind(lambda: get_user_model()._base_manager)
def _locked(alias: str) -> KeptQuery:
    """Through the base manager: a host's default one may aggregate, and a grouped row cannot be locked."""
    ops = connections[alias].ops
    meta = get_user_model()._meta
    tables = [meta.db_table, *(parent._meta.db_table for parent, link in meta.parents.items() if link is not None)]
    # NO KEY: inserting rows of the host that point at the user need not wait.
    ending = ops.for_update_sql(of=[_unqualified(ops.quote_name(table)) for table in tables], no_key=True)
    rows = get_user_model()._base_manager.using(alias).order_by()
    return KeptQuery(where(rows, "pk", _PK), Part(get_user_model()), places=[_PK], ending=ending)


def _unqualified(table: str) -> str:
    """Return the quoted name of a table without the schema, as the lock must name it."""
    return table[table.rfind('."') + 1 :]


@cache
def _address(alias: str) -> KeptQuery:
    model = apps.get_model("ninja_auth_kit", "EmailAddress")
    rows = model._default_manager.using(alias).order_by()
    return KeptQuery(where(rows, "user", _PK), Part(model), places=[_PK])


@kept_behind(lambda: get_user_model()._default_manager)
def _holders(alias: str, field: str) -> KeptQuery:
    return _holders_among(get_user_model()._default_manager, alias, field)


@kept_behind(lambda: get_user_model()._base_manager)
def _all_holders(alias: str, field: str) -> KeptQuery:
    return _holders_among(get_user_model()._base_manager, alias, field)


def _holders_among(users: Manager[Any], alias: str, field: str) -> KeptQuery:
    def rows() -> QuerySet[Any]:
        return users.using(alias).order_by()

    noted = rows().filter(authkit_email__canonical=_CANONICAL)
    others = where_in_any_case(rows(), field, *_SPELLINGS).exclude(authkit_email__canonical=_CANONICAL)
    columns = [column for part in _parts() for column in part.columns]
    both = noted.values_list(*columns).union(others.values_list(*columns), all=True)
    return KeptQuery(both, *_parts(), places=[_CANONICAL, *_SPELLINGS])
