"""The outbox: writing the row of an event, in the transaction of what happened."""

from django.db import connections

from ninja_auth_kit.audit.events import Message
from ninja_auth_kit.models import AuditOutbox

CHANNEL = "ninja_auth_kit_outbox"  # of NOTIFY, which wakes the relay

# Raw SQL: it runs in every login, and the ORM would take more time than PostgreSQL.
_INSERT = (
    f'INSERT INTO "{AuditOutbox._meta.db_table}" (event_id, shard, routing_key, payload) '  # noqa: S608
    "VALUES (%s, %s, %s, %s)"
)


def write(message: Message, *, using: str) -> None:
    """Write the row of an event, in the transaction that is open."""
    with connections[using].cursor() as cursor:
        cursor.execute(_INSERT, [message.event_id, message.shard, message.routing_key, message.payload])
