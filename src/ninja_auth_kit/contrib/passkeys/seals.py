"""Seals: keyed digests of what the row of a passkey vouches for.

An attacker who writes to the database, but has no key, can neither add a passkey to an account nor move one to another
account: the seal of such a row matches nothing.
"""

import base64
from typing import Any

from ninja_auth_kit.tokens.digests import digest, is_digest_of
from ninja_auth_kit.tokens.sealing import is_sealed_by_current_root

LABEL = "passkey seal"


def is_of_current_root(stored: str) -> bool:
    """Return whether a seal was made under the current root secret, and not under a former one."""
    return is_sealed_by_current_root(stored, LABEL)


def seal(user_id: Any, credential_id: bytes, public_key: bytes, *, backup_eligible: bool) -> str:
    """Return the value of `Passkey.seal` under the current root secret.

    Args:
        user_id: the primary key of the owner.
    """
    return digest(LABEL, _sealed(user_id, credential_id, public_key, backup_eligible=backup_eligible))


def is_seal_of(stored: str, user_id: Any, credential_id: bytes, public_key: bytes, *, backup_eligible: bool) -> bool:
    """Return whether a seal is that of these values, under the root secret that it names."""
    return is_digest_of(stored, LABEL, _sealed(user_id, credential_id, public_key, backup_eligible=backup_eligible))


def _sealed(user_id: Any, credential_id: bytes, public_key: bytes, *, backup_eligible: bool) -> str:
    parts = (credential_id, public_key)
    return "\n".join([str(user_id), *(base64.b64encode(part).decode() for part in parts), str(int(backup_eligible))])
