"""Sealing: secrets that the kit must read again are encrypted in the database, unlike tokens, which are digested.

AES-256-GCM under a key that is derived from the root secret (ASVS 11.3.2). A sealed text names its root, as a digest
does, and is bound to a context: moved to the row of another user, it does not open.
"""

import base64
import secrets

from django.db.models import Q

from ninja_auth_kit.tokens.digests import derive_key, find_root, key_id, roots

SEALED_PATTERN = r"^v1\$[0-9a-f]{8}\$[A-Za-z0-9_-]+$"

_NONCE = 12  # bytes


class SealBrokenError(Exception):
    """The text was not sealed here, its root secret was removed, or it belongs to another context."""


def seal(label: str, secret: bytes, *, context: str) -> str:
    """Return `v1$<key id>$<base64url of nonce, ciphertext and tag>` of a secret.

    Args:
        label: what the key is used for.
        secret: what to encrypt.
        context: what it belongs to, such as the ids of its user and its row.
    """
    # Imported when it is needed, because only optional features use it.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = secrets.token_bytes(_NONCE)
    sealed = nonce + AESGCM(derive_key(label)).encrypt(nonce, secret, context.encode())
    return f"v1${key_id(label)}${base64.urlsafe_b64encode(sealed).rstrip(b'=').decode()}"


def unseal(label: str, sealed: str, *, context: str) -> bytes:
    """Return the secret.

    Raises:
        SealBrokenError: it cannot be opened.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    root = find_root(sealed[3:11], label)
    if root is None:
        raise SealBrokenError
    encoded = sealed[12:]
    try:
        data = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
        return AESGCM(derive_key(label, root)).decrypt(data[:_NONCE], data[_NONCE:], context.encode())
    except (ValueError, InvalidTag) as error:
        raise SealBrokenError from error


def current_prefix(label: str) -> str:
    """Return how a text that is sealed under the current root secret begins, or a digest with this label."""
    return f"v1${key_id(label, roots()[0])}$"


def known_root(label: str, *, column: str) -> Q:
    """Return the condition that a column was sealed, or digested, under a root secret that is still listed.

    Args:
        label: what the key is used for.
        column: the name of the field, or a path to it.
    """
    known = Q(pk__in=[])
    for root in roots():
        known |= Q(**{f"{column}__startswith": f"v1${key_id(label, root)}$"})
    return known


def is_sealed_by_current_root(sealed: str, label: str) -> bool:
    """Return whether a text is sealed under the current root secret, and not under a former one."""
    return sealed.startswith(current_prefix(label))
