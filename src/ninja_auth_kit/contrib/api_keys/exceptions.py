"""The errors of API keys. `auth.py` and `api.py` give each its HTTP status."""

from collections.abc import Iterable

from django.utils.translation import gettext_lazy as _

from ninja_auth_kit.exceptions import AuthKitError


class InsufficientScopeError(AuthKitError):
    """The key is valid, and does not have a scope that the route requires (RFC 6750 section 3.1)."""

    code = "insufficient_scope"
    message = _("This API key does not allow this request. Use a key with the required scopes.")

    def __init__(self, required: Iterable[str]) -> None:
        super().__init__()
        self.challenge = f'Bearer error="{self.code}", scope="{" ".join(required)}"'


class KeyNotFoundError(AuthKitError):
    """The user has no such API key: the same answer for unknown, revoked and other users' keys."""

    code = "not_found"
    message = _("This API key does not exist.")


class KeyLimitError(AuthKitError):
    """The user has as many API keys as `API_KEYS["LIMIT"]` allows."""

    code = "limit_reached"
    message = _("You have reached the maximum number of API keys. Revoke one first.")
