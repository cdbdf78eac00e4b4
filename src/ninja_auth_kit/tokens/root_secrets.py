"""Root secrets: the key of every digest is derived from one of them, a different key for each use.

`JWT_SECRET_KEY` is the current root. The secrets that `SIGNING_KEYS` lists as verify-only are roots
too:

- the former root, so that a rotation of the root logs out no user,
- the next root, so that no worker rejects what another worker has issued already.
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
