"""Keys of providers, and JSON web tokens with bad signatures.

The signatures are made here and not by the library that the kit verifies them with, which refuses to make bad ones.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@cache
def rsa_key(number: int = 0) -> rsa.RSAPrivateKey:
    """Return a key, the same for the same number: making one takes a while."""
    return rsa.generate_private_key(65537, 2048)


@cache
def ec_key(number: int = 0) -> ec.EllipticCurvePrivateKey:
    """Return a P-256 key, the same for the same number."""
    return ec.generate_private_key(ec.SECP256R1())


def b64url(data: bytes) -> str:
    """Return base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _number(value: int) -> str:
    return b64url(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def public_jwk(key: PrivateKey, kid: str) -> dict[str, Any]:
    """Return the public key as a provider publishes it (RFC 7517)."""
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        return {
            "kty": "RSA",
            "kid": kid,
            "use": "sig",
            "alg": "RS256",
            "n": _number(numbers.n),
            "e": _number(numbers.e),
        }
    point = public.public_numbers()
    x, y = (b64url(number.to_bytes(32, "big")) for number in (point.x, point.y))
    return {"kty": "EC", "kid": kid, "use": "sig", "alg": "ES256", "crv": "P-256", "x": x, "y": y}


def public_pem(key: PrivateKey) -> bytes:
    """Return the public key as PEM."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def sign(claims: Mapping[str, Any], key: PrivateKey | bytes | None, *, alg: str, **header: Any) -> str:
    """Return a token with this algorithm in its header: HS256 with bytes as the key, or none without a key."""
    parts = [{"alg": alg, **{name: value for name, value in header.items() if value is not None}}, claims]
    signed = ".".join(b64url(json.dumps(part, separators=(",", ":")).encode()) for part in parts)
    return f"{signed}.{b64url(_signature(signed.encode(), key, alg))}"


def _signature(data: bytes, key: PrivateKey | bytes | None, alg: str) -> bytes:
    if key is None:
        return b""
    if isinstance(key, bytes):
        return hmac.new(key, data, hashlib.sha256).digest()
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return b"".join(
            number.to_bytes(32, "big") for number in decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
        )
    digest = hashes.SHA512() if alg == "RS512" else hashes.SHA256()
    if alg == "PS256":
        return key.sign(data, padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH), digest)
    return key.sign(data, padding.PKCS1v15(), digest)
