"""Access tokens: JWTs signed and verified by PyJWT, behind a parser that accepts only what we issue.

PyJWT 2.15 accepts duplicate members, UTF-16, padded signatures and times written as strings, and never looks at
`typ`; each would give one token several spellings or one spelling several meanings (RFC 8725 section 2). So a token
passes, in this order: length, alphabet, header, signature, claims. Every refusal is the same `InvalidTokenError`.
"""

import json
import re
import secrets
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from uuid import UUID

import jwt
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from ninja_auth_kit.conf import settings
from ninja_auth_kit.exceptions import InvalidTokenError, TokenExpiredError
from ninja_auth_kit.strict_json import parse_object
from ninja_auth_kit.tokens.keyring import KeyRing, key_ring

MAXIMUM_LENGTH = 4096
# What RFC 7519 section 4.1 and RFC 9068 section 2.2 have registered, and `sid`: the kit's to say, or nobody's.
CLAIMS = frozenset({"iss", "aud", "sub", "sid", "jti", "iat", "exp", "nbf", "auth_time", "client_id"})
# How far ahead the clock of another of our hosts may be when it issues; expiry allows nothing.
CLOCK_SKEW = 60

_COMPACT_JWS = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+")
_WORD = re.compile(r"[^\x00-\x20\x7f\ud800-\udfff]{1,255}")


@dataclass(frozen=True)
class AccessClaims:
    """What a genuine access token says; times in seconds since the epoch.

    Attributes:
        extra: what `ACCESS_TOKEN_CLAIMS` has put in, as it was when the token was issued; often empty.
    """

    user_id: str
    session_id: UUID
    token_id: str
    issued_at: int
    expires_at: int
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)


def issue_access_token(*, user_id: str, session_id: UUID, extra: Mapping[str, Any] | None = None) -> str:
    """Return a new access token for one session of one user, good for `ACCESS_TOKEN_LIFETIME`.

    Args:
        user_id: the `sub` claim.
        session_id: the `sid` claim.
        extra: claims of the host.

    Raises:
        ImproperlyConfigured: `extra` has a claim that is the kit's, is no JSON that every verifier reads alike, or is
            so much that none would take the token. No value is repeated.
    """
    now = int(timezone.now().timestamp())
    claims: dict[str, Any] = {
        **_checked_extra(extra or {}),
        "iss": settings.ISSUER,
        "aud": settings.AUDIENCE,
        "sub": user_id,
        "sid": str(session_id),
        "jti": secrets.token_urlsafe(16),
        "iat": now,
        "exp": now + int(settings.ACCESS_TOKEN_LIFETIME.total_seconds()),
    }
    token = key_ring().signing.sign(_json(claims))
    if len(token) > MAXIMUM_LENGTH:
        raise _misconfigured(f"are too much: the token has {len(token)} characters, and {MAXIMUM_LENGTH} are the most")
    return token


def _checked_extra(extra: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in extra:
        if not isinstance(name, str):
            raise _misconfigured(f"have a name that is a {type(name).__name__} and no string")
        if name in CLAIMS:
            raise _misconfigured(f"must not have {name!r}, which is the kit's to say")
    return extra


def _json(claims: dict[str, Any]) -> bytes:
    try:
        # UTF-8 and no escapes: with them one emoji of a name would take twelve bytes of what a token may have.
        written = json.dumps(claims, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        # Not `from error`, whose text may have a value in it.
        raise _misconfigured(f"cannot be written as JSON ({type(error).__name__})") from None
    try:
        parse_object(written)
    except ValueError:
        raise _misconfigured("cannot be read again: some object has a member twice, such as 1 and '1'") from None
    return written


def _misconfigured(what: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"The claims that NINJA_AUTH_KIT['ACCESS_TOKEN_CLAIMS'] returns {what}.")


def read_access_token(token: str) -> AccessClaims:
    """Return what an access token says, if it is genuine and in its time.

    Raises:
        InvalidTokenError: it is not one of ours, or not meant for us.
        TokenExpiredError: it is genuine, but its time is over.
    """
    claims = read_expired_access_token(token)
    if claims.expires_at <= timezone.now().timestamp():
        raise TokenExpiredError
    return claims


def read_expired_access_token(token: str) -> AccessClaims:
    """Return what a genuine access token says, whether or not its time is over: good for logging out, no more.

    Raises:
        InvalidTokenError: it is not one of ours, or not meant for us.
    """
    if len(token) > MAXIMUM_LENGTH:  # before any decoding: work for the unauthenticated is bounded
        raise InvalidTokenError
    try:
        return _claims(parse_object(_verified_payload(token, key_ring())))
    except (ValueError, jwt.PyJWTError) as error:
        raise InvalidTokenError from error


# A client sends its token many times. What is remembered is the signature of genuine ones, by the keys that it was
# verified with: no refusal, nothing that depends on the time, and bytes, which no route can change for the next.
@lru_cache(maxsize=1024)
def _verified_payload(token: str, ring: KeyRing) -> bytes:
    match = _COMPACT_JWS.fullmatch(token)
    if match is None:
        raise InvalidTokenError
    header = parse_object(_decoded(match[1]))
    # The key is looked up by name among those configured, and the header must then be the one of that key: nothing
    # that a token says chooses an algorithm, a file or an address (RFC 8725 sections 3.1 and 3.10).
    kid = header.get("kid")
    key = ring.verifying.get(kid) if isinstance(kid, str) else None
    if key is None or header != key.header:
        raise InvalidTokenError
    key.verify(token)
    return _decoded(match[2])


def _decoded(segment: str) -> bytes:
    return urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def _claims(payload: dict[str, Any]) -> AccessClaims:
    """Check each claim's type and meaning; presence, strings and ranges are all checked here, not by PyJWT."""
    if payload.get("iss") != settings.ISSUER or payload.get("aud") != settings.AUDIENCE:
        raise InvalidTokenError
    subject, token_id = _word(payload.get("sub")), _word(payload.get("jti"))
    session_id = UUID(_word(payload.get("sid")))
    if str(session_id) != payload["sid"]:
        raise InvalidTokenError
    issued_at, expires_at = _time(payload.get("iat")), _time(payload.get("exp"))
    now = timezone.now().timestamp()
    if issued_at > now + CLOCK_SKEW or ("nbf" in payload and _time(payload["nbf"]) > now + CLOCK_SKEW):
        raise InvalidTokenError
    if not 0 < expires_at - issued_at <= settings.ACCESS_TOKEN_LIFETIME.total_seconds():
        raise InvalidTokenError
    extra = {name: value for name, value in payload.items() if name not in CLAIMS}
    return AccessClaims(subject, session_id, token_id, issued_at, expires_at, extra)


def _word(value: object) -> str:
    if not isinstance(value, str) or not _WORD.fullmatch(value):
        raise InvalidTokenError
    return value


def _time(value: object) -> int:
    if type(value) is not int or value <= 0:  # a bool is an int, a float is not a NumericDate of ours
        raise InvalidTokenError
    return value
