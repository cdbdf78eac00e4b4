"""What a request has set on its connection, for work of the kit in another thread or on another connection.

A promised email is sent in a thread, and a fact is recorded over a second connection. Both must see what the request
sees: the schema of its tenant, or the variables and the role that row-level security reads.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from ninja_auth_kit.conf import imported_callable, settings
from ninja_auth_kit.tenancy import has_schemas

Restore = Callable[[BaseDatabaseWrapper], None]
"""Puts a state onto another connection."""


def connection_state(connection: Any) -> Restore:
    """Return a function that puts the state of a connection onto another: its tenant, and that of `CONNECTION_STATE`.

    Raises:
        ImproperlyConfigured: `CONNECTION_STATE` cannot be imported, or returns something else than a callable or None.
    """
    states: list[Restore] = []
    if has_schemas(connection):
        states.append(partial(_set_tenant, connection.tenant, connection.include_public_schema))
    state_of = imported_callable("CONNECTION_STATE")
    restore = state_of(connection) if state_of else None
    if restore is not None:
        if not callable(restore):
            raise ImproperlyConfigured(
                "The function that NINJA_AUTH_KIT['CONNECTION_STATE'] names must return a callable that takes a "
                f"connection, or None (got a value of the type {type(restore).__name__})."
            )
        states.append(restore)
    return partial(_apply, states)


def _apply(states: list[Restore], connection: BaseDatabaseWrapper) -> None:
    for restore in states:
        restore(connection)


def _set_tenant(tenant: Any, includes_public: bool, connection: Any) -> None:
    connection.set_tenant(tenant, includes_public)


def keep_tenant(former: Any, new: Any) -> None:
    """Let a connection work in the schema that another works in. No statement is executed."""
    if has_schemas(former):
        _set_tenant(former.tenant, former.include_public_schema, new)


def unpooled_connection(*, using: str) -> BaseDatabaseWrapper:
    """Return a new connection to a database, not yet open and never from your project's pool.

    The pool is Django's own (`OPTIONS["pool"]`) or that of django-db-connection-pool, which is a database backend
    around another one. The connection has no state of a request. See `connection_state`.
    """
    connection = connections[using].copy()
    connection.settings_dict["OPTIONS"].pop("pool", None)
    backend = next(each for each in type(connection).__mro__ if is_backend_without_pool(each))
    return connection if backend is type(connection) else backend(connection.settings_dict, using)


def is_backend_without_pool(backend: type) -> bool:
    """Return whether a class is a database backend that does not come from django-db-connection-pool."""
    return issubclass(backend, BaseDatabaseWrapper) and not backend.__module__.startswith("dj_db_conn_pool.")


def in_thread(work: Callable[[], None], *, using: str) -> Callable[[], None]:
    """Return a function that does work in another thread, on a connection with the state that this one has now.

    The context variables are those of now, too. Some packages keep the tenant in one.

    Args:
        work: a callable without arguments.
        using: the alias of the database.
    """
    restore = connection_state(connections[using])
    return partial(copy_context().run, partial(_work, work, restore, using))


def _work(work: Callable[[], None], restore: Restore, using: str) -> None:
    with background_connection(restore, using=using):
        work()


@contextmanager
def background_connection(restore: Restore, *, using: str) -> Iterator[BaseDatabaseWrapper]:
    """Give this thread a connection with a state, and take it away again.

    With `CONNECTION_STATE`, it is not from the project's pool: a request would get the connection with that state.
    """
    connections[using].close()
    if settings.CONNECTION_STATE is not None:
        connections[using] = unpooled_connection(using=using)
    try:
        restore(connections[using])
        yield connections[using]
    finally:
        connections[using].close()
        del connections[using]


def in_this_thread(work: Callable[[], None], *, using: str) -> Callable[[], None]:
    """Return a function that does work on this connection with the state that it has now, for tests."""
    restore = connection_state(connections[using])

    def run() -> None:
        put_back = connection_state(connections[using])
        restore(connections[using])
        try:
            work()
        finally:
            put_back(connections[using])

    return run
