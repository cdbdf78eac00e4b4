"""Access tokens: JWTs, signed and verified by PyJWT, behind a stricter parser.

PyJWT 2.15 accepts duplicate members, UTF-16, padded signatures and times written as strings, and
ignores `typ`. Each of these gives a token a second spelling, or a spelling a second meaning (RFC
8725 section 2). So the length, the alphabet, the header, the signature and the claims of a token
are checked here, in this order. Every rejection is the same `InvalidTokenError`.
"""

import json
import re
import secrets
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from ninja_auth_kit.conf import settings
from ninja_auth_kit.exceptions import InvalidTokenError, TokenExpiredError
from ninja_auth_kit.levels import AAL1, AAL2, Authentication
from ninja_auth_kit.strict_json import parse_object
from ninja_auth_kit.tokens.keyring import KeyRing, key_ring

MAXIMUM_LENGTH = 4096
# The claims that RFC 7519 section 4.1 and RFC 9068 section 2.2 register, and `sid`:
# `ACCESS_TOKEN_CLAIMS` cannot set them.
CLAIMS = frozenset({"iss", "aud", "sub", "sid", "jti", "iat", "exp", "nbf", "auth_time", "acr", "amr", "client_id"})
# Seconds that the clock of another server may be ahead when it issues. Expiry has no such
# tolerance.
CLOCK_SKEW = 60

_COMPACT_JWS = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+")
_WORD = re.compile(r"[^\x00-\x20\x7f\ud800-\udfff]{1,255}")


# Of a token that does not say it, which an older version has issued.
_UNKNOWN = Authentication(AAL1, (), 0)


@dataclass(frozen=True)
class AccessClaims:
    """The claims of a genuine access token. Times are in seconds since the epoch.

    Attributes:
        extra: the claims of `ACCESS_TOKEN_CLAIMS` at the time when the token was issued; often
            empty.
        authentication: how the user was authenticated: the claims `acr`, `amr` and `auth_time`.
    """

    user_id: str
    session_id: UUID
    token_id: str
    issued_at: int
    expires_at: int
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)
    authentication: Authentication = _UNKNOWN


def issue_access_token(
    *, user_id: str, session_id: UUID, authentication: Authentication, extra: Mapping[str, Any] | None = None
) -> str:
    """Return a new access token for a session of a user. It expires after `ACCESS_TOKEN_LIFETIME`.

    Args:
        user_id: the `sub` claim.
        session_id: the `sid` claim.
        authentication: the claims `acr`, `amr` and `auth_time` (RFC 9068 section 2.2.1).
        extra: the claims of `ACCESS_TOKEN_CLAIMS`.

    Raises:
        ImproperlyConfigured: `extra` has a reserved claim, cannot be written as JSON that every
            verifier reads alike, or makes the token too long to be accepted. The text contains no
            value of a claim.
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
        "acr": authentication.acr,
        "amr": list(authentication.methods),
        "auth_time": authentication.time,
    }
    if settings.CLIENT_ID is not None:
        claims["client_id"] = settings.CLIENT_ID
    token = key_ring().signing.sign(_json(claims))
    if len(token) > MAXIMUM_LENGTH:
        raise _misconfigured(
            f"make the token too long: it has {len(token)} characters, at most {MAXIMUM_LENGTH} are allowed"
        )
    return token


def _checked_extra(extra: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in extra:
        if not isinstance(name, str):
            raise _misconfigured(f"must have strings as names, not {type(name).__name__}")
        if name in CLAIMS:
            raise _misconfigured(f"must not have {name!r}, which is a reserved claim")
    return extra


def _json(claims: dict[str, Any]) -> bytes:
    try:
        # UTF-8 without escapes: an escaped emoji would take twelve bytes of the token's length.
        written = json.dumps(claims, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        # Not `from error`: its text may contain a value.
        raise _misconfigured(f"cannot be written as JSON ({type(error).__name__})") from None
    try:
        parse_object(written)
    except ValueError:
        raise _misconfigured("contain an object with duplicate members, such as 1 and '1'") from None
    return written


def _misconfigured(what: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"The claims that NINJA_AUTH_KIT['ACCESS_TOKEN_CLAIMS'] returns {what}.")


def read_access_token(token: str) -> AccessClaims:
    """Return the claims of an access token that is genuine and has not expired.

    With a schema for each tenant, the token must be of the tenant that the connection of this thread works for. So
    call it with `sync_to_async` in async code.

    Raises:
        InvalidTokenError: the token was not issued here, or is not meant for this audience.
        TokenExpiredError: the token is genuine, but has expired.
    """
    claims = read_expired_access_token(token)
    if claims.expires_at <= timezone.now().timestamp():
        raise TokenExpiredError
    return claims


def read_expired_access_token(token: str) -> AccessClaims:
    """Return the claims of a genuine access token, even if it has expired.

    Use this only to log out.

    Raises:
        InvalidTokenError: the token was not issued here, or is not meant for this audience.
    """
    # Before any decoding, so that an unauthenticated request cannot cause much work.
    if len(token) > MAXIMUM_LENGTH:
        raise InvalidTokenError
    try:
        genuine = _genuine(token, key_ring(), settings.ISSUER, settings.AUDIENCE, settings.ACCESS_TOKEN_LIFETIME)
        extra = _extra(genuine.payload) if genuine.has_extra else {}
    except ValueError as error:
        raise InvalidTokenError from error
    if genuine.not_before > timezone.now().timestamp() + CLOCK_SKEW:
        raise InvalidTokenError
    return replace(genuine.claims, extra=extra)


class _Genuine(NamedTuple):
    """What is known of a genuine token for as long as the keys and the settings are the same."""

    claims: AccessClaims
    not_before: int
    payload: bytes
    has_extra: bool


# Cached, because a client sends the same token many times. Only genuine tokens are cached, for the
# keys and settings that they were checked with: no rejection and nothing that depends on the time.
# `extra` is parsed for each request, so that a route cannot change it for the next one.
@lru_cache(maxsize=1024)
def _genuine(token: str, ring: KeyRing, issuer: str, audience: str, lifetime: timedelta) -> _Genuine:
    payload = _verified_payload(token, ring)
    members = parse_object(payload)
    if members.get("iss") != issuer or members.get("aud") != audience:
        raise InvalidTokenError
    claims = _claims(members)
    if not 0 < claims.expires_at - claims.issued_at <= lifetime.total_seconds():
        raise InvalidTokenError
    not_before = max(claims.issued_at, _time(members["nbf"]) if "nbf" in members else 0)
    return _Genuine(claims, not_before, payload, has_extra=not CLAIMS.issuperset(members))


def _extra(payload: bytes) -> dict[str, Any]:
    return {name: value for name, value in parse_object(payload).items() if name not in CLAIMS}


def _verified_payload(token: str, ring: KeyRing) -> bytes:
    match = _COMPACT_JWS.fullmatch(token)
    if match is None:
        raise InvalidTokenError
    header = parse_object(_decoded(match[1]))
    # The key is looked up by its name among the configured keys, and the header must be the one
    # header of that key. So a token cannot choose an algorithm, a file or a URL (RFC 8725 sections
    # 3.1 and 3.10).
    kid = header.get("kid")
    key = ring.verifying.get(kid) if isinstance(kid, str) else None
    if key is None or header != key.header:
        raise InvalidTokenError
    key.verify(token)
    return _decoded(match[2])


def _decoded(segment: str) -> bytes:
    return urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def _claims(members: dict[str, Any]) -> AccessClaims:
    """Check the presence, type and range of each claim and return the claims; PyJWT checks none."""
    subject, token_id = _word(members.get("sub")), _word(members.get("jti"))
    session_id = UUID(_word(members.get("sid")))
    if str(session_id) != members["sid"]:
        raise InvalidTokenError
    issued_at, expires_at = _time(members.get("iat")), _time(members.get("exp"))
    return AccessClaims(subject, session_id, token_id, issued_at, expires_at, authentication=_authentication(members))


def _authentication(payload: dict[str, Any]) -> Authentication:
    if "acr" not in payload:
        return _UNKNOWN
    acr, methods = payload["acr"], payload.get("amr")
    if acr not in (AAL1, AAL2) or not isinstance(methods, list):
        raise InvalidTokenError
    return Authentication(acr, tuple(map(_word, methods)), _time(payload.get("auth_time")))


def _word(value: object) -> str:
    if not isinstance(value, str) or not _WORD.fullmatch(value):
        raise InvalidTokenError
    return value


def _time(value: object) -> int:
    if type(value) is not int or value <= 0:  # a bool is an int, and no float is issued here
        raise InvalidTokenError
    return value
