"""Access tokens (JWT), refresh tokens, and the digests that are stored in place of tokens."""

from ninja_auth_kit.tokens.access import (
    AccessClaims,
    issue_access_token,
    read_access_token,
    read_expired_access_token,
)
from ninja_auth_kit.tokens.asymmetric import UnusableKeyError
from ninja_auth_kit.tokens.digests import (
    DIGEST_PATTERN,
    KEY_COMMAND,
    bucket_id,
    has_known_key,
    is_password_fingerprint,
    password_fingerprint,
    password_fingerprints,
    pseudonym,
)
from ninja_auth_kit.tokens.key_checks import check_keys
from ninja_auth_kit.tokens.keyring import ACTIVE, VERIFY_ONLY, AccessKey, KeyRing, NewKey, generate_key, key_ring
from ninja_auth_kit.tokens.refresh import (
    RefreshClaims,
    is_refresh_token_digest,
    issue_refresh_token,
    read_refresh_token,
    refresh_token_digest,
    refresh_token_digests,
)
from ninja_auth_kit.tokens.tickets import InvalidTicketError, Ticket, TicketPurpose, issue_ticket, read_ticket

__all__ = [
    "ACTIVE",
    "DIGEST_PATTERN",
    "KEY_COMMAND",
    "VERIFY_ONLY",
    "AccessClaims",
    "AccessKey",
    "InvalidTicketError",
    "KeyRing",
    "NewKey",
    "RefreshClaims",
    "Ticket",
    "TicketPurpose",
    "UnusableKeyError",
    "bucket_id",
    "check_keys",
    "generate_key",
    "has_known_key",
    "is_password_fingerprint",
    "is_refresh_token_digest",
    "issue_access_token",
    "issue_refresh_token",
    "issue_ticket",
    "key_ring",
    "password_fingerprint",
    "password_fingerprints",
    "pseudonym",
    "read_access_token",
    "read_expired_access_token",
    "read_refresh_token",
    "read_ticket",
    "refresh_token_digest",
    "refresh_token_digests",
]
