"""The system checks of API keys.

- E019: the app of all second factors is not installed
- E026: a scope is not a token
- E027: keys are valid for longer than they can be at most

The app registers them. An import alone does not, because they read settings that only the installed app has.
"""

from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage

from ninja_auth_kit.checks.messages import error
from ninja_auth_kit.checks.settings import are_valid
from ninja_auth_kit.conf import settings
from ninja_auth_kit.contrib.api_keys.settings import SCOPE_LENGTH, is_scope_token


def check_requirements(**_: Any) -> list[CheckMessage]:
    """E019: without the app, a user with a second factor could create a key without it."""
    if apps.is_installed("ninja_auth_kit.contrib.factors"):
        return []
    hint = "Add 'ninja_auth_kit.contrib.factors' to INSTALLED_APPS, before it."
    return [error("E019", "ninja_auth_kit.contrib.api_keys requires ninja_auth_kit.contrib.factors.", hint)]


def check_settings(**_: Any) -> list[CheckMessage]:
    """E026: the scopes, which are in a header (RFC 6749 section 3.3). E027: the lifetimes."""
    if not are_valid():
        return []
    configured = settings.API_KEYS
    hint = (
        f"Use at most {SCOPE_LENGTH} printable ASCII characters without spaces, quotation marks and backslashes, such "
        "as 'notes:read'."
    )
    found: list[CheckMessage] = [
        error("E026", f"The scope {scope!r} of NINJA_AUTH_KIT['API_KEYS']['SCOPES'] is not a scope token.", hint)
        for scope in configured["SCOPES"]
        if not is_scope_token(scope)
    ]
    if configured["LIFETIME"] > configured["MAX_LIFETIME"]:
        found.append(
            error(
                "E027",
                "LIFETIME is longer than MAX_LIFETIME in NINJA_AUTH_KIT['API_KEYS'].",
                "Lower LIFETIME, which is how long a key is valid by default, or raise MAX_LIFETIME.",
            )
        )
    return found
