"""The roots: secrets that all keyed digests come from, by one derived key per use, so that none stands in for another.

`JWT_SECRET_KEY` is the current root. Secrets that `SIGNING_KEYS` lists verify-only are roots too: the former one, so
that nobody is logged out when the root is rotated, or the next one, so that no worker refuses what another has issued.
"""

import hashlib
import hmac
from functools import lru_cache

from ninja_auth_kit.conf import settings
from ninja_auth_kit.setting_rules import HMAC_ALGORITHMS

KEY_COMMAND = 'python -c "import secrets; print(secrets.token_urlsafe(64))"'


def roots() -> tuple[str, ...]:
    """Return the root secrets, the current one first."""
    listed = settings.SIGNING_KEYS
    if not listed:
        return (settings.JWT_SECRET_KEY,)
    return (settings.JWT_SECRET_KEY, *(entry["key"] for entry in listed if entry["alg"] in HMAC_ALGORITHMS))


def derive_key(label: str, root: str | None = None) -> bytes:
    """Derive the 32-byte key for one use by HKDF-SHA256 (RFC 5869), from the current root unless another is given."""
    return _derive_key(root or settings.JWT_SECRET_KEY, label)


def key_id(label: str, root: str | None = None) -> str:
    """Name a derived key in 8 hexadecimal digits, without telling anything about it."""
    return _derive_key(root or settings.JWT_SECRET_KEY, f"id of {label}")[:4].hex()


def find_root(name: str, label: str) -> str | None:
    """Return the root whose key for this use has this `key_id`; None where it is no root, or not any more."""
    for root in roots():
        if key_id(label, root) == name:
            return root
    return None


@lru_cache(maxsize=64)
def _derive_key(secret: str, label: str) -> bytes:
    extracted = hmac.digest(b"ninja_auth_kit", secret.encode(), hashlib.sha256)
    return hmac.digest(extracted, label.encode() + b"\x01", hashlib.sha256)
