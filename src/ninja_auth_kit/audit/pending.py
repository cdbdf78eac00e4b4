"""What the relay takes from the outbox, and what becomes of it: deleted when confirmed, set aside when refused."""

from django.db import connections
from django.db.backends.utils import CursorWrapper

from ninja_auth_kit.audit.deferrals import set_aside
from ninja_auth_kit.audit.floor import Floor
from ninja_auth_kit.audit.shards import Turn
from ninja_auth_kit.audit.verdicts import ClaimedEvent, Verdicts
from ninja_auth_kit.models import AuditOutbox

_TABLE = AuditOutbox._meta.db_table
_CLAIM = (
    f'SELECT id, event_id, routing_key, payload FROM "{_TABLE}" '  # noqa: S608
    "WHERE shard = ANY(%s) AND id > %s ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED"
)
_DELETE = f'DELETE FROM "{_TABLE}" WHERE id = ANY(%s)'  # noqa: S608
_PENDING = f'SELECT EXISTS (SELECT 1 FROM "{_TABLE}" WHERE id > %s)'  # noqa: S608


class Pending:
    """The outbox as one relay sees it.

    Args:
        using: the alias of the database.
    """

    def __init__(self, *, using: str) -> None:
        self.using = using
        self._floor = Floor()

    def is_pending(self) -> bool:
        """Tell whether anything waits; the cheap question of an idle relay."""
        with connections[self.using].cursor() as cursor:
            cursor.execute(_PENDING, [self._floor.id])
            (pending,) = cursor.fetchone()
        return bool(pending)

    def claim(self, cursor: CursorWrapper, turn: Turn, *, limit: int) -> list[ClaimedEvent]:
        """Return the oldest rows of the turn's shards, locked until its end."""
        self._floor.rise(turn)
        cursor.execute(_CLAIM, [turn.shards, self._floor.id, limit])
        return [ClaimedEvent(id, str(event_id), key, payload) for id, event_id, key, payload in cursor.fetchall()]

    def settle(self, cursor: CursorWrapper, turn: Turn, verdicts: Verdicts) -> None:
        """Delete what the broker has confirmed, and set aside what was refused. What is undecided stays."""
        cursor.execute(_DELETE, [verdicts.confirmed])
        if verdicts.refused:
            set_aside(cursor, verdicts.refused)
        if verdicts.failure is None:
            self._floor.note(turn, highest=verdicts.highest)
        else:
            self._floor.drop()
