"""The audit events: their names and members. Messages, schemas and documentation are made from these classes.

A message is a CloudEvent 1.0 in structured JSON. It carries ids, reason codes and pseudonyms. The members of `details`
are declared and typed for each event, so that nothing else can get into a message: no secret, no token, no digest of
a token, no address.

Each action emits exactly one event, for its success or for its failure. A login that replaces a session is two
actions: first `SessionRevoked`, then `LoggedIn`. A request that is rejected as malformed before a service handles it
is not an action and emits no event. The same holds for a request that only reads, or that ends what has ended already.

This package does not import Django, so that a consumer in another service can use the same classes.
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
