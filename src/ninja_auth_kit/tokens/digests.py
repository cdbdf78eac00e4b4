"""Root secrets, the keys that are derived from them, and keyed digests: what the database stores in place of a token.

`JWT_SECRET_KEY` is the current root secret. A different key is derived from it for each use. The secrets that
`SIGNING_KEYS` lists as verify-only are roots too:

- the former root, so that a rotation of the root logs out no user,
- the next root, so that no worker rejects what another worker has issued already.

A digest is keyed, so that neither an attacker who reads the database can use what it finds, nor one
who writes to it can plant a token that verifies, or move a session or a one-time token to another
user. It does not protect more than that: an attacker who writes to the database can make an ended
session of the same user active again and remove its token from the blacklist. No key prevents this.

A slow hash would add nothing: every value that is digested has at least 128 bits of randomness or a
key (ASVS 6.5.2).

A digest names its key. It is compared under the root secret that made it, as long as that root is
the current one or listed in `SIGNING_KEYS`. Under any other root it matches nothing.
"""

import hashlib
import hmac
from functools import lru_cache
from uuid import UUID

from ninja_auth_kit.conf import settings
from ninja_auth_kit.setting_rules import HMAC_ALGORITHMS

KEY_COMMAND = 'python -c "import secrets; print(secrets.token_urlsafe(64))"'

DIGEST_PATTERN = r"^v1\$[0-9a-f]{8}\$[0-9a-f]{64}$"

_PASSWORD = "password fingerprint"  # noqa: S105  # a label


def roots() -> tuple[str, ...]:
    """Return the root secrets, the current one first."""
    listed = settings.SIGNING_KEYS
    if not listed:
        return (settings.JWT_SECRET_KEY,)
    return (settings.JWT_SECRET_KEY, *(entry["key"] for entry in listed if entry["alg"] in HMAC_ALGORITHMS))


def derive_key(label: str, root: str | None = None) -> bytes:
    """Derive a 32-byte key by HKDF-SHA256 (RFC 5869).

    Args:
        label: what the key is used for.
        root: the root to derive it from; by default the current one.
    """
    return _derive_key(root or settings.JWT_SECRET_KEY, label)


def key_id(label: str, root: str | None = None) -> str:
    """Return the name of a derived key: 8 hexadecimal digits that reveal nothing about it."""
    return _derive_key(root or settings.JWT_SECRET_KEY, f"id of {label}")[:4].hex()


def find_root(name: str, label: str) -> str | None:
    """Return the root whose key for a label has this `key_id`, or None if it was removed."""
    for root in roots():
        if key_id(label, root) == name:
            return root
    return None


@lru_cache(maxsize=64)
def _derive_key(secret: str, label: str) -> bytes:
    extracted = hmac.digest(b"ninja_auth_kit", secret.encode(), hashlib.sha256)
    return hmac.digest(extracted, label.encode() + b"\x01", hashlib.sha256)


def digest(label: str, value: str, *, root: str | None = None) -> str:
    """Return `v1$<key id>$<HMAC-SHA256>` of a value, under the key that is derived for a label."""
    mac = hmac.digest(derive_key(label, root), value.encode(), hashlib.sha256).hex()
    return f"v1${key_id(label, root)}${mac}"


def digests(label: str, value: str) -> list[str]:
    """Return the digests of a value under all roots, the current one first, to look it up."""
    return [digest(label, value, root=root) for root in roots()]


def root_of(stored: str, label: str) -> str | None:
    """Return the root that a digest names, or None if it is not a root any more."""
    return find_root(stored[3:11], label)


def is_digest_of(stored: str, label: str, value: str) -> bool:
    """Return whether a digest is the digest of a value under the root that it names."""
    root = root_of(stored, label)
    return root is not None and hmac.compare_digest(stored, digest(label, value, root=root))


def password_fingerprint(password_hash: str) -> str:
    """Return the fingerprint of a password hash.

    A session stores it, and is not valid if it does not match the password hash any more.
    """
    return digest(_PASSWORD, password_hash)


def password_fingerprints(password_hash: str) -> list[str]:
    """Return the fingerprints that rows may have for a password hash, one for each root."""
    return digests(_PASSWORD, password_hash)


def is_password_fingerprint(stored: str, password_hash: str) -> bool:
    """Return whether a fingerprint is that of a password hash."""
    return is_digest_of(stored, _PASSWORD, password_hash)


def has_known_key(fingerprint: str) -> bool:
    """Return whether a fingerprint can be compared, because its root has not been removed."""
    return root_of(fingerprint, _PASSWORD) is not None


def pseudonym(value: str) -> str:
    """Return a stable pseudonym of a personal value, with 128 bits.

    It lets events be correlated without revealing the value.
    """
    label = "pseudonym"
    mac = hmac.digest(derive_key(label), value.encode(errors="surrogatepass"), hashlib.sha256)
    return f"{key_id(label)}:{mac[:16].hex()}"


def bucket_id(value: str) -> UUID:
    """Return the id of a rate limit bucket: 128 bits that do not reveal whose it is."""
    return UUID(
        bytes=hmac.digest(derive_key("throttle bucket"), value.encode(errors="surrogatepass"), hashlib.sha256)[:16]
    )
