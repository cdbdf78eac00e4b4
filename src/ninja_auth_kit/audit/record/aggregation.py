"""Floods: many failures of one kind from one network become a few events and an exact count.

The first events of a flood are recorded individually. The statement that would have recorded a later one counts it
instead, exactly and across processes, in one row of `AuditFlood`. When the window is over, the relay turns that row
into a single event (see `relay.floods`). So an attack fills neither the disk nor the stream, and no failure is lost.
"""

from typing import Any
from uuid import UUID

from ninja_auth_kit.audit.events import Event
from ninja_auth_kit.tokens import bucket_id

WINDOW = 10  # seconds, from the first event of a flood
RECORDED_INDIVIDUALLY = 10  # events of a flood
MIXED_PARTITION_KEYS = "*"  # the partition key of a flood whose counted events have different ones


def flood_id(event: type[Event], carried: dict[str, Any]) -> UUID | None:
    """Return the id of the flood that an event belongs to, or None if events of this kind are never counted.

    The events of one flood have the kind, the network, the reason and the details in common.

    Args:
        event: the class of the event.
        carried: the arguments of the signal.
    """
    if not event.is_aggregated:
        return None
    client = carried.get("client")
    details = [carried[name] for name in event.detail_names]
    return bucket_id(f"flood {event.type} {client and client.network} {carried.get('reason')} {details}")
