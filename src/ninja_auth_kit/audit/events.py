"""The events: what each is called, where it is routed, and what stands in its message.

A message is a CloudEvent 1.0 in structured JSON. It carries ids, reason codes and pseudonyms; what may stand in
`details` is listed per event, so that nothing else can get in: no secret, no token, no digest of one, no address.

The rule: each action emits exactly one event, for its success or for its failure. A login that replaces a session is
two actions, so first `session.revoked` and then `session.logged_in`. A request that is malformed before any service
looks at it is no action, and no event; nor is one that reads, or ends what has ended already.
"""

import ipaddress
import json
import secrets
import time
import uuid
import zlib
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from django.dispatch import Signal
from django.utils import timezone

from ninja_auth_kit import signals
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import settings
from ninja_auth_kit.tokens import pseudonym

SHARDS = 16

# Who acts -> the CloudEvents extension `authtype`.
_AUTH_TYPES = {"user": "user", "admin": "user", "anonymous": "unauthenticated", "system": "system"}


@dataclass(frozen=True)
class EventType:
    """One kind of event.

    Attributes:
        name: entity and action, as in the CloudEvents type `ninja-auth-kit.<name>.v1`.
        route: entity, action and outcome, as in the routing key `auth.<route>`.
        actor: who acts, where the signal does not say it in `by`: "user" (the subject), "anonymous" (nobody has proved
            anything yet) or "system" (a rule). An "admin" is never the rule, so only the signal says it.
        details: what the signal carries that goes into `data.details`.
        fact: True of what is so even if everything around it rolls back.
    """

    name: str
    route: str
    actor: str
    details: tuple[str, ...] = ()
    fact: bool = False

    @property
    def type(self) -> str:
        """The CloudEvents type."""
        return f"ninja-auth-kit.{self.name}.v1"

    @property
    def routing_key(self) -> str:
        """The AMQP routing key."""
        return f"auth.{self.route}"

    @property
    def outcome(self) -> str:
        """Return "success" or "failure"."""
        return self.route.rpartition(".")[2]


EVENTS: dict[Signal, EventType] = {
    signals.user_registered: EventType("user.registered", "user.registered.success", "anonymous", ("replaced",)),
    signals.registration_failed: EventType(
        "user.registration_failed", "user.registered.failure", "anonymous", fact=True
    ),
    signals.verification_requested: EventType(
        "email.verification_requested", "email.verification_requested.success", "anonymous", fact=True
    ),
    signals.email_verified: EventType("email.verified", "email.verified.success", "user"),
    signals.verification_failed: EventType(
        "email.verification_failed", "email.verified.failure", "anonymous", fact=True
    ),
    signals.logged_in: EventType("session.logged_in", "session.login.success", "user"),
    signals.login_failed: EventType("session.login_failed", "session.login.failure", "anonymous", fact=True),
    signals.token_refreshed: EventType(
        "session.refreshed", "session.refresh.success", "user", ("generation", "rotated")
    ),
    signals.refresh_failed: EventType("session.refresh_failed", "session.refresh.failure", "anonymous", fact=True),
    signals.refresh_reuse_detected: EventType(
        "session.reuse_detected", "session.reuse.failure", "anonymous", ("generation",), fact=True
    ),
    signals.password_changed: EventType("password.changed", "password.changed.success", "user", ("sessions_ended",)),
    signals.password_change_failed: EventType("password.change_failed", "password.changed.failure", "user", fact=True),
    signals.password_reset_requested: EventType(
        "password.reset_requested", "password.reset_requested.success", "anonymous", fact=True
    ),
    signals.password_reset: EventType(
        "password.reset_completed", "password.reset.success", "anonymous", ("sessions_ended",)
    ),
    signals.password_reset_failed: EventType(
        "password.reset_failed", "password.reset.failure", "anonymous", fact=True
    ),
    signals.email_change_requested: EventType("email.change_requested", "email.change_requested.success", "user"),
    signals.email_changed: EventType("email.changed", "email.changed.success", "user", ("sessions_ended",)),
    signals.email_change_failed: EventType("email.change_failed", "email.changed.failure", "anonymous", fact=True),
    signals.account_updated: EventType("user.updated", "user.updated.success", "user", ("fields",)),
    signals.account_deleted: EventType("user.deleted", "user.deleted.success", "user", ("sessions_ended",)),
    signals.account_deletion_failed: EventType("user.deletion_failed", "user.deleted.failure", "user", fact=True),
    signals.logged_out: EventType("session.logged_out", "session.logout.success", "user", ("scope", "sessions_ended")),
    signals.session_revoked: EventType("session.revoked", "session.revoked.success", "system"),
    signals.request_throttled: EventType(
        "request.throttled", "request.throttled.failure", "anonymous", ("rule",), fact=True
    ),
}


@dataclass(frozen=True)
class Message:
    """An event, ready to send: its id, its lane, where it goes, and the bytes."""

    event_id: uuid.UUID
    shard: int
    routing_key: str
    payload: str


def build_message(event: EventType, *, client: ClientInfo | None, user: Any | None, **facts: Any) -> Message:
    """Return the message of an event.

    Args:
        event: which.
        client: who called, if it was in a request.
        user: whom it is about, if anybody is known.
        facts: what else the signal carried; see `signals` for the names.
    """
    client = client or ClientInfo()
    event_id = _uuid7()
    data = _data(event, client=client, user=user, facts=facts)
    subject = None if user is None else f"user/{user.pk}"
    lane = subject or data["target"]["identifier_hash"] or data["session"]["id"] or str(event_id)
    attributes = {
        "specversion": "1.0",
        "id": str(event_id),
        "source": settings.ISSUER,
        "type": event.type,
        "subject": subject,
        "time": timezone.now().astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
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
    return Message(event_id, zlib.crc32(lane.encode()) % SHARDS, event.routing_key, payload)


def _data(event: EventType, *, client: ClientInfo, user: Any | None, facts: dict[str, Any]) -> dict[str, Any]:
    """Return what stands in `data`: who did what to whom, from where, and why it failed."""
    actor = facts.get("by") or event.actor
    user_id = None if user is None else str(user.pk)
    identifier, session_id = facts.get("identifier"), facts.get("session_id")
    return {
        "outcome": event.outcome,
        "reason": facts.get("reason"),
        "actor": {"type": actor, "id": user_id if actor == "user" else facts.get("actor_id")},
        "target": {
            "type": "user",
            "id": user_id,
            "identifier_hash": None if identifier is None else pseudonym(identifier.strip().lower()),
        },
        "session": {"id": None if session_id is None else str(session_id)},
        "client": {"ip": _ip(client.ip_address), "user_agent": client.user_agent},
        "details": {name: facts[name] for name in event.details},
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


def _uuid7() -> uuid.UUID:
    """Return a UUID of version 7 (RFC 9562 section 5.7): unique, and in the order of time for those who index it."""
    milliseconds = time.time_ns() // 1_000_000
    value = milliseconds << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62 | secrets.randbits(62)
    return uuid.UUID(int=value)
