"""Tickets: signed tokens for what is pending, such as a login that waits for a second factor. They need no row.

A ticket is `nakt_` and the base64url of a version, its purpose, the name of its root secret, the time of its issue, 16
random bytes, a payload, and an HMAC under a key that is derived for the purpose. So a ticket of one purpose is not
valid for another (ASVS 9.2.2). It can be used once: see `models.spent_tickets`.
"""

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

from django.utils import timezone

from ninja_auth_kit.strict_json import parse_object
from ninja_auth_kit.tokens.digests import derive_key, digest, find_root, key_id, roots

PREFIX = "nakt_"
LIFETIME = timedelta(minutes=10)

_VERSION = 1
_MAXIMUM_LENGTH = 2048
_MAC = 32
_HEAD = 1 + 1 + 4 + 8 + 16  # version, purpose, key, time, random bytes


class TicketPurpose(Enum):
    """What a ticket is for. The numbers are part of tickets that are in use."""

    LOGIN = 1  # a login that waits for a second factor
    PASSKEY_LOGIN = 2
    PASSKEY_REGISTRATION = 3
    PASSKEY_STEP_UP = 4
    EMAIL_CODE = 5  # a login that waits for a mailed code
    EMAIL_CODE_SIGNUP = 6  # an account that waits for its username
    PROVIDER = 7  # a login, a link or a step-up that waits for a provider
    PROVIDER_SIGNUP = 8  # an account that waits for its username


class InvalidTicketError(Exception):
    """The ticket was not issued here, or for another purpose, or it has expired: the same for all."""


@dataclass(frozen=True)
class Ticket:
    """A genuine ticket.

    Attributes:
        expires_at: ten minutes after its issue.
        payload: what it was issued with.
        digest: what `SpentTicket` stores.
    """

    purpose: TicketPurpose
    expires_at: datetime
    payload: Mapping[str, Any] = field(repr=False)
    digest: str = field(repr=False)
    _body: bytes = field(repr=False)
    _root: str = field(repr=False)

    def derive(self, label: str) -> bytes:
        """Return 32 bytes that only this ticket gives, such as the challenge of a ceremony. They reveal nothing.

        Args:
            label: what they are for.
        """
        return hmac.digest(derive_key(f"ticket {label}", self._root), self._body, hashlib.sha256)


def issue_ticket(purpose: TicketPurpose, payload: Mapping[str, Any], *, issued_at: datetime | None = None) -> str:
    """Return a new ticket.

    Args:
        purpose: the only purpose that it can be used for.
        payload: what JSON can express. The holder can read it.
        issued_at: the time of its issue, if it continues another ticket; now by default.
    """
    name = bytes.fromhex(key_id(_label(purpose)))
    seconds = int((issued_at or timezone.now()).timestamp())
    head = bytes([_VERSION, purpose.value]) + name + seconds.to_bytes(8) + secrets.token_bytes(16)
    body = head + json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode()
    return _written(body, roots()[0], purpose)


def read_ticket(text: str, purpose: TicketPurpose) -> Ticket:
    """Return a ticket that is genuine, for this purpose, and younger than ten minutes.

    The whole text is compared, in constant time, with the one that would be issued. So another encoding of a genuine
    ticket is rejected as well.

    Raises:
        InvalidTicketError: it is not.
    """
    body = _body(text)
    root = find_root(body[2:6].hex(), _label(purpose))
    is_known = body[0] == _VERSION and body[1] == purpose.value and root is not None
    if not is_known or not hmac.compare_digest(text, _written(body, str(root), purpose)):
        raise InvalidTicketError
    expires_at = datetime.fromtimestamp(int.from_bytes(body[6:14]), UTC) + LIFETIME
    if timezone.now() >= expires_at:
        raise InvalidTicketError
    payload = parse_object(body[_HEAD:])
    return Ticket(purpose, expires_at, payload, digest("spent ticket", text, root=root), body, str(root))


def _body(text: str) -> bytes:
    if not text.startswith(PREFIX) or not text.isascii() or len(text) > _MAXIMUM_LENGTH:
        raise InvalidTicketError
    encoded = text[len(PREFIX) :]
    try:
        decoded = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
    except binascii.Error as error:
        raise InvalidTicketError from error
    if len(decoded) <= _HEAD + _MAC:
        raise InvalidTicketError
    return decoded[:-_MAC]


def _written(body: bytes, root: str, purpose: TicketPurpose) -> str:
    mac = hmac.digest(derive_key(_label(purpose), root), body, hashlib.sha256)
    return PREFIX + base64.urlsafe_b64encode(body + mac).rstrip(b"=").decode()


def _label(purpose: TicketPurpose) -> str:
    return f"ticket for {purpose.name.lower().replace('_', ' ')}"
