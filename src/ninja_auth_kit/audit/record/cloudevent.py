"""The CloudEvent of an event: its partition key, which decides its shard, and its payload, serialized once."""

import ipaddress
import json
import secrets
import time
import uuid
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.utils import timezone

from ninja_auth_kit.audit.events import Event
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import settings
from ninja_auth_kit.tokens import pseudonym

SHARDS = 16

# The CloudEvents extension `authtype` for each type of actor.
_AUTH_TYPES = {"user": "user", "admin": "user", "anonymous": "unauthenticated", "system": "system"}


@dataclass(frozen=True)
class Message:
    """An event that is ready to send.

    Attributes:
        event_id: the id of the CloudEvent.
        shard: the part of the outbox that the event belongs to.
        routing_key: the AMQP routing key.
        payload: the body of the message.
        partition_key: events with the same partition key are delivered in the order in which they were recorded.
    """

    event_id: uuid.UUID
    shard: int
    routing_key: str
    payload: str
    partition_key: str


def build_cloudevent(event: type[Event], *, client: ClientInfo | None, user: Any | None, **carried: Any) -> Message:
    """Return the message of an event.

    Args:
        event: the class of the event.
        client: the caller, or None outside a request.
        user: the user whom the event is about, or None if the user is not known.
        carried: the other arguments of the signal; see `signals` for their names.
    """
    client = client or ClientInfo()
    event_id = uuid7()
    data = _data(event, client=client, user=user, carried=carried)
    subject = None if user is None else f"user/{user.pk}"
    partition_key = subject or data["target"]["identifier_hash"] or data["session"]["id"] or str(event_id)
    attributes = {
        "specversion": "1.0",
        "id": str(event_id),
        "source": settings.ISSUER,
        "type": event.type,
        "subject": subject,
        "time": format_time(timezone.now()),
        "datacontenttype": "application/json",
        "partitionkey": partition_key,
        "correlationid": client.request_id or None,
        "traceparent": client.traceparent or None,
        "authtype": _AUTH_TYPES[data["actor"]["type"]],
        "data": data,
    }
    # CloudEvents has no null attributes. Inside `data`, null means "not known".
    present = {name: value for name, value in attributes.items() if value is not None}
    payload = json.dumps(present, separators=(",", ":"), ensure_ascii=True)
    return Message(event_id, shard_of(partition_key), event.routing_key, payload, partition_key)


def format_time(moment: datetime) -> str:
    """Return a moment in UTC in the format of RFC 3339."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def shard_of(partition_key: str) -> int:
    """Return the shard of a partition key. Events with the same key share a shard, which keeps their order."""
    return zlib.crc32(partition_key.encode()) % SHARDS


def _data(event: type[Event], *, client: ClientInfo, user: Any | None, carried: dict[str, Any]) -> dict[str, Any]:
    """Return the member `data`: actor, target, session, client, outcome, reason and details."""
    actor = carried.get("by") or event.by
    user_id = None if user is None else str(user.pk)
    identifier, session_id = carried.get("identifier"), carried.get("session_id")
    return {
        "outcome": event.outcome_word,
        "reason": carried.get("reason"),
        "actor": {"type": actor, "id": user_id if actor == "user" else carried.get("actor_id")},
        "target": {
            "type": "user",
            "id": user_id,
            "identifier_hash": None if identifier is None else pseudonym(identifier.strip().lower()),
        },
        "session": {"id": None if session_id is None else str(session_id)},
        "client": {"ip": _ip(client.ip_address), "user_agent": client.user_agent},
        "details": {name: carried[name] for name in event.detail_names},
    }


def _ip(address: str | None) -> str | None:
    """Return the IP address as `AUDIT_IP` requires: in full, truncated to its network, as a pseudonym, or None."""
    choice = settings.AUDIT_IP
    if address is None or choice == "none":
        return None
    if choice == "hmac":
        return pseudonym(address)
    if choice == "truncated":
        prefix = 24 if ipaddress.ip_address(address).version == 4 else 48
        return str(ipaddress.ip_network(f"{address}/{prefix}", strict=False).network_address)
    return address


def uuid7() -> uuid.UUID:
    """Return a UUID of version 7 (RFC 9562 section 5.7). Such ids sort by time, which suits an index."""
    milliseconds = time.time_ns() // 1_000_000
    value = milliseconds << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62 | secrets.randbits(62)
    return uuid.UUID(int=value)
