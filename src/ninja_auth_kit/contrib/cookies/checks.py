"""The system check of cookie mode. The app registers it."""

import re
from typing import Any

from django.conf import settings as django_settings
from django.core.checks import CheckMessage

from ninja_auth_kit.checks.messages import warning

_ANY_ORIGIN = "https://any-origin.invalid"


def check_cors(**_: Any) -> list[CheckMessage]:
    """W031: the kit refuses other origins itself; the rest of your API has only CORS for protection."""
    if not getattr(django_settings, "CORS_ALLOW_CREDENTIALS", False) or not _allows_any_origin():
        return []
    hint = (
        "List the origins of your front end in CORS_ALLOWED_ORIGINS, and remove CORS_ALLOW_ALL_ORIGINS and every "
        "pattern in CORS_ALLOWED_ORIGIN_REGEXES that matches other sites."
    )
    return [warning("W031", "CORS lets a page of any origin send requests with the user's cookies.", hint)]


def _allows_any_origin() -> bool:
    if getattr(django_settings, "CORS_ALLOW_ALL_ORIGINS", False):
        return True
    # django-cors-headers matches the patterns at the start of the origin only.
    patterns = getattr(django_settings, "CORS_ALLOWED_ORIGIN_REGEXES", ())
    return any(re.match(pattern, _ANY_ORIGIN) for pattern in patterns)
