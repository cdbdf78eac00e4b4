"""The check of second factors. The app registers it."""

from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage

from ninja_auth_kit.checks.messages import warning

# The apps that give contrib.factors something to do: two kinds of factors, and what needs the step-up.
_USERS = tuple(f"ninja_auth_kit.contrib.{name}" for name in ("totp", "passkeys", "api_keys", "oidc"))


def check_kinds(**_: Any) -> list[CheckMessage]:
    """W032: no app adds a kind of second factor, or needs the step-up."""
    if any(map(apps.is_installed, _USERS)):
        return []
    hint = "Add 'ninja_auth_kit.contrib.totp' or 'ninja_auth_kit.contrib.passkeys' to INSTALLED_APPS."
    return [warning("W032", "ninja_auth_kit.contrib.factors is installed without a kind of second factor.", hint)]
