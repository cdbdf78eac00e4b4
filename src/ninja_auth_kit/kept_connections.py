"""Connections that a process keeps for the kit's own queries under ASGI.

Under ASGI, Django runs the sync code of each request in a thread of its own. Each thread has connections of its own,
which are closed with it: `CONN_MAX_AGE` has no effect, and a guarded request opens a connection for its one query.
Opening it takes many times as long as the query. So the kit keeps a few connections and lends one to the thread of a
request while it checks, refreshes or ends a session.

The request keeps its own connection if it has one by then: it may be in a transaction, or work for a tenant.
"""

import asyncio
import logging
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar
from weakref import WeakSet

from asgiref.sync import SyncToAsync, ThreadSensitiveContext
from django.core import mail
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper

from ninja_auth_kit.conf import accounts_database, settings
from ninja_auth_kit.connection_state import is_backend_without_pool
from ninja_auth_kit.exceptions import ServiceUnavailableError
from ninja_auth_kit.tenancy import has_schemas

MAX_AGE = 600  # seconds after which a connection is closed, so that it moves to another server after a failover
MAX_IDLE = 60  # seconds
MAX_WAIT = 10  # seconds for a connection to become free
MAX_WAIT_OF_ENDPOINT = 1  # seconds; then it opens one

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger("ninja_auth_kit.connections")


class _KeptConnections:
    """The kept connections to one database.

    Args:
        alias: its alias.
        size: how many there may be.
    """

    def __init__(self, alias: str, size: int) -> None:
        self._template = connections.create_connection(alias).copy()
        self._template.settings_dict["CONN_MAX_AGE"] = MAX_AGE
        # Code of your project runs during a refresh and may be slow, so half of them are left to the checks.
        self._slots_of_endpoints = threading.BoundedSemaphore(size - _number_for_checks(size))
        self._slots = threading.BoundedSemaphore(_number_for_checks(size))
        self._idle: list[tuple[BaseDatabaseWrapper, float]] = []  # the last one in is the first one out
        self._lock = threading.Lock()
        # A pool keeps connections itself. That of a tenant would be another one for each.
        is_pooled = bool(self._template.settings_dict["OPTIONS"].get("pool"))
        backend = type(self._template)
        self.is_like_any_other = is_backend_without_pool(backend) and not has_schemas(self._template)
        self.can_be_kept = self.is_like_any_other and not is_pooled

    @contextmanager
    def lend(self, alias: str, *, is_endpoint: bool) -> Iterator[None]:
        slots = self._slots_of_endpoints if is_endpoint else self._slots
        is_free = slots.acquire(timeout=MAX_WAIT_OF_ENDPOINT if is_endpoint else MAX_WAIT)
        if not is_free and is_endpoint:  # it opens a connection of its own
            yield
            return
        if not is_free:
            logger.error("No kept connection to the database has become free in %s seconds.", MAX_WAIT)
            raise ServiceUnavailableError
        try:
            connection = connections[alias] = self._borrow()
            try:
                yield
            finally:
                del connections[alias]
                self._give_back(connection)
        finally:
            slots.release()

    def _borrow(self) -> BaseDatabaseWrapper:
        with self._lock:
            connection = self._idle.pop()[0] if self._idle else None
        if connection is None:
            connection = self._template.copy()
            connection.inc_thread_sharing()
            return connection
        if _has_data(connection):
            connection.close()
        connection.close_if_unusable_or_obsolete()
        return connection

    def _give_back(self, connection: BaseDatabaseWrapper) -> None:
        is_clean = (
            connection.connection is not None
            and connection.get_autocommit()
            and not (connection.in_atomic_block or connection.errors_occurred or connection.execute_wrappers)
        )
        if not is_clean:
            connection.close()
            return
        now = time.monotonic()
        with self._lock:
            self._idle.append((connection, now))
            unused = [one for one, since in self._idle if now - since > MAX_IDLE]
            del self._idle[: len(unused)]
        for one in unused:
            one.close()


def _has_data(connection: Any) -> bool:
    """Return whether an idle connection has something to read: the server has closed it, or is about to."""
    if connection.connection is None or not hasattr(select, "poll"):
        return False
    poll = select.poll()
    poll.register(connection.connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


_kept: dict[tuple[str, int], _KeptConnections] = {}
_kept_lock = threading.Lock()


def _kept_connections(alias: str, size: int) -> _KeptConnections:
    with _kept_lock:
        if (alias, size) not in _kept:
            _kept[alias, size] = _KeptConnections(alias, size)
        return _kept[alias, size]


@contextmanager
def kept_connection(*, is_endpoint: bool = False) -> Iterator[None]:
    """Lend this thread a kept connection to the accounts database, under ASGI, if it has none yet.

    Not for work that hashes a password: it would keep the connection from others for as long.

    Args:
        is_endpoint: whether an endpoint of the kit needs it, which opens a connection if none becomes free in a
            second. The check of a session waits longer.

    Raises:
        ServiceUnavailableError: none has become free for a check in ten seconds.
    """
    found = _lendable() if SyncToAsync.thread_sensitive_context.get(None) is not None else None
    if found is None:
        yield
        return
    alias, kept = found
    with kept.lend(alias, is_endpoint=is_endpoint):
        yield


def with_kept_connection(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate an endpoint to run with a kept connection: see `kept_connection`."""

    @wraps(function)
    def decorated(*args: P.args, **kwargs: P.kwargs) -> T:
        with kept_connection(is_endpoint=True):
            return function(*args, **kwargs)

    return decorated


def _lendable() -> tuple[str, _KeptConnections] | None:
    alias = accounts_database()
    if any(connection.alias == alias for connection in connections.all(initialized_only=True)):
        return None
    kept = _of_all_requests(alias)
    return (alias, kept) if kept is not None and kept.can_be_kept else None


def _of_all_requests(alias: str) -> _KeptConnections | None:
    """Return the connections of this process, or None if each request needs a connection of its own."""
    size: int = settings.ASGI_CONNECTIONS
    # `CONNECTION_STATE` tells that the queries of a request need a connection that the project has prepared. A test
    # runner, which is recognized by the outbox that it creates, could not delete its database.
    if not size or settings.CONNECTION_STATE is not None or hasattr(mail, "outbox"):
        return None
    return _kept_connections(alias, size)


# Checks that several requests share


def may_share_checks() -> bool:
    """Return whether this is an event loop, and the check of its ASGI request needs no connection of its own."""
    request = SyncToAsync.thread_sensitive_context.get(None)
    if request is None or request in _requests_with_connection or not _has_running_loop():
        return False
    # Its thread may serve other requests as well, and have a connection. Only Django's own is of one request.
    if getattr(request, "_executor", None) is not None:
        return False
    # The function and the routers may look at the thread of the request, or make a query.
    if settings.TENANT_SETTINGS is not None or router.routers:
        return False
    kept = _of_all_requests(accounts_database())
    return kept is not None and kept.is_like_any_other


def _has_running_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def number_for_checks() -> int:
    """Return how many connections are left to checks alone."""
    return _number_for_checks(settings.ASGI_CONNECTIONS)


def _number_for_checks(size: int) -> int:
    return size - size // 2


# The requests that have opened a connection to the accounts database. Only the thread of a request can look for it.
_requests_with_connection: WeakSet[ThreadSensitiveContext] = WeakSet()


def note_connection(connection: BaseDatabaseWrapper, **_: Any) -> None:
    """Note that a request has opened a connection: it may be in a transaction. A receiver of `connection_created`."""
    request = SyncToAsync.thread_sensitive_context.get(None)
    # Several threads share a kept connection.
    if request is not None and not connection.allow_thread_sharing and connection.alias == accounts_database():
        _requests_with_connection.add(request)
