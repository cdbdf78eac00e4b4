"""Stores: what a consumer remembers, so that an event that is delivered twice is handled once."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import timedelta
from typing import Any, Protocol, TypeVar

import psycopg
from psycopg import sql

from ninja_auth_kit.audit.events import Event

D_co = TypeVar("D_co", covariant=True)


class AwayError(Exception):
    """The store is not available. The consumer waits, and tries again until it is."""


class Store(Protocol[D_co]):
    """Remembers which events were handled."""

    def once(self, event: Event) -> AbstractContextManager[tuple[bool, D_co]]:
        """Return a context manager for handling an event. If the block raises no exception, the event is handled.

        Returns:
            A context manager that gives whether the event is new, and the second argument of the handler.

        Raises:
            AwayError: the store is not available.
        """

    def close(self) -> None:
        """Close connections, if there are any."""


class Memory:
    """Remembers the last events in memory: for tests, and for handlers that may run twice for an event.

    Args:
        size: the number of events.
    """

    def __init__(self, size: int = 100_000) -> None:
        self._size = size
        self._seen: OrderedDict[tuple[str, str], None] = OrderedDict()

    @contextmanager
    def once(self, event: Event) -> Iterator[tuple[bool, None]]:
        """Return a context manager for handling an event. The second argument of the handler is None."""
        key = (event.source, event.id)
        yield key not in self._seen, None
        self._seen[key] = None
        while len(self._seen) > self._size:
            self._seen.popitem(last=False)

    def close(self) -> None:
        """Do nothing."""


class Postgres:
    """Remembers events in a table of your database, in the transaction of the handler: both are committed together.

    If a consumer crashes between the commit and its answer to the broker, the event is delivered again, and the table
    shows that it was handled.

    Args:
        conninfo: the connection string for psycopg.
        table: the name of the table, which `install` creates.
    """

    def __init__(self, conninfo: str, *, table: str = "ninja_auth_kit_seen_event") -> None:
        self._conninfo = conninfo
        self._table = sql.Identifier(table)
        self._connection: psycopg.Connection[Any] | None = None

    def __repr__(self) -> str:
        return f"Postgres(table={self._table.as_string()})"  # the connection string may hold a password

    def install(self) -> None:
        """Create the table if it does not exist. You can also put this statement into a migration of your project."""
        self._execute(
            "CREATE TABLE IF NOT EXISTS {} (source text, id text, seen_at timestamptz NOT NULL DEFAULT now(), "
            "PRIMARY KEY (source, id))"
        )

    def prune(self, *, older_than: timedelta = timedelta(days=30)) -> int:
        """Forget old events, and return how many.

        Args:
            older_than: must be longer than the stream keeps events. Otherwise a replay would handle them again.
        """
        return self._execute("DELETE FROM {} WHERE seen_at < now() - %s", older_than)

    @contextmanager
    def once(self, event: Event) -> Iterator[tuple[bool, psycopg.Cursor[Any]]]:
        """Return a context manager for handling an event.

        The second argument of the handler is a cursor. Its transaction also records that the event was handled.
        """
        insert = sql.SQL("INSERT INTO {} (source, id) VALUES (%s, %s) ON CONFLICT DO NOTHING")
        connection = self._connected()
        try:
            with connection.transaction(), connection.cursor() as cursor:
                cursor.execute(insert.format(self._table), (event.source, event.id))
                yield cursor.rowcount == 1, cursor
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            # The connection still works: it was a deadlock or a timeout in a query of the handler,
            # for example. That counts as a failed delivery.
            if not connection.closed:
                raise
            raise AwayError(type(error).__name__) from error

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
            self._connection = None

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            try:
                self._connection = psycopg.connect(self._conninfo, autocommit=True)
            except psycopg.OperationalError as error:
                raise AwayError(type(error).__name__) from error
        return self._connection

    def _execute(self, statement: str, *values: Any) -> int:
        with psycopg.connect(self._conninfo) as connection:
            query = sql.SQL(statement).format(self._table)
            return connection.execute(query, values).rowcount
