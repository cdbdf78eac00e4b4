"""The same project with every optional app of the kit."""

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS as _APPS
from tests.settings import NINJA_AUTH_KIT as _KIT

INSTALLED_APPS = [
    *_APPS,
    "django.contrib.postgres",
    "ninja_auth_kit.contrib.factors",
    "ninja_auth_kit.contrib.totp",
    "ninja_auth_kit.contrib.passkeys",
    "ninja_auth_kit.contrib.cookies",
    "ninja_auth_kit.contrib.api_keys",
    "ninja_auth_kit.contrib.email_code",
    "ninja_auth_kit.contrib.oidc",
]
# The rate limits of features apply unless they are turned off by name.
NINJA_AUTH_KIT = {
    **_KIT,
    "BASE_URL": "http://localhost:8000",
    "EMAIL_CODE": {"REGISTERS": True},
    "OIDC": {
        "PROVIDERS": {
            "example": {
                "name": "Example",
                "issuer": "https://id.example.com",
                "client_ids": ["the-client", "the-app"],
                "client_secret": "the-client-secret-of-the-tests",
            },
        },
        "REDIRECT_URIS": ["https://example.com/login/done", "com.example.app:/login/done"],
    },
    "API_KEYS": {"SCOPES": {"notes:read": "Read your notes.", "notes:write": "Write and delete your notes."}},
}
