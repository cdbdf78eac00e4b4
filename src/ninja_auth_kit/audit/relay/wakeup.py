"""How an idle relay waits: for a notification from the database, or for a short pause if it cannot listen."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from django.db import DatabaseError, InterfaceError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from ninja_auth_kit.audit.relay import sql
from ninja_auth_kit.conf import settings
from ninja_auth_kit.connection_state import connection_state, keep_tenant, unpooled_connection

RELAY_NAME = "ninja_auth_kit relay"  # prefix of the application_name of a relay's database session
_MAX_NAME_BYTES = 63  # the limit of PostgreSQL

# Seconds between two looks at the outbox. The pause starts with the shortest and doubles while the
# outbox is empty.
SHORTEST_PAUSE = 0.005
LONGEST_PAUSE, LONGEST_PAUSE_WITHOUT_LISTEN = 1.0, 0.25


@contextmanager
def own_session(*, using: str, like: BaseDatabaseWrapper | None = None) -> Iterator[None]:
    """Give this thread a database connection of its own during the block, and close it at the end.

    A connection that has executed LISTEN must not go back into your project's pool. A request would get it, and
    receive notifications from then on.

    Args:
        using: the alias of the database.
        like: the connection whose tenant it works for, if that is the connection of another thread.
    """
    former = connections[using]
    connections[using] = unpooled_connection(using=using)
    keep_tenant(like or former, connections[using])
    try:
        yield
    finally:
        with suppress(DatabaseError, InterfaceError):
            _end_session(connections[using])
        with suppress(DatabaseError, InterfaceError):
            connections[using].close()
        connections[using] = former


def _end_session(connection: BaseDatabaseWrapper) -> None:
    if settings.AUDIT_LISTEN and connection.connection is not None:
        with connection.cursor() as cursor:
            for statement in sql.END_SESSION:
                cursor.execute(statement)


class Wakeup:
    """Waits for events of one database. A missed notification costs a pause, but never an event.

    Args:
        using: the alias of the database.

    Attributes:
        is_needed: whether the relay is going to wait. If not, `listen` leaves the database session as it is.
    """

    def __init__(self, *, using: str) -> None:
        self.using = using
        self.is_needed = True
        suffix = f" {os.getpid()}"
        host = socket.gethostname()[: _MAX_NAME_BYTES - len(RELAY_NAME) - len(suffix) - 1]
        self._name = f"{RELAY_NAME} {host}{suffix}"
        self._listening_on: object = None
        self._pause = SHORTEST_PAUSE

    def listen(self) -> None:
        """Listen for notifications and name the database session, once per connection.

        Both belong to the session. Behind a pooler in transaction mode (`AUDIT_LISTEN` is off) the session is shared
        with requests, so it is left as it is.
        """
        connection = connections[self.using]
        connection.ensure_connection()
        if self._listening_on is connection.connection:
            return
        connection_state(connection)(connection)  # outside a request: what `CONNECTION_STATE` sets for the kit itself
        if settings.AUDIT_LISTEN and self.is_needed:
            with connection.cursor() as cursor:
                cursor.execute(sql.NAME_SESSION, {"name": self._name})
                cursor.execute(sql.LISTEN)
        self._listening_on = connection.connection

    def wait(self, stop: threading.Event, *, after: int) -> None:
        """Wait until there may be new events. The longer the outbox has been empty, the longer the wait.

        Requests notify at most every 100 ms, so the relay looks again at short intervals after each event.

        Args:
            stop: set it to end the wait, at the latest when the current pause is over.
            after: the number of events that the last look found.
        """
        is_listening = settings.AUDIT_LISTEN
        self._pause = SHORTEST_PAUSE if after else self._pause * 2
        self._pause = min(self._pause, LONGEST_PAUSE if is_listening else LONGEST_PAUSE_WITHOUT_LISTEN)
        if not is_listening or self._pause < LONGEST_PAUSE_WITHOUT_LISTEN:
            stop.wait(self._pause)
        elif self._is_notified():
            self._pause = SHORTEST_PAUSE

    def _is_notified(self) -> bool:
        """Wait for a notification, and return whether one arrived within the pause."""
        connection = connections[self.using]
        with connection.wrap_database_errors:
            return bool(list(connection.connection.notifies(timeout=self._pause, stop_after=1)))
