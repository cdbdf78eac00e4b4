"""Refresh tokens: opaque, derived from the session and the key, never stored.

A token is `nakr_` and base64url of the session id (16 bytes), the generation (4 bytes) and an HMAC (32 bytes). It
can be issued again for the same generation, which is what lets twenty parallel refreshes end with one successor.
The prefix lets secret scanners find a leaked one.
"""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from uuid import UUID

from ninja_auth_kit.exceptions import InvalidTokenError
from ninja_auth_kit.tokens.digests import digest
from ninja_auth_kit.tokens.keys import derive_key

PREFIX = "nakr_"
_LABEL = "refresh token"
_LENGTH = len(PREFIX) + 70


@dataclass(frozen=True)
class RefreshClaims:
    """What a genuine refresh token says: which session, and which of its generations."""

    session_id: UUID
    generation: int


def issue_refresh_token(*, session_id: UUID, generation: int) -> str:
    """Return the refresh token of one generation of a session; the same arguments give the same token."""
    body = session_id.bytes + generation.to_bytes(4)
    mac = hmac.digest(derive_key(_LABEL), body, hashlib.sha256)
    return PREFIX + base64.urlsafe_b64encode(body + mac).rstrip(b"=").decode()


def read_refresh_token(token: str) -> RefreshClaims:
    """Return what a refresh token says, if it is one of ours.

    Raises:
        InvalidTokenError: it is not. Alternate encodings of a genuine token are not genuine either: the token is
            compared as a whole, in constant time, with the one we would issue.
    """
    if len(token) != _LENGTH or not token.startswith(PREFIX) or not token.isascii():
        raise InvalidTokenError
    try:
        body = base64.urlsafe_b64decode(token[len(PREFIX) :] + "==")[:20]
    except binascii.Error as error:
        raise InvalidTokenError from error
    if len(body) != 20:
        raise InvalidTokenError
    claims = RefreshClaims(session_id=UUID(bytes=body[:16]), generation=int.from_bytes(body[16:]))
    genuine = issue_refresh_token(session_id=claims.session_id, generation=claims.generation)
    if not hmac.compare_digest(token, genuine):
        raise InvalidTokenError
    return claims


def refresh_token_digest(token: str) -> str:
    """Return what `UserSession.refresh_token` and `BlacklistedToken.token` hold for this refresh token."""
    return digest(_LABEL, token)
