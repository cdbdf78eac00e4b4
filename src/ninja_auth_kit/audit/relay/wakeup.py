"""How an idle relay waits: for a notification from the database, or for a short pause if it cannot listen."""

import os
import socket
import threading

from django.db import connections

from ninja_auth_kit.audit.relay import sql
from ninja_auth_kit.conf import settings

RELAY_NAME = "ninja_auth_kit relay"  # prefix of the application_name of a relay's database session
_MAX_NAME_BYTES = 63  # the limit of PostgreSQL

# Seconds between two looks at the outbox. The pause starts with the shortest and doubles while the
# outbox is empty.
SHORTEST_PAUSE = 0.005
LONGEST_PAUSE, LONGEST_PAUSE_WITHOUT_LISTEN = 1.0, 0.25


class Wakeup:
    """Waits for events of one database. A missed notification costs a pause, but never an event.

    Args:
        using: the alias of the database.
        embedded: whether the relay is a thread of a web process. The name of its session then says so.
    """

    def __init__(self, *, using: str, embedded: bool = False) -> None:
        self.using = using
        suffix = f" {os.getpid()}" + " embedded" * embedded
        host = socket.gethostname()[: _MAX_NAME_BYTES - len(RELAY_NAME) - len(suffix) - 1]
        self._name = f"{RELAY_NAME} {host}{suffix}"
        self._listening_on: object = None
        self._pause = SHORTEST_PAUSE

    def listen(self) -> None:
        """Name the database session and listen for notifications, once per connection."""
        connection = connections[self.using]
        connection.ensure_connection()
        if self._listening_on is connection.connection:
            return
        with connection.cursor() as cursor:
            cursor.execute(sql.NAME_SESSION, {"name": self._name})
            if settings.AUDIT_LISTEN:
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
