"""How an idle relay waits: on the database, which tells it of new events, or for a pause where it cannot be told."""

import os
import socket
import threading

from django.db import connections

from ninja_auth_kit.audit.record.outbox import CHANNEL
from ninja_auth_kit.conf import settings

RELAY_NAME = "ninja_auth_kit relay"  # how the database session of a relay begins to call itself
_LONGEST_NAME = 63  # bytes, as PostgreSQL has it

SHORTEST_PAUSE = 0.005  # seconds between looks at the outbox, doubled while there is nothing
LONGEST_PAUSE, LONGEST_DEAF_PAUSE = 1.0, 0.25


class Wakeup:
    """Waits for events of one database. A notification that is missed costs a pause, never an event.

    Args:
        using: the alias of the database.
        embedded: whether the relay is a thread of a web process, which its name then says.
    """

    def __init__(self, *, using: str, embedded: bool = False) -> None:
        self.using = using
        end = f" {os.getpid()}" + " embedded" * embedded
        host = socket.gethostname()[: _LONGEST_NAME - len(RELAY_NAME) - len(end) - 1]
        self._name = f"{RELAY_NAME} {host}{end}"
        self._greeted: object = None
        self._pause = SHORTEST_PAUSE

    def greet(self) -> None:
        """Give the database session its name and listen, once for each connection."""
        connection = connections[self.using]
        connection.ensure_connection()
        if self._greeted is connection.connection:
            return
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('application_name', %s, false)", [self._name])
            if settings.AUDIT_LISTEN:
                cursor.execute(f"LISTEN {CHANNEL}")
        self._greeted = connection.connection

    def wait(self, stop: threading.Event, *, after: int) -> None:
        """Wait until there may be something to do, longer the longer there was nothing.

        Writers notify at most every 100 ms, so after each event it looks again in short intervals.

        Args:
            stop: set to wait no longer than this pause.
            after: how many events the last look has found.
        """
        listening = settings.AUDIT_LISTEN
        self._pause = SHORTEST_PAUSE if after else self._pause * 2
        self._pause = min(self._pause, LONGEST_PAUSE if listening else LONGEST_DEAF_PAUSE)
        if not listening or self._pause < LONGEST_DEAF_PAUSE:
            stop.wait(self._pause)
        elif self._heard():
            self._pause = SHORTEST_PAUSE

    def _heard(self) -> bool:
        connection = connections[self.using]
        with connection.wrap_database_errors:
            return bool(list(connection.connection.notifies(timeout=self._pause, stop_after=1)))
