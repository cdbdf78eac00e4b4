"""Block the relay before its DELETE, when a batch has been published and confirmed."""

import psycopg

from ninja_auth_kit.models import AuditOutbox

_GATE = 0x6A7E
_HANG = f"""
CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_advisory_xact_lock_shared({_GATE}); RETURN NULL; END $$;
CREATE TRIGGER gate BEFORE DELETE ON "{AuditOutbox._meta.db_table}" FOR EACH STATEMENT EXECUTE FUNCTION gate();
"""
_WAITING = f"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = {_GATE} AND NOT granted"


class Gate:
    """A lock that the relay's DELETE waits for. It is held from the start.

    Args:
        url: the URL of the database.
    """

    def __init__(self, url: str) -> None:
        self._guard = psycopg.connect(url.replace("postgres:", "postgresql:", 1), autocommit=True)
        self._guard.execute(_HANG.encode())
        self._guard.execute(f"SELECT pg_advisory_lock({_GATE})".encode())

    def is_reached(self) -> bool:
        """Return whether a relay waits before its DELETE."""
        row = self._guard.execute(_WAITING.encode()).fetchone()
        return row is not None and bool(row[0])

    def open(self) -> None:
        """Release the lock for all relays."""
        self._guard.close()
