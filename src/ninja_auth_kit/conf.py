"""The only reader of NINJA_AUTH_KIT: defaults, one `settings` object whose values are read when they are used.

Nothing is copied at import, so `override_settings` always works; the environment is never read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, NotRequired, TypedDict

from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.db import router
from django.utils.module_loading import import_string

Duration = timedelta | int
"""A `timedelta`, or seconds as an int."""


class SigningKey(TypedDict):
    """One key of `SIGNING_KEYS`. `key` is PEM, or the former (or next) `JWT_SECRET_KEY`, which is verify-only."""

    kid: NotRequired[str]
    alg: Literal["HS256", "HS384", "HS512", "ES256", "EdDSA", "PS256", "RS256"]
    key: str
    state: Literal["active", "verify-only"]


class AuthKitSettings(TypedDict, total=False):
    """The keys of `NINJA_AUTH_KIT`. Annotate yours with it, and the editor completes and checks them."""

    JWT_ALGORITHM: Literal["HS256", "HS384", "HS512"]
    SIGNING_KEYS: Sequence[SigningKey] | None
    ISSUER: str
    AUDIENCE: str
    ACCESS_TOKEN_LIFETIME: Duration
    REFRESH_TOKEN_LIFETIME: Duration
    SESSION_LIFETIME: Duration
    REFRESH_GRACE_PERIOD: Duration
    SESSION_LIMIT: int | None
    SESSION_LIMIT_POLICY: Literal["replace", "reject"]
    REGISTRATION_OPEN: bool
    EMAIL_VERIFICATION_REQUIRED: bool
    EMAIL_VERIFICATION_REQUIRES_PASSWORD: bool
    EMAIL_VERIFICATION_LIFETIME: Duration
    PASSWORD_RESET_LIFETIME: Duration
    BASE_URL: str | None
    FRONTEND_URLS: Mapping[str, str]
    TRUSTED_PROXY_COUNT: int
    THROTTLES: Mapping[str, str | Sequence[str]]
    REGISTRATION_SCHEMA: str | None
    PROFILE_SCHEMA: str | None
    USER_SCHEMA: str | None
    ACCESS_TOKEN_CLAIMS: str | None
    AUDIT_EXCHANGE: str
    AUDIT_DECLARE: bool
    AUDIT_EMBEDDED_RELAY: bool | None
    AUDIT_LISTEN: bool
    AUDIT_DISABLED_TYPES: Sequence[str]
    AUDIT_IP: Literal["full", "truncated", "hmac", "none"]


DEFAULT_THROTTLES: dict[str, str | Sequence[str]] = {
    # Wrong passwords for one account, from anywhere. NIST SP 800-63B-4 section 3.2.2: no more than 100 in a row.
    "login_account": ("10/15m", "20/h", "100/30d"),
    # The same from a network that the account has logged in from: there the owner is not locked out by others.
    "login_known_network": ("10/15m", "100/30d"),
    # Wrong passwords from one network (an IPv4 address or an IPv6 /64), whoever's they are.
    "login_network": ("20/m", "200/h"),
    # Wrong passwords of one account where a password confirms something.
    "password_account": ("10/15m", "100/30d"),
    # Registrations and requests for mails from one network.
    "request_network": ("20/m", "200/h"),
    # Passwords from one network, right or wrong, that are hashed: each takes a processor for a while.
    "hash_network": ("60/m",),
    # Tokens from one network that are refused.
    "token_network": ("60/m",),
    # Mails that anybody can cause: to one recipient, by one network to one recipient, and by one network. What is over
    # the limit is silently not sent. By network first, so that strangers cannot use up the mails of the owner.
    "mail_recipient": ("10/h", "30/d"),
    "mail_recipient_network": ("3/h",),
    "mail_network": ("20/h",),
    # Of the mails to one recipient, those that only say "you have an account": they must not use up the others.
    "mail_notice": ("1/h",),
    # Mails that tell an owner what was done with the account.
    "mail_owner": ("10/h",),
}

DEFAULTS: AuthKitSettings = {
    "JWT_ALGORITHM": "HS256",
    # None: JWT_SECRET_KEY signs access tokens, and nobody else can verify them.
    "SIGNING_KEYS": None,
    "ISSUER": "ninja-auth-kit",
    "AUDIENCE": "ninja-auth-kit",
    # Short, because services that verify by signature alone cannot see a session end (RFC 9068 section 5).
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=5),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=7),
    # NIST SP 800-63B-4 section 2.1.3: reauthenticate at least every 30 days.
    "SESSION_LIFETIME": timedelta(days=30),
    "REFRESH_GRACE_PERIOD": timedelta(seconds=10),
    "SESSION_LIMIT": 1,
    "SESSION_LIMIT_POLICY": "replace",
    "REGISTRATION_OPEN": True,
    "EMAIL_VERIFICATION_REQUIRED": True,
    "EMAIL_VERIFICATION_REQUIRES_PASSWORD": True,
    "EMAIL_VERIFICATION_LIFETIME": timedelta(hours=24),
    "PASSWORD_RESET_LIFETIME": timedelta(minutes=60),
    "BASE_URL": None,
    "FRONTEND_URLS": {},
    "TRUSTED_PROXY_COUNT": 0,
    "THROTTLES": DEFAULT_THROTTLES,
    # Dotted paths to schemas and a callable of the host.
    "REGISTRATION_SCHEMA": None,
    "PROFILE_SCHEMA": None,
    "USER_SCHEMA": None,
    "ACCESS_TOKEN_CLAIMS": None,
    "AUDIT_EXCHANGE": "auth.events",
    "AUDIT_DECLARE": True,
    # None follows DEBUG: a laptop needs no second process, a server should have one.
    "AUDIT_EMBEDDED_RELAY": None,
    # LISTEN and NOTIFY wake the relay. Off behind a pooler in transaction mode, where LISTEN hears nothing.
    "AUDIT_LISTEN": True,
    "AUDIT_DISABLED_TYPES": (),
    "AUDIT_IP": "full",
}

DURATIONS = frozenset(key for key, value in DEFAULTS.items() if isinstance(value, timedelta))
DEVELOPMENT_BASE_URL = "http://127.0.0.1:8000"


class Settings:
    """The kit's settings as attributes; a duration is always a `timedelta`."""

    JWT_ALGORITHM: str
    SIGNING_KEYS: Sequence[SigningKey] | None
    ISSUER: str
    AUDIENCE: str
    ACCESS_TOKEN_LIFETIME: timedelta
    REFRESH_TOKEN_LIFETIME: timedelta
    SESSION_LIFETIME: timedelta
    REFRESH_GRACE_PERIOD: timedelta
    SESSION_LIMIT: int | None
    SESSION_LIMIT_POLICY: str
    REGISTRATION_OPEN: bool
    EMAIL_VERIFICATION_REQUIRED: bool
    EMAIL_VERIFICATION_REQUIRES_PASSWORD: bool
    EMAIL_VERIFICATION_LIFETIME: timedelta
    PASSWORD_RESET_LIFETIME: timedelta
    FRONTEND_URLS: Mapping[str, str]
    TRUSTED_PROXY_COUNT: int
    THROTTLES: Mapping[str, str | Sequence[str]]
    REGISTRATION_SCHEMA: str | None
    PROFILE_SCHEMA: str | None
    USER_SCHEMA: str | None
    ACCESS_TOKEN_CLAIMS: str | None
    AUDIT_EXCHANGE: str
    AUDIT_DECLARE: bool
    AUDIT_LISTEN: bool
    AUDIT_DISABLED_TYPES: Sequence[str]
    AUDIT_IP: str

    def __getattr__(self, name: str) -> Any:
        if name not in DEFAULTS:
            raise AttributeError(f"ninja_auth_kit has no setting {name!r}")
        configured = getattr(django_settings, "NINJA_AUTH_KIT", None)
        if not isinstance(configured, dict):  # absent, or a mistake that check E001 names
            configured = DEFAULTS
        value = configured.get(name, DEFAULTS[name])  # type: ignore[literal-required]
        return timedelta(seconds=value) if name in DURATIONS and isinstance(value, int) else value

    @property
    def BASE_URL(self) -> str | None:  # noqa: N802  # a setting's name
        """Scheme and host of links in mails, and the path that Django is mounted below, without a trailing slash.

        None where it must be configured.
        """
        configured = self.__getattr__("BASE_URL")
        # Test runners turn DEBUG off, and are known by the outbox that they make.
        if configured is None and (django_settings.DEBUG or hasattr(mail, "outbox")):
            return DEVELOPMENT_BASE_URL
        return configured.rstrip("/") if isinstance(configured, str) else None

    @property
    def AUDIT_EMBEDDED_RELAY(self) -> bool:  # noqa: N802  # a setting's name
        """Whether web processes publish the outbox themselves, in a thread."""
        configured = self.__getattr__("AUDIT_EMBEDDED_RELAY")
        return bool(django_settings.DEBUG if configured is None else configured)

    @property
    def JWT_SECRET_KEY(self) -> str:  # noqa: N802  # a setting's name
        """The root secret. `tokens.refuse_weak_key` saw to it at start that it is a strong one."""
        key: str = django_settings.JWT_SECRET_KEY
        return key


settings = Settings()


def imported(setting: str) -> Any:
    """Return what a setting names by its dotted path, or None where it names nothing.

    Raises:
        ImproperlyConfigured: there is nothing to be imported by this path.
    """
    path = getattr(settings, setting)
    if path is None:
        return None
    try:
        return import_string(str(path))
    except Exception as error:  # a module of the host fails with whatever it likes
        cause = f"{type(error).__name__}: {error}"
        raise ImproperlyConfigured(f"NINJA_AUTH_KIT[{setting!r}] cannot be imported: {cause}") from error


def accounts_database() -> str:
    """Return the alias of the database that users are written to.

    The kit's tables are in the same database, because a transaction cannot span two.
    """
    return router.db_for_write(get_user_model())


@dataclass(frozen=True)
class Broker:
    """Where RabbitMQ is and how to log in. The password stays out of error reports, which print local variables."""

    hosts: tuple[str, ...]
    port: int
    user: str
    password: str = field(repr=False)
    vhost: str
    tls: bool


def broker_hosts() -> tuple[str, ...]:
    """Return the hosts of `RABBITMQ_HOST`; none, and audit events are only logged.

    It may name several nodes of a cluster, in a list or with commas between.
    """
    named = getattr(django_settings, "RABBITMQ_HOST", None) or ()
    named = named if isinstance(named, list | tuple) else str(named).split(",")
    return tuple(filter(None, (str(host).strip() for host in named)))


def broker() -> Broker | None:
    """Return the RabbitMQ settings, or None without a host."""
    hosts = broker_hosts()
    if not hosts:
        return None
    tls = bool(getattr(django_settings, "RABBITMQ_TLS", False))
    return Broker(
        hosts=hosts,
        port=int(getattr(django_settings, "RABBITMQ_PORT", None) or (5671 if tls else 5672)),
        user=getattr(django_settings, "RABBITMQ_USER", None) or "guest",
        password=getattr(django_settings, "RABBITMQ_PASSWORD", None) or "guest",
        vhost=getattr(django_settings, "RABBITMQ_VHOST", None) or "/",
        tls=tls,
    )
