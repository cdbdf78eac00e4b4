"""Keyed digests: what the database holds in the place of a token.

Keyed, so that neither a reader of the database can use what it finds, nor a writer plant a token that verifies, or
move a session or a mailed token to another user. That is all: a writer can revive an ended session of the same user
and take its token off the blacklist, which no key stops. A slow hash would add nothing: what is digested here has at
least 128 bits of randomness or a key (ASVS 6.5.2).

A digest names its key, so it is compared under the root that made it, as long as that is the current one or listed in
`SIGNING_KEYS`; under a root that is neither, it fits nothing.
"""

import hashlib
import hmac
from uuid import UUID

from ninja_auth_kit.tokens.root_secrets import derive_key, find_root, key_id, roots

DIGEST_PATTERN = r"^v1\$[0-9a-f]{8}\$[0-9a-f]{64}$"

_PASSWORD = "password fingerprint"  # noqa: S105  # a label


def digest(label: str, value: str, *, root: str | None = None) -> str:
    """Return `v1$<key id>$<HMAC-SHA256>` of a value under the derived key of this use."""
    mac = hmac.digest(derive_key(label, root), value.encode(), hashlib.sha256).hex()
    return f"v1${key_id(label, root)}${mac}"


def digests(label: str, value: str) -> list[str]:
    """Return the digest of a value under every root, to look for in the database; the current root's is the first."""
    return [digest(label, value, root=root) for root in roots()]


def root_of(stored: str, label: str) -> str | None:
    """Return the root that a digest names; None where it is no root any more."""
    return find_root(stored[3:11], label)


def is_digest_of(stored: str, label: str, value: str) -> bool:
    """Tell whether a digest is that of a value, under the root that it names."""
    root = root_of(stored, label)
    return root is not None and hmac.compare_digest(stored, digest(label, value, root=root))


def password_fingerprint(password_hash: str) -> str:
    """Return what ties a session to the state of the password: when the password changes, the session is over."""
    return digest(_PASSWORD, password_hash)


def password_fingerprints(password_hash: str) -> list[str]:
    """Return the fingerprints that rows may have of this state of the password, one for each root."""
    return digests(_PASSWORD, password_hash)


def is_password_fingerprint(stored: str, password_hash: str) -> bool:
    """Tell whether a fingerprint is that of this state of the password."""
    return is_digest_of(stored, _PASSWORD, password_hash)


def has_known_key(fingerprint: str) -> bool:
    """Tell whether a fingerprint of a password can be compared at all: its root has not been removed."""
    return root_of(fingerprint, _PASSWORD) is not None


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
