"""Helpers for the tests of projects that use the kit: who is logged in, what was recorded, which settings hold.

They make real sessions and real events in your test database, so that a guarded route is tested as it runs. The
fixtures of the same names are in `ninja_auth_kit.testing.pytest_plugin`, for projects that name it.
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
