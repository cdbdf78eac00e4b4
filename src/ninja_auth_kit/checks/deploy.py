"""The checks of `manage.py check --deploy`: settings that work on a laptop and are unsafe on a server."""

import warnings
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.contrib.auth import hashers
from django.contrib.auth.backends import RemoteUserBackend
from django.core.checks import CheckMessage, Tags, register
from django.db import connections
from django.utils import timezone
from django.utils.module_loading import import_string

from ninja_auth_kit.checks.broker import is_loopback
from ninja_auth_kit.checks.messages import warning
from ninja_auth_kit.checks.settings import are_valid
from ninja_auth_kit.conf import DEFAULT_THROTTLES, accounts_database, settings
from ninja_auth_kit.connection_state import is_backend_without_pool

_LONGEST_SESSION = timedelta(days=30)  # NIST SP 800-63B-4 section 2.1.3
_PROXY_SETTINGS = ("SECURE_PROXY_SSL_HEADER", "USE_X_FORWARDED_HOST", "USE_X_FORWARDED_PORT")
_SMTP_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
_LONGEST_EMAIL_TIMEOUT = 60  # seconds; the lease of an email that is being sent is two minutes
_LOCAL_BACKENDS = {
    f"django.core.mail.backends.{name}.EmailBackend" for name in ("console", "dummy", "filebased", "locmem")
}
_SMTP_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
# ASVS 5.0 11.4.2 and appendix C: the lowest approved parameters.
_PBKDF2_ITERATIONS = {"sha512": 210_000, "sha256": 600_000, "sha1": 1_300_000}
_ARGON2_MEMORY = {1: 47_104, 2: 19_456, 3: 12_288}  # KiB for this many passes
_SCRYPT_WORK = {1: 2**17, 2: 2**16, 3: 2**15}  # N for this much parallelism
_BCRYPT_ROUNDS = 10
_DIRECTORIES = ("ldap", "saml", "oidc", "kerberos")  # in the dotted path of an authentication backend
_FAST_ALGORITHMS = {"md5", "sha1", "unsalted_md5", "unsalted_sha1", "crypt"}


@register(Tags.urls, deploy=True)
def check_links(**_: Any) -> list[CheckMessage]:
    """W010 and W011: a link in an email carries a token, so others must not be able to read or forge its page."""
    if not are_valid():
        return []
    found: list[CheckMessage] = []
    if settings.BASE_URL is not None and not _is_public_https(settings.BASE_URL):
        hint = "Set NINJA_AUTH_KIT['BASE_URL'] to the public address of your site, such as 'https://example.com'."
        message = "BASE_URL, which links in emails start with, is not https or is on this machine."
        found.append(warning("W010", message, hint))
    for name, url in settings.FRONTEND_URLS.items():
        if not _is_public_https(url):
            hint = f"Set NINJA_AUTH_KIT['FRONTEND_URLS'][{name!r}] to the public https:// address of the page."
            found.append(warning("W011", f"FRONTEND_URLS[{name!r}] is not https or is on this machine.", hint))
    return found


def _is_public_https(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" and not is_loopback(parts.hostname or "")


@register(Tags.security, deploy=True)
def check_password_validators(**_: Any) -> list[CheckMessage]:
    """W015: the kit's default rules apply to its own endpoints only."""
    if django_settings.AUTH_PASSWORD_VALIDATORS:
        return []
    hint = (
        "Set it, for example to [{'NAME': 'django.contrib.auth.password_validation.MinimumLengthValidator', "
        "'OPTIONS': {'min_length': 15}}, {'NAME': "
        "'django.contrib.auth.password_validation.CommonPasswordValidator'}]. If it is empty, the kit requires 15 "
        "characters that are neither common nor similar to the username or the email address, but the admin, "
        "`createsuperuser` and your own forms accept any password."
    )
    return [warning("W015", "AUTH_PASSWORD_VALIDATORS is empty.", hint)]


@register(Tags.security, deploy=True)
def check_password_hasher(**_: Any) -> list[CheckMessage]:
    """W016: an attacker who reads the database can guess passwords as fast as they can be hashed (ASVS 11.4.2)."""
    try:
        first = next(iter(hashers.get_hashers()), None)
    except Exception as failure:  # a hasher of the project can raise any exception, and Django loads it at first use
        hint = "Correct the paths in PASSWORD_HASHERS, or remove it to use Django's default."
        return [warning("W016", f"Passwords cannot be hashed: {type(failure).__name__}: {failure}", hint)]
    if first is not None and _is_slow(first):
        return []
    hint = (
        "Remove PASSWORD_HASHERS to use Django's default, or put "
        "'django.contrib.auth.hashers.Argon2PasswordHasher' first (pip install argon2-cffi) and keep the present ones "
        "below it: a hash is upgraded at the user's next login. A hasher with its own parameters needs those of "
        "ASVS 5.0, appendix C: PBKDF2-SHA256 600000 iterations, argon2id 19 MiB and 2 passes, scrypt N 2^17, bcrypt "
        "10 rounds."
    )
    name = "no hasher" if first is None else type(first).__name__
    return [warning("W016", f"New passwords get a hash that is fast to guess: {name} is first.", hint)]


@register(Tags.security, deploy=True)
def check_password_length(**_: Any) -> list[CheckMessage]:
    """W029: a limit of 72 bytes rejects passphrases, and alphabets of three bytes a letter after 24 letters."""
    first = _first_hasher()
    if not isinstance(first, hashers.BCryptSHA256PasswordHasher) or first.digest is not None:
        return []
    hint = (
        "Put 'django.contrib.auth.hashers.BCryptSHA256PasswordHasher' first in PASSWORD_HASHERS, and keep "
        f"{type(first).__name__} below it: a hash is upgraded at the user's next login. Until then, a longer password "
        "is rejected with password_too_long."
    )
    message = f"New passwords can have at most 72 bytes: {type(first).__name__} is first in PASSWORD_HASHERS."
    return [warning("W029", message, hint)]


def _first_hasher() -> Any | None:
    try:
        return next(iter(hashers.get_hashers()), None)
    except Exception:  # check_password_hasher reports it
        return None


def _is_slow(hasher: Any) -> bool:
    """Return whether a hasher does enough work. The kit cannot judge a hasher that does not derive from Django's."""
    if isinstance(hasher, hashers.PBKDF2PasswordHasher):
        return bool(hasher.iterations >= _PBKDF2_ITERATIONS.get(hasher.digest().name, float("inf")))
    if isinstance(hasher, hashers.Argon2PasswordHasher):
        return bool(hasher.memory_cost >= _ARGON2_MEMORY[max(1, min(hasher.time_cost, 3))])
    if isinstance(hasher, hashers.ScryptPasswordHasher):
        needed = _SCRYPT_WORK[max(1, min(hasher.parallelism, 3))]
        return bool(hasher.work_factor >= needed and hasher.block_size >= 8)
    if isinstance(hasher, hashers.BCryptSHA256PasswordHasher):
        return bool(hasher.rounds >= _BCRYPT_ROUNDS)
    return hasher.algorithm not in _FAST_ALGORITHMS


@register(Tags.security, deploy=True)
def check_atomic_requests(**_: Any) -> list[CheckMessage]:
    """W017: a transaction around the kit's own holds its locks and undoes what it has committed."""
    alias = accounts_database()
    if not connections[alias].settings_dict.get("ATOMIC_REQUESTS"):
        return []
    hint = (
        f"Set DATABASES[{alias!r}]['ATOMIC_REQUESTS'] = False, and use transaction.atomic() in your own views that "
        "need it; transaction.non_atomic_requests has no effect on an operation of Ninja. With ATOMIC_REQUESTS, locks "
        "are held until the response is complete. If your own view calls the services, an unhandled exception also "
        "undoes what must stay: a session that was ended because its refresh token was reused becomes active again."
    )
    return [warning("W017", f"ATOMIC_REQUESTS is on for the database {alias!r}.", hint)]


@register(Tags.security, deploy=True)
def check_email_backend(**_: Any) -> list[CheckMessage]:
    """W019: without emails, users can neither verify an address nor reset a password. A log would show the links."""
    backend = _email_backend()
    if backend and backend not in _LOCAL_BACKENDS:
        return []
    # Django 6.1 does not start with settings of both kinds.
    if hasattr(django_settings, "MAILERS"):
        options = "{'host': 'mail.example.com', 'timeout': 10}"
        change = f"MAILERS['default'] = {{'BACKEND': '{_SMTP_BACKEND}', 'OPTIONS': {options}}}"
    else:
        change = f"EMAIL_BACKEND = '{_SMTP_BACKEND}' and EMAIL_HOST = 'mail.example.com'"
    hint = f"Set {change}, with the name of your email server. Or use the backend of your email service."
    cause = f"the backend is {backend}" if backend else "there is no default mailer"
    return [warning("W019", f"Emails do not leave this machine: {cause}.", hint)]


@register(Tags.security, deploy=True)
def check_email_timeout(**_: Any) -> list[CheckMessage]:
    """W028: a mail server that accepts a connection and then says nothing holds the thread that sends emails."""
    if _email_backend() != _SMTP_BACKEND:
        return []
    timeout = _email_timeout()
    if timeout is not None and timeout <= _LONGEST_EMAIL_TIMEOUT:
        return []
    has_mailers = hasattr(django_settings, "MAILERS")
    change = "Add 'timeout': 10 to the OPTIONS of MAILERS['default']" if has_mailers else "Set EMAIL_TIMEOUT = 10"
    hint = (
        f"{change}. If an attempt takes longer than two minutes, another process tries to send the same email, which "
        "may then arrive twice."
    )
    cause = "no timeout" if timeout is None else f"a timeout of {timeout:g} seconds"
    return [warning("W028", f"The SMTP email backend has {cause}; it should be at most a minute.", hint)]


def _email_backend() -> str:
    """Return the dotted path of the email backend, or "" without one."""
    mailers = getattr(django_settings, "MAILERS", None)
    if mailers is not None:
        default = mailers.get("default") if isinstance(mailers, dict) else None
        return str(default.get("BACKEND", _SMTP_BACKEND)) if isinstance(default, dict) else ""
    return str(_deprecated_setting("EMAIL_BACKEND"))


def _email_timeout() -> float | None:
    """Return the timeout of the SMTP email backend in seconds, or None without one."""
    mailers = getattr(django_settings, "MAILERS", None)
    if mailers is None:
        timeout = _deprecated_setting("EMAIL_TIMEOUT")
    else:
        options = mailers["default"].get("OPTIONS")
        timeout = options.get("timeout") if isinstance(options, dict) else None
    return float(timeout) if isinstance(timeout, int | float) and timeout else None


def _deprecated_setting(name: str) -> Any:
    with warnings.catch_warnings():  # Django 6.1 deprecates the setting and has already warned
        warnings.simplefilter("ignore")
        return getattr(django_settings, name)


@register(Tags.security, deploy=True)
def check_first_passwords(**_: Any) -> list[CheckMessage]:
    """W025: a user who is disabled in the directory alone can log in with a password of this project."""
    if not are_valid() or not settings.USERS_SET_FIRST_PASSWORD:
        return []
    directories = [path for path in django_settings.AUTHENTICATION_BACKENDS if _is_directory(path)]
    hint = (
        "Set NINJA_AUTH_KIT['USERS_SET_FIRST_PASSWORD'] = False, unless users may have a password beside "
        "the one of the directory. A user who is disabled in the directory alone could still log in with it."
    )
    return [warning("W025", f"Users of {path} can set a password of their own.", hint) for path in directories]


def _is_directory(path: str) -> bool:
    """Return whether an authentication backend leaves the passwords to a directory or an identity provider."""
    if any(word in path.lower() for word in _DIRECTORIES):
        return True
    try:
        return issubclass(import_string(path), RemoteUserBackend)
    except Exception:  # the project's own code; Django reports the error at the first login
        return False


@register(Tags.security, deploy=True)
def check_choices(**_: Any) -> list[CheckMessage]:
    """W018 and W020 to W024: allowed values that are unsafe on most servers."""
    return [*_proxy(), *_verification(), *_lifetimes(), *_clock(), *_limits()] if are_valid() else []


def _proxy() -> Iterator[CheckMessage]:
    trusting = [name for name in _PROXY_SETTINGS if getattr(django_settings, name, None)]
    if trusting and not settings.TRUSTED_PROXY_COUNT:
        yield warning(
            "W018",
            f"{trusting[0]} trusts a proxy, and TRUSTED_PROXY_COUNT is 0.",
            "Set NINJA_AUTH_KIT['TRUSTED_PROXY_COUNT'] to the number of your own proxies that a request passes, "
            "usually 1. Otherwise every client has the address of the proxy: in sessions, in audit events, and for "
            "every rate limit.",
        )


def _verification() -> Iterator[CheckMessage]:
    if settings.REGISTRATION_OPEN and not settings.EMAIL_VERIFICATION_REQUIRED:
        yield warning(
            "W020",
            "EMAIL_VERIFICATION_REQUIRED is off: users need not verify their email address.",
            "Remove NINJA_AUTH_KIT['EMAIL_VERIFICATION_REQUIRED'], or set REGISTRATION_OPEN to False. Otherwise "
            "anyone can hold an account with somebody else's address, and learn by registering whether an address "
            "has an account.",
        )
    if not settings.EMAIL_VERIFICATION_REQUIRES_PASSWORD:
        yield warning(
            "W021",
            "EMAIL_VERIFICATION_REQUIRES_PASSWORD is off: a click on a link verifies an email address.",
            "Remove NINJA_AUTH_KIT['EMAIL_VERIFICATION_REQUIRES_PASSWORD']. An attacker who registers somebody else's "
            "address waits for that click and then logs in with a password that the owner does not know.",
        )


def _lifetimes() -> Iterator[CheckMessage]:
    if settings.SESSION_LIFETIME > _LONGEST_SESSION:
        yield warning(
            "W022",
            "SESSION_LIFETIME is longer than 30 days.",
            "Set NINJA_AUTH_KIT['SESSION_LIFETIME'] = timedelta(days=30), and REFRESH_TOKEN_LIFETIME to the same or "
            "less. A stolen refresh token that its owner does not miss works for this long.",
        )


def _clock() -> Iterator[CheckMessage]:
    year = timezone.now().year
    offsets = {datetime(year, month, 1).astimezone().utcoffset() for month in range(1, 13)}  # local time
    if not django_settings.USE_TZ and len(offsets) > 1:
        yield warning(
            "W023",
            "USE_TZ is off, and TIME_ZONE has daylight saving time.",
            "Set USE_TZ = True, or TIME_ZONE = 'UTC'. When the clocks go back, links and sessions last an hour "
            "longer, and a used refresh token is accepted within its grace period for an hour longer.",
        )


def _limits() -> Iterator[CheckMessage]:
    missing = [rule for rule in DEFAULT_THROTTLES if rule not in settings.THROTTLES]
    if missing:
        yield warning(
            "W024",
            f"These rate limits are off: {', '.join(missing)}.",
            "Remove NINJA_AUTH_KIT['THROTTLES']. To change a rate, start your dict with **DEFAULT_THROTTLES from "
            "ninja_auth_kit.conf. Without rate limits, passwords can be guessed and emails sent without end.",
        )


@register(Tags.security, deploy=True)
def check_connections_of_asgi(**_: Any) -> list[CheckMessage]:
    """W034: under ASGI, each request that queries the database opens a connection, whatever CONN_MAX_AGE is."""
    if getattr(django_settings, "ASGI_APPLICATION", None) is None:
        return []
    alias = accounts_database()
    database = connections[alias]
    if not is_backend_without_pool(type(database)) or database.settings_dict["OPTIONS"].get("pool"):
        return []
    hint = (
        f"pip install 'psycopg[pool]', remove CONN_MAX_AGE, and set DATABASES[{alias!r}]['OPTIONS'] to "
        "{'pool': True}. See docs/howto/asgi.md."
    )
    return [warning("W034", f"Each ASGI request that queries the database {alias!r} opens a connection to it.", hint)]
