"""Asymmetric keys: load and generate them, and compute their RFC 7638 thumbprints and public JWKs.

The package `cryptography` (the extra `crypto`) is imported only when such a key is used.
"""

import hashlib
import json
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

SMALLEST_RSA = 2048  # bits; RFC 7518 section 3.3
_NEW_RSA = 3072  # bits; as strong as P-256 and Ed25519, and acceptable after 2030 (NIST SP 800-57)

_NEEDED_KEY = {
    "ES256": "an EC key on the curve P-256",
    "EdDSA": "an Ed25519 key",
    "PS256": "an RSA key",
    "RS256": "an RSA key",
}
_PEM_FORMAT = (
    "It must be PEM text with its line breaks, which begins with -----BEGIN PRIVATE KEY----- or, for a key that only "
    "verifies, with -----BEGIN PUBLIC KEY-----. It must not be a file name, a certificate or a JWK, or have '\\n' in "
    "place of line breaks."
)
# The members that RFC 7638 section 3.2 and RFC 8037 section 2 hash: only those that define the
# public key.
_THUMBPRINT_MEMBERS = {"EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x"), "RSA": ("e", "kty", "n")}


class UnusableKeyError(ValueError):
    """A key that cannot be used.

    Args:
        fault: what is wrong, in words that follow the name of the key. They never show the key.
        remedy: how to fix it.
    """

    def __init__(self, fault: str, remedy: str) -> None:
        super().__init__(fault)
        self.fault, self.remedy = fault, remedy


@dataclass(frozen=True)
class KeyPair:
    """An asymmetric key. `private` is None if only the public key was given."""

    kid: str
    jwk: dict[str, str]
    public: Any = field(repr=False)
    private: Any = field(repr=False)


@lru_cache(maxsize=32)
def load_key(pem: str, algorithm: str) -> KeyPair:
    """Load a key and check that it fits its algorithm.

    Loaded keys are cached, because parsing a key takes longer than signing with it.

    Args:
        pem: a private key (PKCS#8, PKCS#1 or SEC 1, not encrypted) or a public key
            (SubjectPublicKeyInfo), as PEM.
        algorithm: one of `ASYMMETRIC_ALGORITHMS`.

    Raises:
        UnusableKeyError: the key cannot be parsed, is of another kind, or is too short.
    """
    from ninja_auth_kit.tokens.signatures import public_jwk  # imports PyJWT

    require_cryptography()
    private = _parse(pem) if "PRIVATE KEY-----" in pem else None
    public = _parse(pem) if private is None else private.public_key()
    _require_match(public, algorithm)
    full = public_jwk(public, algorithm)
    members = {name: full[name] for name in _THUMBPRINT_MEMBERS[full["kty"]]}
    kid = _thumbprint(members)
    return KeyPair(kid, {**members, "kid": kid, "alg": algorithm, "use": "sig"}, public, private)


def new_pem(algorithm: str) -> str:
    """Return a new private key for an algorithm, as PEM (PKCS#8).

    Raises:
        UnusableKeyError: `cryptography` is not installed.
    """
    require_cryptography()
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key: Any
    if algorithm == "ES256":
        key = ec.generate_private_key(ec.SECP256R1())
    elif algorithm == "EdDSA":
        key = ed25519.Ed25519PrivateKey.generate()
    else:
        key = rsa.generate_private_key(public_exponent=65_537, key_size=_NEW_RSA)
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem.decode()


def require_cryptography() -> None:
    """Raise `UnusableKeyError` if `cryptography` is not installed."""
    try:
        import cryptography  # noqa: F401
    except ImportError:
        fault = "needs the package cryptography, which is not installed."
        raise UnusableKeyError(fault, "Install it with the extra: pip install django-ninja-auth-kit[crypto]") from None


def _parse(pem: str) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

    try:
        data = pem.encode()
        return load_pem_private_key(data, None) if "PRIVATE KEY-----" in pem else load_pem_public_key(data)
    except TypeError:
        remedy = "Decrypt it with `openssl pkey -in key.pem`, and store it with your other secrets."
        raise UnusableKeyError("is encrypted with a passphrase.", remedy) from None
    except (ValueError, UnsupportedAlgorithm):
        raise UnusableKeyError("cannot be read.", _PEM_FORMAT) from None


def _require_match(public: Any, algorithm: str) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(public, rsa.RSAPublicKey):
        fits, found = algorithm in ("PS256", "RS256"), "an RSA key"
    elif isinstance(public, ec.EllipticCurvePublicKey):
        on_p256 = isinstance(public.curve, ec.SECP256R1)
        fits, found = algorithm == "ES256" and on_p256, f"an EC key on the curve {public.curve.name}"
    else:
        fits = algorithm == "EdDSA" and isinstance(public, ed25519.Ed25519PublicKey)
        found = f"a key of the type {type(public).__name__}"
    remedy = f"Generate one with `manage.py authkit_keys generate --alg {algorithm}`, or correct 'alg'."
    if not fits:
        raise UnusableKeyError(f"is {found}; {algorithm} needs {_NEEDED_KEY[algorithm]}.", remedy)
    if isinstance(public, rsa.RSAPublicKey) and public.key_size < SMALLEST_RSA:
        raise UnusableKeyError(f"has {public.key_size} bits; {algorithm} needs at least {SMALLEST_RSA}.", remedy)


def _thumbprint(members: dict[str, str]) -> str:
    """Return the RFC 7638 thumbprint of a JWK that has only its required members."""
    canonical = json.dumps(members, sort_keys=True, separators=(",", ":")).encode()
    return urlsafe_b64encode(hashlib.sha256(canonical).digest()).rstrip(b"=").decode()
