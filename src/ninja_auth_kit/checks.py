"""Every mistake in the settings that the kit can see, as a numbered system check with a hint.

    E001  NINJA_AUTH_KIT is not a dict
    E002  unknown key
    E003  wrong type or range
    E004  lifetimes that contradict one another
    E005  the database is not PostgreSQL
    E006  the user model has no e-mail field or no password
    E007  no BASE_URL outside DEBUG
    E008  RABBITMQ_PORT is no port
    W001  no broker: audit events are only logged (--deploy)
    W002  registration cannot fill a required field of the user model
    W003  access tokens outlive what a service that verifies them alone should trust

A weak JWT_SECRET_KEY is not here: it stops the process before any check runs (`tokens.refuse_weak_key`).
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import FieldDoesNotExist
from django.db import connections

from ninja_auth_kit.conf import DEFAULTS, settings
from ninja_auth_kit.models import database, email_field
from ninja_auth_kit.tokens import ALGORITHMS

Rule = tuple[Callable[[Any], bool], str]
_DAY, _MINUTE = timedelta(days=1), timedelta(minutes=1)


def _duration(shortest: timedelta, longest: timedelta) -> Rule:
    def fits(value: Any) -> bool:
        if isinstance(value, int) and not isinstance(value, bool):
            value = timedelta(seconds=value)
        return isinstance(value, timedelta) and shortest <= value <= longest

    return fits, f"a timedelta or seconds as an int, from {shortest} to {longest}"


def _one_of(*choices: Any) -> Rule:
    return lambda value: value in choices, "one of " + ", ".join(repr(choice) for choice in choices)


def _integer(value: Any, lowest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= lowest


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and not any(letter.isspace() for letter in value)


def _is_url(value: Any) -> bool:
    parts = urlsplit(value) if isinstance(value, str) else None
    return parts is not None and parts.scheme in {"http", "https"} and bool(parts.netloc) and not parts.fragment


_TEXT: Rule = (_is_text, "a non-empty string without white space")
_BOOLEAN: Rule = (lambda value: isinstance(value, bool), "True or False")

PAGES = frozenset({"verify_email"})

RULES: dict[str, Rule] = {
    "JWT_ALGORITHM": _one_of(*ALGORITHMS),
    "ISSUER": _TEXT,
    "AUDIENCE": _TEXT,
    "ACCESS_TOKEN_LIFETIME": _duration(timedelta(seconds=1), _DAY),
    "REFRESH_TOKEN_LIFETIME": _duration(timedelta(seconds=1), 3650 * _DAY),
    "SESSION_LIFETIME": _duration(timedelta(seconds=1), 3650 * _DAY),
    "REFRESH_GRACE_PERIOD": _duration(timedelta(0), _MINUTE),
    "SESSION_LIMIT": (
        lambda value: value is None or _integer(value, 1),
        "an int from 1, or None for no limit",
    ),
    "SESSION_LIMIT_POLICY": _one_of("replace", "reject"),
    "REGISTRATION_OPEN": _BOOLEAN,
    "EMAIL_VERIFICATION_REQUIRED": _BOOLEAN,
    "EMAIL_VERIFICATION_REQUIRES_PASSWORD": _BOOLEAN,
    "EMAIL_VERIFICATION_LIFETIME": _duration(_MINUTE, 7 * _DAY),
    "BASE_URL": (
        lambda value: value is None or _is_url(value),
        "scheme and host, such as 'https://example.com'",
    ),
    "FRONTEND_URLS": (
        lambda value: isinstance(value, dict) and all(key in PAGES and _is_url(url) for key, url in value.items()),
        "a dict from 'verify_email' to an absolute URL without a fragment",
    ),
    "TRUSTED_PROXY_COUNT": (lambda value: _integer(value, 0), "an int from 0"),
    "AUDIT_EXCHANGE": _TEXT,
    "AUDIT_DECLARE": _BOOLEAN,
    "AUDIT_EMBEDDED_RELAY": (lambda value: value is None or isinstance(value, bool), "True, False or None"),
    "AUDIT_DISABLED_TYPES": (
        lambda value: isinstance(value, list | tuple | set | frozenset) and all(map(_is_text, value)),
        "a list of event names, such as 'session.refreshed'",
    ),
    "AUDIT_IP": _one_of("full", "truncated", "hmac", "none"),
}


@register(Tags.security)
def check_keys(**_: Any) -> list[CheckMessage]:
    """E001 to E004 and W003: the dict, its keys, their values, and what they say together."""
    configured = getattr(django_settings, "NINJA_AUTH_KIT", {})
    if not isinstance(configured, dict):
        return [_error("E001", "NINJA_AUTH_KIT is not a dict.", "Make it a dict of the kit's settings.")]
    faults = [*_unknown_keys(configured), *_wrong_values(configured)]
    return faults or list(_contradictions())


def _unknown_keys(configured: dict[str, Any]) -> Iterator[CheckMessage]:
    for key in configured:
        if key not in DEFAULTS:
            near = get_close_matches(str(key), DEFAULTS, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"The keys are {', '.join(sorted(DEFAULTS))}."
            yield _error("E002", f"NINJA_AUTH_KIT has no key {key!r}.", hint)


def _wrong_values(configured: dict[str, Any]) -> Iterator[CheckMessage]:
    for key, (fits, wanted) in RULES.items():
        if key in configured and not fits(configured[key]):
            yield _error("E003", f"NINJA_AUTH_KIT[{key!r}] has a value that does not fit.", f"It must be {wanted}.")


def _contradictions() -> Iterator[CheckMessage]:
    if settings.ACCESS_TOKEN_LIFETIME >= settings.REFRESH_TOKEN_LIFETIME:
        yield _error(
            "E004",
            "ACCESS_TOKEN_LIFETIME is not shorter than REFRESH_TOKEN_LIFETIME.",
            "Refresh tokens exist so that access tokens can be short; five minutes is a good lifetime.",
        )
    if settings.REFRESH_TOKEN_LIFETIME > settings.SESSION_LIFETIME:
        yield _error(
            "E004",
            "REFRESH_TOKEN_LIFETIME is longer than SESSION_LIFETIME.",
            "The first is how long a session may idle, the second how long it may last at all.",
        )
    if settings.ACCESS_TOKEN_LIFETIME > 15 * _MINUTE:
        yield _warning(
            "W003",
            "ACCESS_TOKEN_LIFETIME is longer than 15 minutes.",
            "JWTAuth() checks the session on each request, but whoever verifies by signature alone, "
            "JWTAuth(check_session=False) among them, trusts a token of an ended session for so long.",
        )


@register(Tags.database)
def check_database(**_: Any) -> list[CheckMessage]:
    """E005: row locks, partial indexes and advisory locks are what the promises rest on."""
    if connections[database()].vendor == "postgresql":
        return []
    return [
        _error(
            "E005",
            f"The database {database()!r} is not PostgreSQL.",
            "Set DATABASES['default']['ENGINE'] to 'django.db.backends.postgresql'. The kit rests on locks and "
            "constraints of PostgreSQL and has no weaker mode for other databases.",
        )
    ]


@register(Tags.models)
def check_user_model(**_: Any) -> list[CheckMessage]:
    """E006 and W002: what registration and login need of the user model."""
    model: Any = get_user_model()
    faults: list[CheckMessage] = []
    try:
        model._meta.get_field(email_field())
    except FieldDoesNotExist:
        hint = "Add an EmailField and name it in EMAIL_FIELD."
        faults.append(_error("E006", f"{model.__name__} has no e-mail field {email_field()!r}.", hint))
    if not issubclass(model, AbstractBaseUser):
        faults.append(_error("E006", f"{model.__name__} has no password.", "Derive it from AbstractBaseUser."))
    faults.extend(
        _warning(
            "W002",
            f"Registration cannot fill {model.__name__}.{field.name}.",
            "Give it a default or null=True, or close registration with REGISTRATION_OPEN.",
        )
        for field in model._meta.concrete_fields
        if settings.REGISTRATION_OPEN and _cannot_be_filled(field, {model.USERNAME_FIELD, email_field(), "password"})
    )
    return faults


def _cannot_be_filled(field: Any, filled: set[str]) -> bool:
    automatic = field.primary_key or getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False)
    has_default = field.has_default() or getattr(field, "has_db_default", lambda: False)()
    return not (automatic or has_default or field.null or field.name in filled or field.get_default() is not None)


@register(Tags.urls)
def check_base_url(**_: Any) -> list[CheckMessage]:
    """E007: links in mails are never built from the Host header of a request."""
    if settings.BASE_URL is not None:
        return []
    hint = "Set NINJA_AUTH_KIT['BASE_URL'] to the scheme and host of your site, such as 'https://example.com'."
    return [_error("E007", "NINJA_AUTH_KIT['BASE_URL'] is missing, and DEBUG is off.", hint)]


@register(Tags.compatibility)
def check_broker(**_: Any) -> list[CheckMessage]:
    """E008: a port that is no number would fail in the relay, far from its cause."""
    port = str(getattr(django_settings, "RABBITMQ_PORT", None) or 5672)
    if port.isdecimal() and 0 < int(port) < 65_536:
        return []
    return [_error("E008", f"RABBITMQ_PORT is no port: {port!r}.", "Set it to an int such as 5672, or leave it out.")]


@register(Tags.security, deploy=True)
def check_audit(**_: Any) -> list[CheckMessage]:
    """W001: who wants the audit stream should not find out afterwards that there was none."""
    if getattr(django_settings, "RABBITMQ_HOST", None):
        return []
    hint = "Set RABBITMQ_HOST, or collect the logger 'ninja_auth_kit.audit' and silence this warning."
    return [_warning("W001", "There is no broker: audit events are only logged.", hint)]


def _error(number: str, message: str, hint: str) -> Error:
    return Error(message, hint=hint, id=f"ninja_auth_kit.{number}")


def _warning(number: str, message: str, hint: str) -> Warning:
    return Warning(message, hint=hint, id=f"ninja_auth_kit.{number}")
