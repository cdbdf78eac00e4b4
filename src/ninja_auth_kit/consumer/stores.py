"""Stores: what a consumer remembers, so that an event that is delivered twice is handled once."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import timedelta
from typing import Any, LiteralString, Protocol, TypeVar

import psycopg
from psycopg import sql

from ninja_auth_kit.audit.events import Event

D_co = TypeVar("D_co", covariant=True)

# Two processes may have the same event: the later one waits here for the transaction of the other.
_HANDLED: LiteralString = """
INSERT INTO {0} AS known (source, id) VALUES (%s, %s)
ON CONFLICT (source, id) DO UPDATE SET is_handled = true, seen_at = now() WHERE NOT known.is_handled
"""
_COUNT_TRY: LiteralString = """
INSERT INTO {0} AS known (source, id, tries, is_handled) VALUES (%s, %s, 1, false)
ON CONFLICT (source, id) DO UPDATE SET tries = known.tries + 1, seen_at = now() WHERE NOT known.is_handled
RETURNING tries
"""
_FORGET_TRIES: LiteralString = "DELETE FROM {0} WHERE source = %s AND id = %s AND NOT is_handled"


class AwayError(Exception):
    """The store is not available. The consumer waits, and tries again until it is."""


class Store(Protocol[D_co]):
    """Remembers which events were handled, and counts the tries of the others. Each method may raise AwayError."""

    def once(self, event: Event) -> AbstractContextManager[tuple[bool, D_co]]:
        """Return a context manager for handling an event. If the block raises no exception, the event is handled.

        Returns:
            A context manager that gives whether the event is new, and the second argument of the handler.

        Raises:
            AwayError: the store is not available. The block has not begun.
        """

    def count_try(self, event: Event) -> int:
        """Count another try of an event, and return how many there are. Return 0 if the event was handled already.

        The number must survive a crash right after this method returns.

        Raises:
            AwayError: the store is not available.
        """

    def forget_tries(self, event: Event) -> None:
        """Set the number of tries to 0, because the event becomes a dead letter.

        Raises:
            AwayError: the store is not available.
        """

    def close(self) -> None:
        """Close connections, if there are any."""


class Memory:
    """Remembers the last events in memory: for tests, and for handlers that may run twice for an event.

    The number of tries is lost when the process ends. An event that ends the process is therefore delivered for ever.

    Args:
        size: the number of events.
    """

    def __init__(self, size: int = 100_000) -> None:
        self._size = size
        self._seen: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._tries: OrderedDict[tuple[str, str], int] = OrderedDict()

    @contextmanager
    def once(self, event: Event) -> Iterator[tuple[bool, None]]:
        """Return a context manager for handling an event. The second argument of the handler is None."""
        key = (event.source, event.id)
        yield key not in self._seen, None
        self._seen[key] = None
        self._tries.pop(key, None)
        while len(self._seen) > self._size:
            self._seen.popitem(last=False)

    def count_try(self, event: Event) -> int:
        """Count another try of an event, and return how many there are. Return 0 if the event was handled already."""
        key = (event.source, event.id)
        if key in self._seen:
            return 0
        self._tries[key] = self._tries.get(key, 0) + 1
        while len(self._tries) > self._size:
            self._tries.popitem(last=False)
        return self._tries[key]

    def forget_tries(self, event: Event) -> None:
        """Set the number of tries to 0."""
        self._tries.pop((event.source, event.id), None)

    def close(self) -> None:
        """Do nothing."""


class Postgres:
    """Remembers events in a table of your database, in the transaction of the handler: both are committed together.

    If a consumer crashes between the commit and its answer to the broker, the event is delivered again, and the table
    shows that it was handled. Tries are counted in the same table, each in its own transaction.

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
            "tries integer NOT NULL DEFAULT 0, is_handled boolean NOT NULL DEFAULT true, PRIMARY KEY (source, id))"
        )

    def prune(self, *, older_than: timedelta = timedelta(days=30)) -> int:
        """Forget old events, and return how many.

        Args:
            older_than: how long ago an event was handled. It must be longer than your replays go back, which is 7 days
                unless you say otherwise. An older event that the stream still has would be handled again.
        """
        return self._execute("DELETE FROM {} WHERE seen_at < now() - %s", older_than)

    @contextmanager
    def once(self, event: Event) -> Iterator[tuple[bool, psycopg.Cursor[Any]]]:
        """Return a context manager for handling an event.

        The second argument of the handler is a cursor. Its transaction also records that the event was handled.
        """
        connection, is_handling = self._connected(), False
        try:
            with connection.transaction(), connection.cursor() as cursor:
                cursor.execute(self._statement(_HANDLED), (event.source, event.id))
                is_handling = True
                yield cursor.rowcount == 1, cursor
        except psycopg.Error as error:
            # While the event is handled, an error counts as a try, even if the connection is lost:
            # the handler may be the cause, and would be the cause again.
            if is_handling:
                raise
            raise self._away(error) from None

    def count_try(self, event: Event) -> int:
        """Count another try of an event, and return how many there are. Return 0 if the event was handled already."""
        try:
            row = self._connected().execute(self._statement(_COUNT_TRY), (event.source, event.id)).fetchone()
        except psycopg.Error as error:
            raise self._away(error) from None
        return int(row[0]) if row else 0

    def forget_tries(self, event: Event) -> None:
        """Set the number of tries to 0."""
        try:
            self._connected().execute(self._statement(_FORGET_TRIES), (event.source, event.id))
        except psycopg.Error as error:
            raise self._away(error) from None

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
            except psycopg.Error as error:
                raise self._away(error) from None
        return self._connection

    def _away(self, error: psycopg.Error) -> Exception:
        """Return what to raise for an error of a statement of the store, and close the connection.

        An event is not the cause of such an error, so the consumer waits. The database may be unavailable, or may only
        be read since a failover; then the next connection may reach another server. Or a lock takes too long, a
        privilege is missing, or `install` was not called. Only a value that cannot be stored is the event's fault.
        """
        if isinstance(error, psycopg.DataError):
            return error
        self.close()
        return AwayError(_cause(error))

    def _statement(self, text: LiteralString) -> sql.Composed:
        return sql.SQL(text).format(self._table)

    def _execute(self, statement: LiteralString, *values: Any) -> int:
        with psycopg.connect(self._conninfo) as connection:
            return connection.execute(self._statement(statement), values).rowcount


def _cause(error: psycopg.Error) -> str:
    """Return the type of an error, and what to do about it. The text of the error may contain a password."""
    if isinstance(error, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedColumn):
        return f"{type(error).__name__}: call the install method of the store once"
    return type(error).__name__
