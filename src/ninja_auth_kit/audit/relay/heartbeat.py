"""The heartbeat of a relay: a row that says that the relay runs, what it does, and why it last failed.

`authkit_status` and the metrics read it. It works behind every pooler, because nothing belongs to a database session.
"""

import logging
import os
import socket
import time
from contextlib import suppress
from typing import Any
from uuid import uuid4

from django.db import DatabaseError, InterfaceError, OperationalError, connections

from ninja_auth_kit.audit.relay import sql
from ninja_auth_kit.exceptions import describe_database_error

logger = logging.getLogger("ninja_auth_kit.relay")

PUBLISHING, WAITING, BLOCKED = "publishing", "waiting", "blocked"


class Heartbeat:
    """Writes the row of one relay: every 20 seconds, and when its state or its failure changes.

    Args:
        using: the alias of the database.
        embedded: whether the relay is a thread of a web process.
    """

    every = 20.0  # seconds; sql.RUNNING_RELAYS counts those of the last two minutes
    retry_after = 5.0  # seconds after a heartbeat that could not be written

    def __init__(self, *, using: str, embedded: bool = False) -> None:
        self.using = using
        self._embedded = embedded
        self._id = uuid4()
        self._state, self._failure = PUBLISHING, ""
        self._failed_at: float | None = None
        self._written: tuple[str, str] | None = None
        self._due_at = 0.0
        self._is_failing = False

    def record_success(self) -> None:
        """Record that a round succeeded. The last failure is kept for people who look for it later."""
        self._state = PUBLISHING

    def record_failure(self, failure: str, *, state: str | None = None) -> None:
        """Record that a round failed.

        Args:
            failure: the cause, without credentials.
            state: the new state, or None to keep the present one.
        """
        self._state = state or self._state
        self._failure, self._failed_at = failure, time.monotonic()

    def beat(self) -> None:
        """Write the row if it is time to, or if the state or the failure is new.

        If that fails, it is tried again after 5 seconds and not in each round, which may be 200 times in a second.
        """
        current = (self._state, self._failure)
        if (self._is_failing or current == self._written) and time.monotonic() < self._due_at:
            return
        self._due_at = time.monotonic() + self.every
        try:
            self._execute(sql.HEARTBEAT, self._values())
        except (DatabaseError, InterfaceError) as error:
            self._due_at = time.monotonic() + self.retry_after
            self._report(error)
        else:
            self._written, self._is_failing = current, False

    def stop(self) -> None:
        """Delete the row, because the relay ends. Without a connection it is left: the end must not wait for one."""
        if connections[self.using].connection is None:
            return
        with suppress(DatabaseError, InterfaceError):
            self._execute(sql.LAST_HEARTBEAT, {"id": self._id})

    def _execute(self, statement: str, values: dict[str, Any]) -> None:
        with connections[self.using].cursor() as cursor:
            cursor.execute(statement, values)

    def _values(self) -> dict[str, Any]:
        return {
            "id": self._id,
            "host": socket.gethostname()[:255],
            "process_id": os.getpid(),
            "is_embedded": self._embedded,
            "state": self._state,
            "failure": self._failure,
            "failed_seconds": None if self._failed_at is None else time.monotonic() - self._failed_at,
        }

    def _report(self, error: DatabaseError | InterfaceError) -> None:
        """Log the first of many errors, and close a connection that may be broken, so that the next reconnects."""
        if not self._is_failing:
            logger.warning("The heartbeat of the relay could not be written. %s", describe_database_error(error))
        self._is_failing = True
        if not isinstance(error, OperationalError | InterfaceError):
            return
        with suppress(DatabaseError, InterfaceError):
            connections[self.using].close()
