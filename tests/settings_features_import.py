"""The project with every optional app, and with the packages whose factors and identities the kit can import."""

import warnings

from tests.settings_features import *  # noqa: F403
from tests.settings_features import INSTALLED_APPS as _APPS
from tests.settings_features import NINJA_AUTH_KIT as _KIT

# python3-openid, which python-social-auth imports, imports a module that is deprecated.
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import openid.yadis.etxrd  # noqa: F401

INSTALLED_APPS = [
    *_APPS,
    "django.contrib.sessions",
    "django_otp",
    "django_otp.plugins.otp_hotp",
    "django_otp.plugins.otp_static",
    "django_otp.plugins.otp_totp",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.apple",
    "allauth.socialaccount.providers.github",
    "allauth.socialaccount.providers.google",
    "allauth.socialaccount.providers.microsoft",
    "allauth.socialaccount.providers.openid_connect",
    "social_django",
]
MIDDLEWARE = ["allauth.account.middleware.AccountMiddleware"]
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = True  # the origin is http://localhost:8000

_TENANT = "11111111-1111-4111-8111-111111111111"
NINJA_AUTH_KIT = {
    **_KIT,
    "OIDC": {
        "PROVIDERS": {
            "google": {"client_ids": ["the-client"], "client_secret": "the-secret"},
            "github": {"client_ids": ["the-client"], "client_secret": "the-secret"},
            "apple": {
                "client_ids": ["com.example.web"],
                "team_id": "TEAM123456",
                "key_id": "KEY1234567",
                "private_key": "the text of a .p8 file",
            },
            "entra": {
                "preset": "microsoft",
                "client_ids": ["the-client"],
                "client_secret": "the-secret",
                "tenant": _TENANT,
            },
            "company": {
                "issuer": "https://id.example.com/realms/staff",
                "client_ids": ["the-client"],
                "client_secret": "the-secret",
            },
            "auth0": {
                "issuer": "https://example.eu.auth0.com/",  # with the slash, as Auth0 has it
                "client_ids": ["the-client"],
                "client_secret": "the-secret",
            },
        },
        "REDIRECT_URIS": ["https://example.com/login/done"],
    },
}
SOCIALACCOUNT_PROVIDERS = {
    "openid_connect": {
        "APPS": [
            {
                "provider_id": "staff",
                "name": "Example Ltd.",
                "client_id": "the-client",
                "secret": "the-secret",
                "settings": {"server_url": "https://id.example.com/realms/staff"},
            },
            {
                "provider_id": "by-address",
                "name": "An app whose uid is an address",
                "client_id": "the-client",
                "secret": "the-secret",
                "settings": {"server_url": "https://id.example.com/realms/staff", "uid_field": "email"},
            },
        ]
    }
}
SOCIAL_AUTH_AZUREAD_V2_TENANT_OAUTH2_TENANT_ID = _TENANT
SOCIAL_AUTH_AUTH0_OPENIDCONNECT_OIDC_ENDPOINT = "https://example.eu.auth0.com"
