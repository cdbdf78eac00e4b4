"""What the value of a setting may be. Each rule is a test and the words that follow "must be" in an error."""

import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import urlsplit

# The shortest key in bytes for each algorithm with a shared secret (RFC 7518 section 3.2).
HMAC_ALGORITHMS = {"HS256": 32, "HS384": 48, "HS512": 64}
ASYMMETRIC_ALGORITHMS = ("ES256", "EdDSA", "PS256", "RS256")
KEY_STATES = ("active", "verify-only")
LINK_PAGES = ("change_email", "reset_password", "verify_email")

DAY, HOUR, MINUTE, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)

_RATE = re.compile(r"([1-9][0-9]{0,8})/([1-9][0-9]{0,4})?([smhd])")
_UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}


class Rule(NamedTuple):
    """What a value must be.

    Attributes:
        allows: returns whether a value is allowed.
        text: what the value must be, for error messages and the documentation.
    """

    allows: Callable[[Any], bool]
    text: str


class Rate(NamedTuple):
    """At most so many requests in a window of time."""

    allowed: int
    window: timedelta


@lru_cache(maxsize=256)
def parse_rate(text: str) -> Rate:
    """Parse a rate such as "20/m" or "10/15m": a number of requests per seconds, minutes, hours or days.

    Raises:
        ValueError: the text is not a rate.
    """
    match = _RATE.fullmatch(text)
    if match is None:
        raise ValueError("A rate must be a number, a slash and a period, such as '20/m' or '10/15m'.")
    return Rate(int(match[1]), int(match[2] or 1) * _UNITS[match[3]])


def parse_rates(value: str | Sequence[str]) -> list[Rate]:
    """Parse the rates of one rate limit: one text or a sequence of them.

    Raises:
        ValueError: one of them is not a rate.
    """
    return [parse_rate(text) for text in ([value] if isinstance(value, str) else value)]


def spoken(duration: timedelta) -> str:
    """Return a duration in the largest unit that divides it, such as "5 minutes"."""
    seconds = int(duration.total_seconds())
    units = {"day": 86_400, "hour": 3600, "minute": 60, "second": 1}
    name, size = next((name, size) for name, size in units.items() if seconds % size == 0)
    return f"{seconds // size} {name}{'' if seconds == size else 's'}"


def is_integer(value: Any, lowest: int, highest: float = float("inf")) -> bool:
    """Return whether a value is an int in a range. True and False do not count as integers."""
    return isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest


def is_word(value: Any) -> bool:
    """Return whether a value is a non-empty string without whitespace or control characters."""
    return isinstance(value, str) and bool(value) and value.isprintable() and " " not in value


def is_dotted_path(value: Any) -> bool:
    """Return whether a value is a dotted path with at least two names."""
    return isinstance(value, str) and "." in value and all(map(str.isidentifier, value.split(".")))


def is_rate(value: Any) -> bool:
    """Return whether a value is a rate or a sequence of rates."""
    try:
        return isinstance(value, str | list | tuple) and bool(parse_rates(value))
    except (TypeError, ValueError):  # TypeError: a member is not a string
        return False


def duration(shortest: timedelta, longest: timedelta) -> Rule:
    """Return the rule of a duration: a timedelta, or seconds as an int."""

    def allows(value: Any) -> bool:
        if isinstance(value, int) and not isinstance(value, bool):
            # An int that a timedelta cannot hold is out of range.
            value = timedelta(seconds=max(-1, min(value, 10**12)))
        return isinstance(value, timedelta) and shortest <= value <= longest

    start = "0" if not shortest else spoken(shortest)
    return Rule(allows, f"a timedelta or a number of seconds, between {start} and {spoken(longest)}")


def one_of(*choices: Any) -> Rule:
    """Return the rule of a choice."""
    return Rule(lambda value: value in choices, "one of " + ", ".join(map(repr, choices)))


def integer(lowest: int, highest: int | None = None, *, or_none: str = "") -> Rule:
    """Return the rule of an integer in a range; `or_none` says what None means, if None is allowed."""
    limits = f"of at least {lowest}" if highest is None else f"between {lowest} and {highest}"

    def allows(value: Any) -> bool:
        return (value is None and bool(or_none)) or is_integer(value, lowest, highest or float("inf"))

    return Rule(allows, f"an integer {limits}" + (f", or None {or_none}" if or_none else ""))


def dotted_path(example: str) -> Rule:
    """Return the rule of an optional dotted path."""
    return Rule(lambda value: value is None or is_dotted_path(value), f"a dotted path, such as {example!r}, or None")


def exchange_name(longest: int) -> Rule:
    """Return the rule of an exchange that RabbitMQ accepts, at most `longest` bytes long."""

    def allows(value: Any) -> bool:
        return is_word(value) and len(value.encode()) <= longest and not value.startswith("amq.")

    return Rule(allows, f"a string of at most {longest} bytes without whitespace that does not start with 'amq.'")


def rate_limits(names: Sequence[str]) -> Rule:
    """Return the rule of a dict from names of rate limits to rates."""

    def allows(value: Any) -> bool:
        return isinstance(value, dict) and all(key in names and is_rate(rates) for key, rates in value.items())

    return Rule(
        allows,
        f"a dict from {', '.join(names)} to rates, such as '20/m' or ('10/15m', '100/30d'); {{}} sets no limits",
    )


def _is_url(value: Any) -> bool:
    """Return whether a value is an absolute URL for an email: without credentials and without a fragment."""
    if not is_word(value):
        return False
    try:
        parts = urlsplit(value)
        is_absolute = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # an incomplete IPv6 address, or a port that is not a number
        return False
    return is_absolute and "@" not in parts.netloc and "#" not in value


def _is_signing_key(value: Any) -> bool:
    if not isinstance(value, dict) or not {"alg", "key", "state"} <= set(value) <= {"alg", "key", "kid", "state"}:
        return False
    is_known = value["alg"] in (*HMAC_ALGORITHMS, *ASYMMETRIC_ALGORITHMS) and value["state"] in KEY_STATES
    return is_known and isinstance(value["key"], str) and isinstance(value.get("kid", ""), str)


def _are_signing_keys(value: Any) -> bool:
    return value is None or (isinstance(value, list | tuple) and all(map(_is_signing_key, value)))


def _are_frontend_urls(value: Any) -> bool:
    return isinstance(value, dict) and all(key in LINK_PAGES and _is_url(url) for key, url in value.items())


def _are_words(value: Any) -> bool:
    return isinstance(value, list | tuple | set | frozenset) and all(map(is_word, value))


def _are_hosts(value: Any) -> bool:
    hosts = value.split(",") if isinstance(value, str) else value
    if not isinstance(hosts, list | tuple):
        return False
    return all(isinstance(host, str) and _is_host(host.strip()) for host in hosts)


def _is_host(host: str) -> bool:
    """Return whether a text is a host name or an address without a port. An IPv6 address has several colons."""
    return is_word(host) and not set("/@[]") & set(host) and host.count(":") != 1


def _is_port(value: Any) -> bool:
    is_decimal = isinstance(value, str) and value.isdecimal() and len(value) <= 5
    return is_integer(int(value) if is_decimal else value, 1, 65_535)


WORD = Rule(is_word, "a non-empty string without whitespace")
WORDS = Rule(_are_words, "a list of event names, such as ['session.refreshed']")
BOOLEAN = Rule(lambda value: isinstance(value, bool), "True or False")
BOOLEAN_OR_NONE = Rule(lambda value: value is None or isinstance(value, bool), "True, False or None")
STRING = Rule(lambda value: isinstance(value, str), "a string")
ROOT_SECRET = Rule(  # `tokens.key_checks` refuses to start with any other value, and with None in the dict
    lambda value: value is None or isinstance(value, str), "a string of at least 32 random bytes, not the `SECRET_KEY`"
)
SIGNING_KEYS = Rule(
    _are_signing_keys,
    "None, or a list of dicts with 'alg', 'key', 'state' ('active' or 'verify-only') and optionally 'kid'",
)
BASE_URL = Rule(
    lambda value: value is None or (_is_url(value) and "?" not in value),
    "a scheme and a host, such as 'https://example.com', followed by the path that Django is mounted below, if any",
)
FRONTEND_URLS = Rule(
    _are_frontend_urls,
    f"a dict from {', '.join(LINK_PAGES)} to absolute URLs without credentials, whitespace or a fragment",
)
HOSTS = Rule(
    _are_hosts, "a host name or an address without a port, or several separated by commas; the port is RABBITMQ_PORT"
)
PORT = Rule(_is_port, "a port number, such as 5672")
# The string "false" from an environment variable is true in Python, so strings are not allowed.
STRICT_BOOLEAN = Rule(BOOLEAN.allows, "True or False, not a string")
