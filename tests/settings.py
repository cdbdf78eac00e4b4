"""A minimal project with Django's default user model; see also `settings_uuid_user` and `settings_member`."""

import os
from urllib.parse import parse_qs, unquote, urlsplit

import django

from ninja_auth_kit.conf import AuthKitSettings

SECRET_KEY = "the-secret-key-of-the-tests-which-signs-nothing-of-the-kit"
JWT_SECRET_KEY = "Zq3vN8wLx2Yc7Rk5Tm9Bp4Hd6Jf1Gs0AeUiOoWyQ-tests-only"
DEBUG = False
ALLOWED_HOSTS = ["*"]
USE_TZ = True
LANGUAGE_CODE = "en"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "ninja_auth_kit",
    "tests.host_app",
]
MIDDLEWARE: list[str] = []
ROOT_URLCONF = "tests.urls"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True, "OPTIONS": {}}]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
_mail_backend = os.environ.get("TEST_MAIL_BACKEND", "django.core.mail.backends.locmem.EmailBackend")
_mail_port = os.environ.get("TEST_MAIL_PORT")  # of a mail server that a test has started
if _mail_port:
    _mail_backend = "django.core.mail.backends.smtp.EmailBackend"
if django.VERSION >= (6, 1):
    _options: dict[str, object] = {}
    if _mail_port:
        _options = {"host": "127.0.0.1", "port": int(_mail_port), "timeout": 5}
    elif "TEST_MAIL_PATH" in os.environ:
        _options = {"file_path": os.environ["TEST_MAIL_PATH"]}
    MAILERS = {"default": {"BACKEND": _mail_backend, "OPTIONS": _options}}
else:
    EMAIL_BACKEND = _mail_backend
    EMAIL_FILE_PATH = os.environ.get("TEST_MAIL_PATH")
    if _mail_port:
        EMAIL_HOST, EMAIL_PORT, EMAIL_TIMEOUT = "127.0.0.1", int(_mail_port), 5

# `python -m tests.with_services` sets DATABASE_URL to a given or to an embedded server.
_database = urlsplit(os.environ.get("DATABASE_URL", "postgres://postgres@127.0.0.1:5432/postgres"))
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _database.path.lstrip("/") or "postgres",
        "USER": unquote(_database.username or ""),
        "PASSWORD": unquote(_database.password or ""),
        "HOST": parse_qs(_database.query).get("host", [_database.hostname or ""])[0],
        "PORT": _database.port or "",
    }
}

# Without rate limits, because hundreds of tests log in from one address. The tests of rate limits
# enable them.
NINJA_AUTH_KIT: AuthKitSettings = {"BASE_URL": "https://example.com", "THROTTLES": {}}
