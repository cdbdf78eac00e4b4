"""Keyed digests: what the database holds in the place of a token.

Keyed, so that neither a reader of the database can use what it finds nor a writer can plant a token that verifies.
A slow hash would add nothing: what is digested here has at least 128 bits of randomness or a key (ASVS 6.5.2).
"""

import hashlib
import hmac
from uuid import UUID

from ninja_auth_kit.tokens.keys import derive_key, key_id

DIGEST_PATTERN = r"^v1\$[0-9a-f]{8}\$[0-9a-f]{64}$"


def digest(label: str, value: str) -> str:
    """Return `v1$<key id>$<HMAC-SHA256>` of a value under the derived key of this use."""
    mac = hmac.digest(derive_key(label), value.encode(), hashlib.sha256).hex()
    return f"v1${key_id(label)}${mac}"


def password_fingerprint(password_hash: str) -> str:
    """Return what ties a session to the state of the password: when the password changes, the session is over."""
    return digest("password fingerprint", password_hash)


def pseudonym(value: str) -> str:
    """Return a stable stand-in for a personal value, 128 bits: events can be correlated, but nothing read."""
    label = "pseudonym"
    mac = hmac.digest(derive_key(label), value.encode(errors="surrogatepass"), hashlib.sha256)
    return f"{key_id(label)}:{mac[:16].hex()}"


def bucket_id(value: str) -> UUID:
    """Return the key of a throttle bucket: 128 bits that tell nobody whose it is."""
    return UUID(
        bytes=hmac.digest(derive_key("throttle bucket"), value.encode(errors="surrogatepass"), hashlib.sha256)[:16]
    )
