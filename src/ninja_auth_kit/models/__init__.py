"""The models of this app. Import functions from the module that defines them."""

from ninja_auth_kit.models.blacklist import BlacklistedToken
from ninja_auth_kit.models.email_addresses import EmailAddress
from ninja_auth_kit.models.one_time_tokens import OneTimeToken
from ninja_auth_kit.models.outbox import AuditDeferred, AuditFlood, AuditOutbox, AuditRelay
from ninja_auth_kit.models.promised_emails import PromisedEmail
from ninja_auth_kit.models.sessions import UserSession
from ninja_auth_kit.models.shadow_registrations import ShadowRegistration
from ninja_auth_kit.models.spent_tickets import SpentTicket
from ninja_auth_kit.models.throttling import ThrottleBucket

__all__ = [
    "AuditDeferred",
    "AuditFlood",
    "AuditOutbox",
    "AuditRelay",
    "BlacklistedToken",
    "EmailAddress",
    "OneTimeToken",
    "PromisedEmail",
    "ShadowRegistration",
    "SpentTicket",
    "ThrottleBucket",
    "UserSession",
]
