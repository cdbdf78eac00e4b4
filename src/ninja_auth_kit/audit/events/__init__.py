"""The audit events: what each is called and what stands in it. The one source of messages, schemas and documents.

A message is a CloudEvent 1.0 in structured JSON. It carries ids, reason codes and pseudonyms; what may stand in
`details` is a typed list for each event, so that nothing else can get in: no secret, no token, no digest of one, no
address.

The rule: each action emits exactly one event, for its success or for its failure. A login that replaces a session is
two actions, so first `SessionRevoked` and then `LoggedIn`. A request that is malformed before any service looks at it
is no action, and no event; nor is one that reads, or ends what has ended already.

This package needs no Django, so that a consumer in another service can have the same classes.
"""

from ninja_auth_kit.audit.events.base import (
    Actor,
    Client,
    Event,
    Session,
    Target,
    UnknownEvent,
    all_events,
    event_class,
)
from ninja_auth_kit.audit.events.catalog import (
    AccountDeleted,
    AccountDeletionFailed,
    AccountUpdated,
    EmailChanged,
    EmailChangeFailed,
    EmailChangeRequested,
    EmailVerified,
    LoggedIn,
    LoggedOut,
    LoginFailed,
    PasswordChanged,
    PasswordChangeFailed,
    PasswordReset,
    PasswordResetFailed,
    PasswordResetRequested,
    RefreshFailed,
    RegistrationFailed,
    RequestThrottled,
    ReuseDetected,
    SessionRevoked,
    TokenRefreshed,
    UserRegistered,
    VerificationFailed,
    VerificationRequested,
)
from ninja_auth_kit.audit.events.parsing import InvalidEventError, parse

__all__ = [
    "AccountDeleted",
    "AccountDeletionFailed",
    "AccountUpdated",
    "Actor",
    "Client",
    "EmailChangeFailed",
    "EmailChangeRequested",
    "EmailChanged",
    "EmailVerified",
    "Event",
    "InvalidEventError",
    "LoggedIn",
    "LoggedOut",
    "LoginFailed",
    "PasswordChangeFailed",
    "PasswordChanged",
    "PasswordReset",
    "PasswordResetFailed",
    "PasswordResetRequested",
    "RefreshFailed",
    "RegistrationFailed",
    "RequestThrottled",
    "ReuseDetected",
    "Session",
    "SessionRevoked",
    "Target",
    "TokenRefreshed",
    "UnknownEvent",
    "UserRegistered",
    "VerificationFailed",
    "VerificationRequested",
    "all_events",
    "event_class",
    "parse",
]
