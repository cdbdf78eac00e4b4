"""The database of a case. Its sessions define which events exist, its rows which are unpublished."""

import uuid
from typing import Any

from ninja_auth_kit.models import AuditDeferred, AuditOutbox, UserSession
from tests.faults.database import PrivateDatabase

_SESSIONS, _OUTBOX, _DEFERRED = (f'"{each._meta.db_table}"' for each in (UserSession, AuditOutbox, AuditDeferred))

# Copies of real messages with other ids and later generations, like those of many writers in hours.
_PILE_UP = f"""
WITH last AS (
    SELECT DISTINCT ON (session) waiting.*, of.generation FROM (
        SELECT id, event_id, shard, routing_key, payload,
               (payload::json -> 'data' -> 'session' ->> 'id')::uuid AS session
        FROM {_OUTBOX}
    ) AS waiting JOIN {_SESSIONS} AS of ON of.id = session ORDER BY session, waiting.id DESC
), piled AS (
    INSERT INTO {_OUTBOX} (event_id, shard, routing_key, payload)
    SELECT fresh.id, shard, routing_key, replace(
        regexp_replace(payload, '"generation":[0-9]+', '"generation":' || generation + later),
        event_id::text, fresh.id::text
    )
    FROM generate_series(1, %d) AS later CROSS JOIN last
    CROSS JOIN LATERAL (SELECT gen_random_uuid() AS id WHERE last.id + later > 0) AS fresh
    ORDER BY later
)
UPDATE {_SESSIONS} SET generation = generation + %d WHERE id IN (SELECT session FROM last)
"""


class Ledger:
    """A database of the server.

    Args:
        server: the server on which it is created.
        name: its name.
    """

    def __init__(self, server: PrivateDatabase, name: str) -> None:
        self.server, self.name = server, name
        self.url = server.copy(name)

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Execute statements and return the rows of the last one."""
        return self.server.execute(statement, name=self.name)

    def truth(self) -> dict[uuid.UUID, int]:
        """Return the generation of each session, which has an event for each generation from 1."""
        return dict(self.sql(f"SELECT id, generation FROM {_SESSIONS} WHERE generation > 0"))

    def written(self) -> int:
        """Return how many events have been committed."""
        return self._number(f"SELECT coalesce(sum(generation), 0) FROM {_SESSIONS}")

    def waiting(self) -> int:
        """Return how many events are in the outbox."""
        return self._number(f"SELECT count(*) FROM {_OUTBOX}")

    def deferred(self) -> int:
        """Return how many events are deferred because the broker rejected them."""
        return self._number(f"SELECT count(*) FROM {_DEFERRED}")

    def left(self) -> int:
        """Return how many events are not published."""
        return self.waiting() + self.deferred()

    def published(self) -> int:
        """Return how many events have been published and deleted."""
        return self.written() - self.left()

    def is_held(self, after: str = "SKIP LOCKED") -> bool:
        """Return whether a transaction idles after such a statement, by default a relay's claim."""
        idle = f"state LIKE 'idle in transaction%' AND query LIKE '%{after}%'"
        return bool(self._number(f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{self.name}' AND {idle}"))

    def parked(self) -> dict[str, int]:
        """Return how many events are parked, by their reason."""
        return dict(self.sql(f"SELECT reason, count(*) FROM {_DEFERRED} WHERE state = 'parked' GROUP BY reason"))

    def waiting_failures(self) -> int:
        """Return how many failed logins are in the outbox."""
        return self._number(f"SELECT count(*) FROM {_OUTBOX} WHERE routing_key = 'auth.session.login.failure'")

    def poison(self, *, key: str, body: str) -> None:
        """Insert an event that the broker cannot accept."""
        values = f"gen_random_uuid(), 3, '{key}', '{body}'"
        self.sql(f"INSERT INTO {_OUTBOX} (event_id, shard, routing_key, payload) VALUES ({values})")

    def fill_disk(self) -> None:
        """Make every insert into the outbox fail as if the disk were full."""
        raised = "BEGIN RAISE EXCEPTION 'No space left on device' USING ERRCODE = '53100'; END"
        self.sql(f"CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ {raised} $$")
        self.sql(f"CREATE TRIGGER full_disk BEFORE INSERT ON {_OUTBOX} EXECUTE FUNCTION full_disk()")

    def free_disk(self) -> None:
        """Make inserts succeed again."""
        self.sql(f"DROP TRIGGER full_disk ON {_OUTBOX}")

    def pile_up(self, count: int) -> None:
        """Add this many events to the outbox, of the sessions that have one there."""
        sessions = self._number(f"SELECT count(DISTINCT payload::json -> 'data' -> 'session' ->> 'id') FROM {_OUTBOX}")
        each = count // sessions
        self.sql(_PILE_UP % (each, each))

    def drop(self) -> None:
        """Drop the database, even if it has open connections."""
        self.server.drop(self.name)

    def _number(self, query: str) -> int:
        return int(self.sql(query)[0][0])
