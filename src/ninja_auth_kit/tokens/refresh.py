"""Refresh tokens: opaque, derived from the session and the key, never stored.

A token is `nakr_` and base64url of the session id (16 bytes), the generation (4 bytes) and an HMAC (32 bytes). It
can be issued again for the same generation, which is what lets twenty parallel refreshes end with one successor.
The prefix lets secret scanners find a leaked one. Each generation keeps the root that it was issued under, until the
next one moves the session to the current root.
"""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ninja_auth_kit.exceptions import InvalidTokenError
from ninja_auth_kit.tokens.digests import digest, is_digest_of, root_of
from ninja_auth_kit.tokens.root_secrets import derive_key, roots

PREFIX = "nakr_"
_LABEL = "refresh token"
_LENGTH = len(PREFIX) + 70


@dataclass(frozen=True)
class RefreshClaims:
    """What a genuine refresh token says: which session, and which of its generations."""

    session_id: UUID
    generation: int


def issue_refresh_token(*, session_id: UUID, generation: int, stored: str | None = None) -> str:
    """Return the refresh token of one generation of a session; the same arguments give the same token.

    Args:
        session_id: which session.
        generation: which generation.
        stored: the digest of a token that was issued before, to get that very token again; None for a new one.

    Raises:
        InvalidTokenError: the root that `stored` names is none any more, so the token is good for nothing.
    """
    root = roots()[0] if stored is None else root_of(stored, _LABEL)
    if root is None:
        raise InvalidTokenError
    return _issue(session_id.bytes + generation.to_bytes(4), root)


def read_refresh_token(token: str) -> RefreshClaims:
    """Return what a refresh token says, if it is one of ours.

    Raises:
        InvalidTokenError: it is not. Alternate encodings of a genuine token are not genuine either: the token is
            compared as a whole, in constant time, with the one we would issue under each root.
    """
    if len(token) != _LENGTH or not token.startswith(PREFIX) or not token.isascii():
        raise InvalidTokenError
    try:
        body = base64.urlsafe_b64decode(token[len(PREFIX) :] + "==")[:20]
    except binascii.Error as error:
        raise InvalidTokenError from error
    if len(body) != 20:
        raise InvalidTokenError
    # A loop, no generator: before Python 3.12 a failed generator's frame has lost its caller, where Django's reports
    # look for `sensitive_variables`, and they would show the token.
    for root in roots():
        if hmac.compare_digest(token, _issue(body, root)):
            return RefreshClaims(session_id=UUID(bytes=body[:16]), generation=int.from_bytes(body[16:]))
    raise InvalidTokenError


def refresh_token_digest(token: str, *, user_id: Any) -> str:
    """Return what `UserSession.refresh_token` and `BlacklistedToken.token` hold for this refresh token.

    Args:
        token: the refresh token.
        user_id: the primary key of its user. Whoever can write to the sessions, but has no key, cannot move one of
            their own to somebody else and refresh it there.
    """
    return digest(_LABEL, _of_user(token, user_id))


def is_refresh_token_digest(stored: str, token: str, *, user_id: Any) -> bool:
    """Tell whether a digest is that of this refresh token of this user, under the root that it names."""
    return is_digest_of(stored, _LABEL, _of_user(token, user_id))


def _of_user(token: str, user_id: Any) -> str:
    return f"{token} {user_id}"  # unambiguous: all tokens have one length


def _issue(body: bytes, root: str) -> str:
    mac = hmac.digest(derive_key(_LABEL, root), body, hashlib.sha256)
    return PREFIX + base64.urlsafe_b64encode(body + mac).rstrip(b"=").decode()
