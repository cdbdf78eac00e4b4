"""ID tokens of OpenID Connect providers: their signature and their claims (OpenID Connect Core 1.0 section 3.1.3.7).

As for access tokens, the length, the alphabet, the header, the signature and the claims are checked here, in this
order, because PyJWT is more lenient.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jwt
from django.utils import timezone

from ninja_auth_kit.strict_json import parse_object
from ninja_auth_kit.tokens.asymmetric import SMALLEST_RSA

MAXIMUM_LENGTH = 16_384
LEEWAY = 60  # seconds that the clock of the provider may differ
LONGEST_SUBJECT = 255  # section 2

_COMPACT_JWS = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
# The type of a key for each algorithm (RFC 7518 section 6, RFC 8037 section 2). HS256 and "none" have none.
_TYPES = {"RS256": ("RSA", None), "PS256": ("RSA", None), "ES256": ("EC", "P-256"), "EdDSA": ("OKP", "Ed25519")}
# The members of private keys (RFC 7518 sections 6.2.2, 6.3.2 and 6.4, RFC 8037 section 2).
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
# How many characters of base64url a member may have: moduli of up to 8192 bits, and exponents of up to 32.
_LONGEST = {"n": 1366, "e": 6, "x": 100, "y": 100}


class InvalidIdTokenError(Exception):
    """The ID token proves nothing.

    Attributes:
        reason: one word.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class UnverifiedIdToken:
    """An ID token that was parsed. Nothing that it says is proved.

    Attributes:
        kid: the id of its key, or None.
        algorithm: as its header says.
    """

    kid: str | None
    algorithm: Any
    claims: Mapping[str, Any] = field(repr=False)
    _signed: bytes = field(repr=False)
    _signature: bytes = field(repr=False)

    def is_signed_by(self, key: Any) -> bool:
        """Return whether a public key verifies the signature. The algorithm must fit the key."""
        return bool(jwt.get_algorithm_by_name(self.algorithm).verify(self._signed, key, self._signature))


@dataclass(frozen=True)
class Expected:
    """What an ID token must say.

    Attributes:
        issuer_of: returns the issuer that a token with these claims must have; None if none is right.
        audience: the clients that it may be for.
        client_ids: all clients of the project, the first one of which is the authorized party of several audiences.
        nonce: that of the flow.
        authenticated_since: the time, in seconds since the epoch, after which the user must have been authenticated;
            None if that does not matter.
    """

    issuer_of: Callable[[Mapping[str, Any]], str | None]
    audience: Collection[str]
    client_ids: Sequence[str]
    nonce: str = field(repr=False)
    authenticated_since: int | None = None


def parse_id_token(token: str) -> UnverifiedIdToken:
    """Parse an ID token.

    Raises:
        InvalidIdTokenError: it is malformed.
    """
    match = _COMPACT_JWS.fullmatch(token) if len(token) <= MAXIMUM_LENGTH else None
    if match is None:
        raise InvalidIdTokenError("malformed_id_token")
    try:
        header, claims, signature = (_decoded(part) for part in match.groups())
        named, said = parse_object(header), parse_object(claims)
    except ValueError:
        raise InvalidIdTokenError("malformed_id_token") from None
    kid = named.get("kid")
    # No access token and no logout token (RFC 8725 section 3.11). Most ID tokens have no type, or "JWT".
    is_typed = str(named.get("typ", "JWT")).upper() != "JWT"
    if not isinstance(kid, str | None) or is_typed or "crit" in named:
        raise InvalidIdTokenError("malformed_id_token")
    return UnverifiedIdToken(kid, named.get("alg"), said, token.rpartition(".")[0].encode(), signature)


def _decoded(part: str) -> bytes:
    try:
        decoded = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except binascii.Error as error:
        raise ValueError from error
    if base64.urlsafe_b64encode(decoded).rstrip(b"=").decode() != part:  # another spelling of the same bytes
        raise ValueError
    return decoded


def verify_id_token(
    token: UnverifiedIdToken, *, keys: Sequence[Mapping[str, Any]], algorithms: Collection[str], expected: Expected
) -> str:
    """Return the issuer of an ID token that is genuine and says what it must say.

    Args:
        token: the token.
        keys: the JWKs of the provider.
        algorithms: the algorithms that are allowed.
        expected: what it must say.

    Raises:
        InvalidIdTokenError: it is not, or does not.
    """
    if not token.is_signed_by(_key_of(token, keys, algorithms)):
        raise InvalidIdTokenError("wrong_signature")
    return check_claims(token.claims, expected)


def _key_of(token: UnverifiedIdToken, keys: Sequence[Mapping[str, Any]], algorithms: Collection[str]) -> Any:
    """Return the public key of a token. Without a key id, the provider must have one key alone (section 10.1)."""
    if not isinstance(token.algorithm, str) or token.algorithm not in algorithms or token.algorithm not in _TYPES:
        raise InvalidIdTokenError("unknown_key")
    fitting = [key for key in keys if _fits(key, token.algorithm)]
    found = [key for key in fitting if token.kid is None or key.get("kid") == token.kid]
    if len(found) != 1:
        raise InvalidIdTokenError("unknown_key")
    try:
        key: Any = jwt.get_algorithm_by_name(token.algorithm).from_jwk(dict(found[0]))
    except Exception:  # a JWK of any content: PyJWT and cryptography raise many kinds
        raise InvalidIdTokenError("unknown_key") from None
    if hasattr(key, "private_numbers") or getattr(key, "key_size", SMALLEST_RSA) < _smallest(token.algorithm):
        raise InvalidIdTokenError("unknown_key")
    return key


def _fits(key: Mapping[str, Any], algorithm: str) -> bool:
    kind, curve = _TYPES[algorithm]
    # A private key, or one of a huge size, would occupy the process for minutes before it is refused.
    if not _PRIVATE.isdisjoint(key) or any(len(str(key.get(name, ""))) > most for name, most in _LONGEST.items()):
        return False
    is_for_signatures = key.get("use", "sig") == "sig" and key.get("alg", algorithm) == algorithm
    return is_for_signatures and key.get("kty") == kind and (curve is None or key.get("crv") == curve)


def _smallest(algorithm: str) -> int:
    return SMALLEST_RSA if _TYPES[algorithm][0] == "RSA" else 0


def check_claims(claims: Mapping[str, Any], expected: Expected) -> str:
    """Check the claims of an ID token whose signature is right, and return its issuer.

    Raises:
        InvalidIdTokenError: one of them is wrong.
    """
    issuer = expected.issuer_of(claims)
    if issuer is None or claims.get("iss") != issuer:
        raise InvalidIdTokenError("wrong_issuer")
    if not _is_audience(claims, expected):
        raise InvalidIdTokenError("wrong_audience")
    _check_times(claims)
    nonce = claims.get("nonce")
    if not isinstance(nonce, str) or not hmac.compare_digest(_bytes(nonce), _bytes(expected.nonce)):
        raise InvalidIdTokenError("wrong_nonce")
    if not is_subject(claims.get("sub")):
        raise InvalidIdTokenError("malformed_id_token")
    if expected.authenticated_since is not None:
        authenticated_at = _time(claims.get("auth_time"))
        if authenticated_at is None or not expected.authenticated_since <= authenticated_at <= _now() + LEEWAY:
            raise InvalidIdTokenError("too_old")
    return issuer


def is_subject(value: Any) -> bool:
    """Return whether a value can be a subject: a text of at most 255 characters that the database can store."""
    return isinstance(value, str) and 0 < len(value) <= LONGEST_SUBJECT and value.isprintable()


def _is_audience(claims: Mapping[str, Any], expected: Expected) -> bool:
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if not audiences or not all(isinstance(one, str) for one in audiences) or not {*audiences} & {*expected.audience}:
        return False
    party = claims.get("azp")
    if len(audiences) > 1:
        return bool(party == expected.client_ids[0])
    return party is None or party in expected.client_ids


def _check_times(claims: Mapping[str, Any]) -> None:
    now = _now()
    expires_at, issued_at = _time(claims.get("exp")), _time(claims.get("iat"))
    if expires_at is None or issued_at is None or expires_at <= now - LEEWAY or issued_at > now + LEEWAY:
        raise InvalidIdTokenError("wrong_time")
    if "nbf" in claims:
        begins_at = _time(claims["nbf"])
        if begins_at is None or begins_at > now + LEEWAY:
            raise InvalidIdTokenError("wrong_time")


def _time(value: Any) -> float | None:
    """Return a NumericDate (RFC 7519 section 2), or None for anything else, such as 1e999."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 <= value < 2**53 else None


def _now() -> float:
    return timezone.now().timestamp()


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


def sign_es256(*, private_key: str, key_id: str, claims: Mapping[str, Any]) -> str:
    """Return a JWT that is signed with ES256, such as the client secret that Apple requires.

    Args:
        private_key: an EC key on the curve P-256, as PEM.
        key_id: its id, for the header.
        claims: the claims.

    Raises:
        ValueError: the key cannot be used.
    """
    try:
        return jwt.encode(dict(claims), private_key, algorithm="ES256", headers={"kid": key_id})
    except (jwt.PyJWTError, TypeError) as error:
        raise ValueError("The private key cannot be used.") from error
