"""What each setting may be: a test of the value, and the words for what it wants."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from ninja_auth_kit.conf import DEFAULT_THROTTLES
from ninja_auth_kit.services.internal.limits import rates_of
from ninja_auth_kit.tokens import ALGORITHMS, ASYMMETRIC

Rule = tuple[Callable[[Any], bool], str]
_DAY, _MINUTE = timedelta(days=1), timedelta(minutes=1)
_MOST_SECONDS = 10**12
_LONGEST_EXCHANGE = 255 - len(".audit")  # bytes
_LARGEST_SLOT = 32_767  # of a PositiveSmallIntegerField


def is_integer(value: Any, lowest: int, highest: float = float("inf")) -> bool:
    """Tell whether a value is an int in a range; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest


def is_text(value: Any) -> bool:
    """Tell whether a value is a string with something in it, and neither white space nor control characters."""
    return isinstance(value, str) and bool(value) and value.isprintable() and " " not in value


def _duration(shortest: timedelta, longest: timedelta) -> Rule:
    def fits(value: Any) -> bool:
        if isinstance(value, int) and not isinstance(value, bool):
            # What a timedelta cannot hold is out of every range too.
            value = timedelta(seconds=max(-1, min(value, _MOST_SECONDS)))
        return isinstance(value, timedelta) and shortest <= value <= longest

    return fits, f"a timedelta or seconds as an int, from {shortest} to {longest}"


def _one_of(*choices: Any) -> Rule:
    return lambda value: value in choices, "one of " + ", ".join(repr(choice) for choice in choices)


def _is_url(value: Any) -> bool:
    """Tell whether a value is an absolute URL that a mail may show: no user in it, and no fragment."""
    if not is_text(value):
        return False
    try:
        parts = urlsplit(value)
        is_absolute = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # half an IPv6 address, or a port that is none
        return False
    return is_absolute and "@" not in parts.netloc and "#" not in value


def _is_base_url(value: Any) -> bool:
    return value is None or (_is_url(value) and "?" not in value)


def _is_exchange(value: Any) -> bool:
    """Tell whether RabbitMQ lets an exchange be named so, and the stream with `.audit` at its end."""
    return is_text(value) and len(value.encode()) <= _LONGEST_EXCHANGE and not value.startswith("amq.")


def _is_frontend_urls(value: Any) -> bool:
    return isinstance(value, dict) and all(key in PAGES and _is_url(url) for key, url in value.items())


def _is_list_of_names(value: Any) -> bool:
    return isinstance(value, list | tuple | set | frozenset) and all(map(is_text, value))


def _is_throttles(value: Any) -> bool:
    return isinstance(value, dict) and all(
        key in DEFAULT_THROTTLES and is_rates(rates) for key, rates in value.items()
    )


def is_rates(value: Any) -> bool:
    """Tell whether a value is a rate, or several."""
    try:
        return isinstance(value, str | list | tuple) and bool(rates_of(value))
    except (TypeError, ValueError):  # TypeError: something in it is no text
        return False


def is_dotted_path(value: Any) -> bool:
    """Tell whether a value is names with dots between them, two at least."""
    return isinstance(value, str) and "." in value and all(map(str.isidentifier, value.split(".")))


def _path_of(example: str) -> Rule:
    def fits(value: Any) -> bool:
        return value is None or is_dotted_path(value)

    return fits, f"a dotted path, such as {example!r}, or None"


def _is_key(value: Any) -> bool:
    if not isinstance(value, dict) or not {"alg", "key", "state"} <= set(value) <= {"alg", "key", "kid", "state"}:
        return False
    known = value["alg"] in (*ALGORITHMS, *ASYMMETRIC) and value["state"] in ("active", "verify-only")
    return known and isinstance(value["key"], str) and isinstance(value.get("kid", ""), str)


_TEXT: Rule = (is_text, "a non-empty string without white space")
_BOOLEAN: Rule = (lambda value: isinstance(value, bool), "True or False")

PAGES = frozenset({"verify_email", "reset_password", "change_email"})

RULES: dict[str, Rule] = {
    "JWT_ALGORITHM": _one_of(*ALGORITHMS),
    "SIGNING_KEYS": (
        lambda value: value is None or (isinstance(value, list | tuple) and all(map(_is_key, value))),
        "a list of dicts with 'alg', 'key', 'state' ('active' or 'verify-only') and, if you like, 'kid', or None",
    ),
    "ISSUER": _TEXT,
    "AUDIENCE": _TEXT,
    "ACCESS_TOKEN_LIFETIME": _duration(timedelta(seconds=1), _DAY),
    "REFRESH_TOKEN_LIFETIME": _duration(timedelta(seconds=1), 3650 * _DAY),
    "SESSION_LIFETIME": _duration(timedelta(seconds=1), 3650 * _DAY),
    "REFRESH_GRACE_PERIOD": _duration(timedelta(0), _MINUTE),
    "SESSION_LIMIT": (
        lambda value: value is None or is_integer(value, 1, _LARGEST_SLOT),
        f"an int from 1 to {_LARGEST_SLOT}, or None for no limit",
    ),
    "SESSION_LIMIT_POLICY": _one_of("replace", "reject"),
    "REGISTRATION_OPEN": _BOOLEAN,
    "EMAIL_VERIFICATION_REQUIRED": _BOOLEAN,
    "EMAIL_VERIFICATION_REQUIRES_PASSWORD": _BOOLEAN,
    "EMAIL_VERIFICATION_LIFETIME": _duration(_MINUTE, 7 * _DAY),
    "PASSWORD_RESET_LIFETIME": _duration(_MINUTE, 60 * _MINUTE),
    "BASE_URL": (
        _is_base_url,
        "scheme and host, such as 'https://example.com' (and the path that Django is mounted below, if any)",
    ),
    "FRONTEND_URLS": (
        _is_frontend_urls,
        f"a dict from {', '.join(sorted(PAGES))} to absolute URLs without a user, white space or a fragment",
    ),
    "TRUSTED_PROXY_COUNT": (lambda value: is_integer(value, 0), "an int from 0"),
    "THROTTLES": (
        _is_throttles,
        f"a dict from {', '.join(DEFAULT_THROTTLES)} to rates such as '20/m' or ('10/15m', '100/30d'); {{}} for none",
    ),
    "REGISTRATION_SCHEMA": _path_of("accounts.schemas.Registration"),
    "PROFILE_SCHEMA": _path_of("accounts.schemas.Profile"),
    "USER_SCHEMA": _path_of("accounts.schemas.User"),
    "ACCESS_TOKEN_CLAIMS": _path_of("accounts.claims.claims"),
    "AUDIT_EXCHANGE": (
        _is_exchange,
        f"a non-empty string without white space, of at most {_LONGEST_EXCHANGE} bytes and not beginning with 'amq.'",
    ),
    "AUDIT_DECLARE": _BOOLEAN,
    "AUDIT_EMBEDDED_RELAY": (lambda value: value is None or isinstance(value, bool), "True, False or None"),
    "AUDIT_LISTEN": _BOOLEAN,
    "AUDIT_DISABLED_TYPES": (_is_list_of_names, "a list of event names, such as 'session.refreshed'"),
    "AUDIT_IP": _one_of("full", "truncated", "hmac", "none"),
}
