"""Helpers for the tests of your project: log in a user, capture audit events, override settings.

They create real sessions and real events in the test database, so a test of a protected route runs the same code as
production. `ninja_auth_kit.testing.pytest_plugin` has the helpers as fixtures.
"""

from ninja_auth_kit.testing.events import AuditEvents, capture_audit_events
from ninja_auth_kit.testing.sessions import acting_as, auth_headers, issue_tokens
from ninja_auth_kit.testing.settings import override_auth_kit

__all__ = [
    "AuditEvents",
    "acting_as",
    "auth_headers",
    "capture_audit_events",
    "issue_tokens",
    "override_auth_kit",
]
