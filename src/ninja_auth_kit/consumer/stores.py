"""What a consumer remembers, so that an event that comes twice is handled once."""

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
    """A store cannot be reached. The event stays, and is tried again until it can."""


class Store(Protocol[D_co]):
    """Remembers which events were handled."""

    def once(self, event: Event) -> AbstractContextManager[tuple[bool, D_co]]:
        """Open the work on an event; when the block ends without an exception the event counts as handled.

        Returns:
            Whether the event is new, and what the handler works with.

        Raises:
            AwayError: the store cannot be reached.
        """

    def close(self) -> None:
        """Leave."""


class Memory:
    """Remembers the last events of this process alone: for tests, and for handlers that may run twice.

    Args:
        size: how many.
    """

    def __init__(self, size: int = 100_000) -> None:
        self._size = size
        self._seen: OrderedDict[tuple[str, str], None] = OrderedDict()

    @contextmanager
    def once(self, event: Event) -> Iterator[tuple[bool, None]]:
        """Open the work on an event; the handler gets None."""
        key = (event.source, event.id)
        yield key not in self._seen, None
        self._seen[key] = None
        while len(self._seen) > self._size:
            self._seen.popitem(last=False)

    def close(self) -> None:
        """Do nothing."""


class Postgres:
    """Remembers in a table of your database, in the transaction in which the handler works: one commit for both.

    A consumer that dies between the commit and its answer to the broker gets the event again, and finds it there.

    Args:
        conninfo: how to connect, as psycopg takes it.
        table: where to remember; `install` makes it.
    """

    def __init__(self, conninfo: str, *, table: str = "ninja_auth_kit_seen_event") -> None:
        self._conninfo = conninfo
        self._table = sql.Identifier(table)
        self._connection: psycopg.Connection[Any] | None = None

    def __repr__(self) -> str:
        return f"Postgres(table={self._table.as_string()})"  # the connection string may hold a password

    def install(self) -> None:
        """Make the table, unless it is there. It is also a statement for your own migration."""
        self._execute(
            "CREATE TABLE IF NOT EXISTS {} (source text, id text, seen_at timestamptz NOT NULL DEFAULT now(), "
            "PRIMARY KEY (source, id))"
        )

    def prune(self, *, older_than: timedelta = timedelta(days=30)) -> int:
        """Forget events that are too old to come again, and return how many. Longer than the stream keeps them."""
        return self._execute("DELETE FROM {} WHERE seen_at < now() - %s", older_than)

    @contextmanager
    def once(self, event: Event) -> Iterator[tuple[bool, psycopg.Cursor[Any]]]:
        """Open the work on an event; the handler gets a cursor, whose transaction is committed with it."""
        insert = sql.SQL("INSERT INTO {} (source, id) VALUES (%s, %s) ON CONFLICT DO NOTHING")
        connection = self._connected()
        try:
            with connection.transaction(), connection.cursor() as cursor:
                cursor.execute(insert.format(self._table), (event.source, event.id))
                yield cursor.rowcount == 1, cursor
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            if not connection.closed:  # a deadlock or a timeout of the handler's own, which counts as a try of it
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
