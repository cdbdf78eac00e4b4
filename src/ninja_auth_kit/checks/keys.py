"""The checks of what else uses the root secret. A weak secret is not a check: see `tokens.key_checks`."""

import sys
from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Tags, register

from ninja_auth_kit.checks.messages import warning
from ninja_auth_kit.conf import settings

# Modules of packages that read the plain setting JWT_SECRET_KEY, and the name of the package.
_READERS = {
    "django_ninja_jwt_basic": "django-ninja-jwt-basic",
    "jwt_auth.settings": "django-jwt-auth",
    "jwt_ninja": "jwtninja",
}
# Dicts of settings in which other packages have the key that they sign with.
_SIGNING_KEYS = {
    "GRAPHQL_JWT": "JWT_SECRET_KEY",  # django-graphql-jwt
    "JWT_AUTH": "JWT_SECRET_KEY",  # drf-jwt, djangorestframework-jwt
    "NINJA_JWT": "SIGNING_KEY",  # django-ninja-jwt
    "SIMPLE_JWT": "SIGNING_KEY",  # djangorestframework-simplejwt
}


@register(Tags.security)
def check_shared_secret(**_: Any) -> list[CheckMessage]:
    """W007 and W008: a secret that two packages use cannot be rotated or leaked for one of them only."""
    return [*_readers_of_the_setting(), *_same_signing_key()]


def _readers_of_the_setting() -> Iterator[CheckMessage]:
    readers = [package for module, package in _READERS.items() if apps.is_installed(module) or module in sys.modules]
    if not readers or getattr(django_settings, "JWT_SECRET_KEY", None) != settings.JWT_SECRET_KEY:
        return
    hint = (
        "Give the kit a secret of its own in NINJA_AUTH_KIT['JWT_SECRET_KEY'], and leave JWT_SECRET_KEY to the other "
        "package until you remove it. Otherwise a leak of the secret affects both, a rotation for one invalidates the "
        "tokens of the other, and a secret that is too weak for the kit stops the start. Code of your own that reads "
        "settings.JWT_SECRET_KEY cannot be detected: search your project for the name."
    )
    yield warning("W007", f"The setting JWT_SECRET_KEY is also read by {' and '.join(readers)}.", hint)


def _same_signing_key() -> Iterator[CheckMessage]:
    for name, key in _SIGNING_KEYS.items():
        configured = getattr(django_settings, name, None)
        if isinstance(configured, dict) and key in configured and configured[key] == settings.JWT_SECRET_KEY:
            hint = (
                "Give the kit a secret of its own in NINJA_AUTH_KIT['JWT_SECRET_KEY']. Otherwise a leak of the secret "
                "affects both packages, and a rotation for one invalidates the tokens of the other."
            )
            yield warning("W008", f"Another package signs with the same secret: {name}[{key!r}].", hint)
