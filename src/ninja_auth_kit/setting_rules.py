"""What the value of a setting may be. Each rule is a test and the words that follow "must be" in an error."""

import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
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
# An IPv6 address with a port is in brackets (RFC 3986 section 3.2.2).
_HOST = re.compile(
    r"(?:(?P<name>[^/@:\[\]]+)|\[(?P<bracketed>[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%[^/@:\[\]]+)?)\])(?::(?P<port>[0-9]+))?"
    r"|(?P<address>[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%[^/@:\[\]]+)?)"
)
_UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}


class Rule(NamedTuple):
    """What a value must be.

    Attributes:
        allows: returns whether a value is allowed.
        text: what the value must be, for error messages and the documentation.
    """

    allows: Callable[[Any], bool]
    text: str


class Fault(NamedTuple):
    """What is wrong inside a value, for a message that says more than the rule. It contains no value of a secret.

    Attributes:
        where: the place below the setting, such as "['google']['client_ids']".
        text: what follows the place, such as "must be a list".
        hint: how to correct it, unless `known` is given.
        word: the unknown word.
        known: the words that are known in its place.
    """

    where: str
    text: str
    hint: str = "Correct the value."
    word: object = ""
    known: tuple[str, ...] = ()


@dataclass(frozen=True)
class Setting:
    """One row of the table of settings.

    Attributes:
        default: the value of a setting that is not configured.
        rule: what a configured value must be.
        group: the heading in the documentation.
        help: one line for the documentation, in Markdown.
        is_duration: whether a number means seconds.
        faults: returns what is wrong inside a value that the rule does not allow, if the rule alone does not say it.
    """

    default: Any
    rule: Rule
    group: str
    help: str
    is_duration: bool = False
    faults: Callable[[Any], Iterable[Fault]] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.default, timedelta):
            object.__setattr__(self, "is_duration", True)


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


def is_no_rate(value: Any) -> bool:
    """Return whether a value turns a rate limit off: None, or an empty string or sequence."""
    return value is None or (isinstance(value, str | list | tuple) and not value)


def duration(shortest: timedelta, longest: timedelta, *, or_none: str = "") -> Rule:
    """Return the rule of a duration: a timedelta, or seconds as an int; `or_none` says what None means, if allowed."""

    def allows(value: Any) -> bool:
        if value is None:
            return bool(or_none)
        if isinstance(value, int) and not isinstance(value, bool):
            # An int that a timedelta cannot hold is out of range.
            value = timedelta(seconds=max(-1, min(value, 10**12)))
        return isinstance(value, timedelta) and shortest <= value <= longest

    start = "0" if not shortest else spoken(shortest)
    return Rule(allows, f"a timedelta or a number of seconds, between {start} and {spoken(longest)}{_none(or_none)}")


def _none(meaning: str) -> str:
    return f", or None {meaning}" if meaning else ""


def one_of(*choices: Any) -> Rule:
    """Return the rule of a choice."""
    return Rule(lambda value: value in choices, "one of " + ", ".join(map(repr, choices)))


def integer(lowest: int, highest: int | None = None, *, or_none: str = "") -> Rule:
    """Return the rule of an integer in a range; `or_none` says what None means, if None is allowed."""
    limits = f"of at least {lowest}" if highest is None else f"between {lowest} and {highest}"

    def allows(value: Any) -> bool:
        return (value is None and bool(or_none)) or is_integer(value, lowest, highest or float("inf"))

    return Rule(allows, f"an integer {limits}" + _none(or_none))


def dotted_path(example: str) -> Rule:
    """Return the rule of an optional dotted path."""
    return Rule(lambda value: value is None or is_dotted_path(value), f"a dotted path, such as {example!r}, or None")


def exchange_name(longest: int) -> Rule:
    """Return the rule of an exchange that RabbitMQ accepts, at most `longest` bytes long."""

    def allows(value: Any) -> bool:
        return is_word(value) and len(value.encode()) <= longest and not value.startswith("amq.")

    return Rule(allows, f"a string of at most {longest} bytes without whitespace that does not start with 'amq.'")


def rate_limits(names: Sequence[str], *, more: Callable[[], Iterable[str]]) -> Rule:
    """Return the rule of a dict from names of rate limits to rates; `more` returns names that features add."""

    def allows(value: Any) -> bool:
        known = {*names, *more()}
        return isinstance(value, dict) and all(
            key in known and (is_rate(rates) or is_no_rate(rates)) for key, rates in value.items()
        )

    return Rule(
        allows,
        f"a dict from {', '.join(names)} to rates, such as '20/m' or ('10/15m', '100/30d'), or to None for no limit",
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


def _is_host(text: str) -> bool:
    try:
        host, _ = parse_host(text)
    except ValueError:
        return False
    return is_word(host)


def parse_host(text: str) -> tuple[str, int | None]:
    """Return the host of a text such as "one.example", "one.example:5673", "::1" or "[::1]:5673", and its port.

    Raises:
        ValueError: the text is something else, such as a URL.
    """
    match = _HOST.fullmatch(text)
    if match is None or not _is_port(match["port"] or 1):
        raise ValueError("A host must be a name or an address, followed by a colon and a port if it has its own.")
    return match["name"] or match["bracketed"] or match["address"], int(match["port"]) if match["port"] else None


def _is_path(value: Any) -> bool:
    """Return whether a value is a path. A value with line breaks is the key or the certificate itself."""
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    return isinstance(text, str) and text.isprintable() and "-----BEGIN" not in text


def _is_name(value: Any) -> bool:
    """Return whether a value is a name that fits into the subject of an email: one line that UTF-8 can encode."""
    if not isinstance(value, str) or not 0 < len(value) <= 100 or value != value.strip():
        return False
    return not {"Cc", "Cs", "Zl", "Zp"} & set(map(unicodedata.category, value))


def _is_port(value: Any) -> bool:
    is_decimal = isinstance(value, str) and value.isdecimal() and len(value) <= 5
    return is_integer(int(value) if is_decimal else value, 1, 65_535)


WORD = Rule(is_word, "a non-empty string without whitespace")
WORD_OR_NONE = Rule(lambda value: value is None or is_word(value), f"{WORD.text}, or None")
WORDS = Rule(_are_words, "a list of event names, such as ['session.refreshed']")
BOOLEAN = Rule(lambda value: isinstance(value, bool), "True or False")
BOOLEAN_OR_NONE = Rule(lambda value: value is None or isinstance(value, bool), "True, False or None")
SITE_NAME = Rule(
    lambda value: value is None or _is_name(value),
    "a string of one line with at most 100 characters, such as 'Example Shop', or None",
)
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
    _are_hosts,
    "a host name or an address, or several separated by commas, each with a port if it is not RABBITMQ_PORT, such as "
    "'one.example,two.example:5673' or '[::1]:5673'",
)
FILE = Rule(_is_path, "the path of a PEM file, as a string or a Path, not the text of the file")
PORT = Rule(_is_port, "a port number, such as 5672")
# The string "false" from an environment variable is true in Python, so strings are not allowed.
STRICT_BOOLEAN = Rule(BOOLEAN.allows, "True or False, not a string")
