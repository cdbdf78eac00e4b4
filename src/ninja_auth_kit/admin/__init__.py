"""The kit in Django's admin: what there is, read-only, and a few actions that go through the services.

Django imports this package where the host has `django.contrib.admin`, and nothing else does. Nobody adds, changes or
deletes a row here: a deleted session or blacklisted token would undo a revocation, and pruning is a command. Who may
view a model sees it; its actions need the permission to change it.

No page, filter, sort order or action shows a digest or tells anything about one. One-time tokens, shadow
registrations and throttle buckets hold nothing else that a person could use, so they are not here.
"""

from ninja_auth_kit.admin import audit, email_addresses, sessions

__all__ = ["audit", "email_addresses", "sessions"]
