"""The models of this app. Import functions from the module that defines them."""

from ninja_auth_kit.models.blacklist import BlacklistedToken
from ninja_auth_kit.models.email_addresses import EmailAddress
from ninja_auth_kit.models.one_time_tokens import OneTimeToken
from ninja_auth_kit.models.outbox import AuditDeferred, AuditFlood, AuditOutbox
from ninja_auth_kit.models.promised_emails import PromisedEmail
from ninja_auth_kit.models.sessions import UserSession
from ninja_auth_kit.models.shadow_registrations import ShadowRegistration
from ninja_auth_kit.models.throttling import ThrottleBucket

__all__ = [
    "AuditDeferred",
    "AuditFlood",
    "AuditOutbox",
    "BlacklistedToken",
    "EmailAddress",
    "OneTimeToken",
    "PromisedEmail",
    "ShadowRegistration",
    "ThrottleBucket",
    "UserSession",
]
