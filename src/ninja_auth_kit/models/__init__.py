"""The tables of the kit: their shapes, their invariants, and the queries that belong to one table."""

from ninja_auth_kit.models.blacklist import BlacklistedToken
from ninja_auth_kit.models.email_addresses import (
    EmailAddress,
    InvalidEmailError,
    canonical_email,
)
from ninja_auth_kit.models.one_time_tokens import OneTimeToken, Purpose
from ninja_auth_kit.models.outbox import AuditDeferred, AuditFlood, AuditOutbox
from ninja_auth_kit.models.primary import database
from ninja_auth_kit.models.sessions import EndedSession, EndReason, UserSession
from ninja_auth_kit.models.shadows import ShadowRegistration
from ninja_auth_kit.models.throttling import Bucket, Taken, ThrottleBucket
from ninja_auth_kit.models.user_fields import is_unique, settable_field, user_models
from ninja_auth_kit.models.users import (
    email_field,
    find_holder,
    find_holders,
    find_user,
    find_user_by_name,
    has_address,
    has_username,
    is_pending,
    is_verified,
    lock_user,
    lock_username,
    may_authenticate,
    prove_address,
    release_address,
    state_of,
    stored_email,
    user_by_key,
)

__all__ = [
    "AuditDeferred",
    "AuditFlood",
    "AuditOutbox",
    "BlacklistedToken",
    "Bucket",
    "EmailAddress",
    "EndReason",
    "EndedSession",
    "InvalidEmailError",
    "OneTimeToken",
    "Purpose",
    "ShadowRegistration",
    "Taken",
    "ThrottleBucket",
    "UserSession",
    "canonical_email",
    "database",
    "email_field",
    "find_holder",
    "find_holders",
    "find_user",
    "find_user_by_name",
    "has_address",
    "has_username",
    "is_pending",
    "is_unique",
    "is_verified",
    "lock_user",
    "lock_username",
    "may_authenticate",
    "prove_address",
    "release_address",
    "settable_field",
    "state_of",
    "stored_email",
    "user_by_key",
    "user_models",
]
