"""The settings of the example. Comments with "the kit" mark what your own project needs."""

import os
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import django

from config.environment import is_on, required
from config.providers import PROVIDERS
from ninja_auth_kit.conf import AuthKitSettings

ROOT = Path(__file__).parent.parent

DEBUG = is_on("DEBUG")
SECRET_KEY = required("SECRET_KEY")
ALLOWED_HOSTS = os.environ.get("ALLOWED_HOSTS", "127.0.0.1,localhost").split(",")
PORT = os.environ.get("PORT", "8000")
USE_TZ = True
TIME_ZONE = "UTC"
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
STATIC_URL = "/static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.postgres",  # for the scopes of API keys
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "ninja",  # so that the API documentation works offline
    "ninja_auth_kit",  # the kit
    "ninja_auth_kit.contrib.factors",  # the kit, optional: second factors
    "ninja_auth_kit.contrib.totp",  # the kit, optional: authenticator apps
    "ninja_auth_kit.contrib.passkeys",  # the kit, optional: passkeys
    "ninja_auth_kit.contrib.cookies",  # the kit, optional: cookie mode
    "ninja_auth_kit.contrib.oidc",  # the kit, optional: login with a provider
    "ninja_auth_kit.contrib.email_code",  # the kit, optional: login with a code from an email
    "ninja_auth_kit.contrib.api_keys",  # the kit, optional: API keys
    "accounts",
    "mailbox",
    "notes",
    "playground",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
_processors = ["django.template.context_processors.request", "django.contrib.auth.context_processors.auth"]
_processors.append("django.contrib.messages.context_processors.messages")
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": _processors},
    }
]

# PostgreSQL, from a URL: postgres://user:password@host:port/name, or ...@/name?host=/directory/of/the/socket
_database = urlsplit(required("DATABASE_URL"))
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(_database.path.lstrip("/")),
        "USER": unquote(_database.username or ""),
        "PASSWORD": unquote(_database.password or ""),
        "HOST": parse_qs(_database.query).get("host", [_database.hostname or ""])[0],
        "PORT": _database.port or "",
        "CONN_MAX_AGE": 60,
    }
}

# Emails are written to files, which /mailbox/ shows, and are sent to EMAIL_HOST if it is set.
EMAIL_FILE_PATH = os.environ.get("EMAIL_FILE_PATH", str(ROOT / ".local" / "mails"))
_backend = "mailbox.backend.EmailBackend"
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": _backend, "OPTIONS": {"file_path": EMAIL_FILE_PATH}}}
    del EMAIL_FILE_PATH
else:
    EMAIL_BACKEND = _backend

# The kit logs to the terminal. Without a broker, it logs the audit events, too.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"ninja_auth_kit": {"handlers": ["console"], "level": "INFO"}},
}

AUTH_USER_MODEL = "accounts.User"

# The kit: the root secret, at least 32 random bytes and not the SECRET_KEY. A weak key stops the process at startup.
JWT_SECRET_KEY = required("JWT_SECRET_KEY")
# The kit: the broker for the audit events. Without a host, they are only logged.
RABBITMQ_HOST = os.environ.get("RABBITMQ_HOST")
RABBITMQ_PORT = os.environ.get("RABBITMQ_PORT")
RABBITMQ_USER = os.environ.get("RABBITMQ_USER")
RABBITMQ_PASSWORD = os.environ.get("RABBITMQ_PASSWORD")
RABBITMQ_VHOST = os.environ.get("RABBITMQ_VHOST")
RABBITMQ_TLS = is_on("RABBITMQ_TLS")
BASE_URL = os.environ.get("BASE_URL", f"http://localhost:{PORT}")  # browsers bind no passkey to an IP address

SILENCED_SYSTEM_CHECKS = ["ninja_auth_kit.W033"]  # the provider of the demo is trusted for addresses

NINJA_AUTH_KIT: AuthKitSettings = {
    # The scheme and host of the links in emails. They are never taken from a request.
    "BASE_URL": BASE_URL,
    # The issuer in the access tokens, and the `source` of the audit events: the URL of the kit (config/urls.py).
    "ISSUER": f"{BASE_URL.rstrip('/')}/api/auth",
    # The audience in the access tokens. A service with another audience rejects them.
    "AUDIENCE": "example-project",
    # The lifetime of an access token. The session is checked on every request in any case.
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=5),
    # The exchange of the audit events. `make demo` has one of its own.
    "AUDIT_EXCHANGE": os.environ.get("AUDIT_EXCHANGE") or "auth.events",
    # The number of active sessions of a user. A login on a second device ends the first session.
    "SESSION_LIMIT": 1,
    # The name of this site in authenticator apps.
    "TOTP": {"ISSUER_NAME": "Example project"},
    # Whether a code from an email also registers an address that has no account.
    "EMAIL_CODE": {"REGISTERS": True},
    # The scopes of API keys, and what each allows (notes/api.py).
    "API_KEYS": {"SCOPES": {"notes:read": "Read your notes.", "notes:write": "Write and delete your notes."}},
    # The providers, and the page to which they send the browser back.
    "OIDC": {"PROVIDERS": PROVIDERS, "REDIRECT_URIS": [f"{BASE_URL.rstrip('/')}/provider-done"] if PROVIDERS else []},
}
