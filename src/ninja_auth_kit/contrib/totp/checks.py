"""E019 and E020: what authenticator apps need. The app registers them."""

from importlib.util import find_spec
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage

from ninja_auth_kit.checks.messages import error

_NEEDED = ("cryptography", "pyotp", "segno")


def check_requirements(**_: Any) -> list[CheckMessage]:
    """E019: the app of all second factors is not installed. E020: nor are the packages of the extra."""
    found: list[CheckMessage] = []
    if not apps.is_installed("ninja_auth_kit.contrib.factors"):
        hint = "Add 'ninja_auth_kit.contrib.factors' to INSTALLED_APPS, before it."
        found.append(error("E019", "ninja_auth_kit.contrib.totp requires ninja_auth_kit.contrib.factors.", hint))
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        hint = "Install the extra: pip install 'django-ninja-auth-kit[totp]'."
        found.append(error("E020", f"ninja_auth_kit.contrib.totp requires {', '.join(missing)}.", hint))
    return found
