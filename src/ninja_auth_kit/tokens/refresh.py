"""Refresh tokens: opaque tokens that are derived from the session and the key, and never stored.

A token is `nakr_` and the base64url of the session id (16 bytes), the generation (4 bytes) and an
HMAC (32 bytes). The token of a generation can be issued again, so twenty parallel refreshes end
with the same successor. The prefix lets secret scanners find a leaked token. Each generation keeps
the root secret that it was issued under; the next rotation moves the session to the current root.
"""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ninja_auth_kit.exceptions import InvalidTokenError
from ninja_auth_kit.tokens.digests import derive_key, digest, digests, is_digest_of, root_of, roots

PREFIX = "nakr_"
_LABEL = "refresh token"
_LENGTH = len(PREFIX) + 70


@dataclass(frozen=True)
class RefreshClaims:
    """The session and the generation that a genuine refresh token belongs to."""

    session_id: UUID
    generation: int


def issue_refresh_token(*, session_id: UUID, generation: int, stored: str | None = None) -> str:
    """Return the refresh token of one generation of a session.

    The same arguments give the same token.

    Args:
        session_id: the id of the session.
        generation: the generation.
        stored: the digest of a token that was issued before, to get the same token again; None for
            a new token.

    Raises:
        InvalidTokenError: the root that `stored` names is not a root any more, so the token would
            not be accepted.
    """
    root = roots()[0] if stored is None else root_of(stored, _LABEL)
    if root is None:
        raise InvalidTokenError
    return _issue(session_id.bytes + generation.to_bytes(4), root)


def read_refresh_token(token: str) -> RefreshClaims:
    """Return the claims of a genuine refresh token.

    The whole token is compared, in constant time, with the one that would be issued under each
    root. So an alternate encoding of a genuine token is rejected as well.

    Raises:
        InvalidTokenError: the token was not issued here.
    """
    if len(token) != _LENGTH or not token.startswith(PREFIX) or not token.isascii():
        raise InvalidTokenError
    try:
        body = base64.urlsafe_b64decode(token[len(PREFIX) :] + "==")[:20]
    except binascii.Error as error:
        raise InvalidTokenError from error
    if len(body) != 20:
        raise InvalidTokenError
    # A loop and not a generator: before Python 3.12 the frame of a failed generator has lost its
    # caller, where Django's error reports look for `sensitive_variables`, so they would show the
    # token.
    for root in roots():
        if hmac.compare_digest(token, _issue(body, root)):
            return RefreshClaims(session_id=UUID(bytes=body[:16]), generation=int.from_bytes(body[16:]))
    raise InvalidTokenError


def refresh_token_digest(token: str, *, user_id: Any) -> str:
    """Return the digest of a refresh token, for `UserSession` and `BlacklistedToken`.

    Args:
        token: the refresh token.
        user_id: the primary key of its user. An attacker who can write to the table of sessions,
            but has no key, cannot move their own session to another user and refresh it there.
    """
    return digest(_LABEL, _with_user(token, user_id))


def refresh_token_digests(token: str, *, user_id: Any) -> list[str]:
    """Return the digests that rows may have for a refresh token of a user, one for each root."""
    return digests(_LABEL, _with_user(token, user_id))


def is_refresh_token_digest(stored: str, token: str, *, user_id: Any) -> bool:
    """Return whether a digest is that of a refresh token of a user, under the root that it names."""
    return is_digest_of(stored, _LABEL, _with_user(token, user_id))


def _with_user(token: str, user_id: Any) -> str:
    return f"{token} {user_id}"  # unambiguous, because all tokens have the same length


def _issue(body: bytes, root: str) -> str:
    mac = hmac.digest(derive_key(_LABEL, root), body, hashlib.sha256)
    return PREFIX + base64.urlsafe_b64encode(body + mac).rstrip(b"=").decode()
