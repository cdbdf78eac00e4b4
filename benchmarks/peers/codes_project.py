"""The two projects of `benchmarks.peers.codes`: `CODES_PROJECT` chooses one. As a program, it prepares the user."""

import base64
import json
import os
import sys
import types
from typing import Any
from uuid import uuid4

import django
from django.conf import settings

from benchmarks.peers.codes import EMAIL, PASSWORD, SECRET
from benchmarks.peers.project import common

IS_KIT = os.environ["CODES_PROJECT"] == "kit"
_KIT: dict[str, Any] = {
    "INSTALLED_APPS": [
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "ninja_auth_kit",
        "ninja_auth_kit.contrib.factors",
        "ninja_auth_kit.contrib.totp",
    ],
    "JWT_SECRET_KEY": "Zq3vN8wLx2Yc7Rk5Tm9Bp4Hd6Jf1Gs0AeUiOoWyQ-of-the-benchmark",
    # The sixteen logins come from one address.
    "NINJA_AUTH_KIT": {"BASE_URL": "https://example.com", "THROTTLES": {"factor_account": None}},
}
_ALLAUTH: dict[str, Any] = {
    "INSTALLED_APPS": [
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "allauth",
        "allauth.account",
        "allauth.mfa",
        "allauth.headless",
    ],
    "MIDDLEWARE": [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "allauth.account.middleware.AccountMiddleware",
    ],
    "AUTHENTICATION_BACKENDS": ["allauth.account.auth_backends.AuthenticationBackend"],
    "ACCOUNT_LOGIN_METHODS": {"email"},
    "ACCOUNT_SIGNUP_FIELDS": ["email*", "password1*"],
    "ACCOUNT_RATE_LIMITS": False,
    "HEADLESS_ONLY": True,
    "HEADLESS_CLIENTS": ("app",),
}

settings.configure(**{**common(os.environ["DATABASE_URL"], "cheap"), **(_KIT if IS_KIT else _ALLAUTH)})
django.setup()


def urlpatterns() -> list[Any]:
    """Return the URLs of the chosen project."""
    from django.urls import include, path

    if IS_KIT:
        return [path("api/auth/", include("ninja_auth_kit.urls"))]
    return [path("_allauth/", include("allauth.headless.urls")), path("accounts/", include("allauth.urls"))]


def prepare() -> list[str]:
    """Create the tables and the user with an authenticator app, and return the recovery codes."""
    from django.contrib.auth import get_user_model
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    user = get_user_model().objects.create_user("ada", EMAIL, PASSWORD)
    return _enrol_at_kit(user) if IS_KIT else _enrol_at_allauth(user)


def _enrol_at_kit(user: Any) -> list[str]:
    from django.utils import timezone

    from ninja_auth_kit.contrib.factors.models import Factor
    from ninja_auth_kit.contrib.factors.recovery_codes import renew_codes
    from ninja_auth_kit.contrib.totp.models import TotpSecret, sealed_secret
    from ninja_auth_kit.models import EmailAddress

    now, factor_id = timezone.now(), uuid4()
    EmailAddress.objects.create(user=user, email=EMAIL, canonical=EMAIL, verified_at=now)
    Factor.objects.create(id=factor_id, user=user, kind="totp", confirmed_at=now)
    sealed = sealed_secret(base64.b32decode(SECRET), user_id=user.pk, factor_id=factor_id)
    TotpSecret.objects.create(factor_id=factor_id, secret=sealed)
    return renew_codes(user)


def _enrol_at_allauth(user: Any) -> list[str]:
    from allauth.account.models import EmailAddress
    from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
    from allauth.mfa.totp.internal.auth import TOTP

    EmailAddress.objects.create(user=user, email=EMAIL, verified=True, primary=True)
    TOTP.activate(user, SECRET)
    return list(RecoveryCodes.activate(user).get_unused_codes())


if __name__ == "__main__":
    print(json.dumps(prepare()))
else:
    from django.core.wsgi import get_wsgi_application

    _urls = types.ModuleType("benchmark_urls")
    _urls.urlpatterns = urlpatterns()  # type: ignore[attr-defined]
    sys.modules["benchmark_urls"] = _urls
    application = get_wsgi_application()
