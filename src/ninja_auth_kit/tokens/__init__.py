"""Making and reading tokens: access (JWT), refresh and one-time tokens, and the digests that stand for them."""

from ninja_auth_kit.tokens.access import (
    AccessClaims,
    issue_access_token,
    read_access_token,
    read_expired_access_token,
)
from ninja_auth_kit.tokens.digests import DIGEST_PATTERN, bucket_id, password_fingerprint, pseudonym
from ninja_auth_kit.tokens.keys import ALGORITHMS, KEY_COMMAND, refuse_weak_key
from ninja_auth_kit.tokens.one_time import new_one_time_token, one_time_token_digest
from ninja_auth_kit.tokens.refresh import (
    RefreshClaims,
    issue_refresh_token,
    read_refresh_token,
    refresh_token_digest,
)

__all__ = [
    "ALGORITHMS",
    "DIGEST_PATTERN",
    "KEY_COMMAND",
    "AccessClaims",
    "RefreshClaims",
    "bucket_id",
    "issue_access_token",
    "issue_refresh_token",
    "new_one_time_token",
    "one_time_token_digest",
    "password_fingerprint",
    "pseudonym",
    "read_access_token",
    "read_expired_access_token",
    "read_refresh_token",
    "refresh_token_digest",
    "refuse_weak_key",
]
