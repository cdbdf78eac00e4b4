"""From an event to its message: which lane it travels in, and the bytes, serialised once."""

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

# Who acts -> the CloudEvents extension `authtype`.
_AUTH_TYPES = {"user": "user", "admin": "user", "anonymous": "unauthenticated", "system": "system"}


@dataclass(frozen=True)
class Message:
    """An event, ready to send: its id, its shard, where it goes, the bytes, and the lane whose order it keeps."""

    event_id: uuid.UUID
    shard: int
    routing_key: str
    payload: str
    lane: str


def build_cloudevent(event: type[Event], *, client: ClientInfo | None, user: Any | None, **carried: Any) -> Message:
    """Return the message of an event.

    Args:
        event: which.
        client: who called, if it was in a request.
        user: whom it is about, if anybody is known.
        carried: what else the signal carried; see `signals` for the names.
    """
    client = client or ClientInfo()
    event_id = uuid7()
    data = _data(event, client=client, user=user, carried=carried)
    subject = None if user is None else f"user/{user.pk}"
    lane = subject or data["target"]["identifier_hash"] or data["session"]["id"] or str(event_id)
    attributes = {
        "specversion": "1.0",
        "id": str(event_id),
        "source": settings.ISSUER,
        "type": event.type,
        "subject": subject,
        "time": as_text(timezone.now()),
        "datacontenttype": "application/json",
        "partitionkey": lane,
        "correlationid": client.request_id or None,
        "traceparent": client.traceparent or None,
        "authtype": _AUTH_TYPES[data["actor"]["type"]],
        "data": data,
    }
    # CloudEvents has no null attributes; inside `data` null says "not known".
    present = {name: value for name, value in attributes.items() if value is not None}
    payload = json.dumps(present, separators=(",", ":"), ensure_ascii=True)
    return Message(event_id, shard_of(lane), event.routing_key, payload, lane)


def as_text(moment: datetime) -> str:
    """Return a moment in UTC, as RFC 3339 has it."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def shard_of(lane: str) -> int:
    """Return the shard of a partition key; the events of one lane share one, and so keep their order."""
    return zlib.crc32(lane.encode()) % SHARDS


def _data(event: type[Event], *, client: ClientInfo, user: Any | None, carried: dict[str, Any]) -> dict[str, Any]:
    """Return what stands in `data`: who did what to whom, from where, and why it failed."""
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
    """Return the address as `AUDIT_IP` has it: full, cut to its network, as a pseudonym, or not at all."""
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
    """Return a UUID of version 7 (RFC 9562 section 5.7): unique, and in the order of time for those who index it."""
    milliseconds = time.time_ns() // 1_000_000
    value = milliseconds << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62 | secrets.randbits(62)
    return uuid.UUID(int=value)
