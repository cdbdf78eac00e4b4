"""The kit in Django's admin: read-only pages, and actions that call the services.

Django imports this package if `django.contrib.admin` is installed, and nothing else imports it.

- Rows cannot be added, changed or deleted here. Deleting a session or a blacklisted token would undo a revocation, and
  pruning is a command.
- The pages require the permission to view a model, and the actions the permission to change it.
- A page lists users who were made without the kit. `VerifyUsersMixin` adds its action to your project's `UserAdmin`.
- No page, filter, sort order or action shows a digest or reveals anything about one. One-time tokens, shadow
  registrations and throttle buckets contain nothing else that is useful to a person, so they have no pages.
"""

from ninja_auth_kit.admin import audit, email_addresses, sessions
from ninja_auth_kit.admin.users import VerifyUsersMixin

__all__ = ["VerifyUsersMixin", "audit", "email_addresses", "sessions"]
