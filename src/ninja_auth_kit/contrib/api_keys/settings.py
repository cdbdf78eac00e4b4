"""The dict `API_KEYS` in `NINJA_AUTH_KIT`."""

import re
from datetime import timedelta
from typing import Any

from ninja_auth_kit import setting_rules as rules
from ninja_auth_kit.setting_rules import DAY, MINUTE, Rule, Setting

GROUP = "API keys"
SCOPE_LENGTH = 100

_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749 section 3.3
_LONGEST = 3660 * DAY


def is_scope_token(name: Any) -> bool:
    """Return whether a name can be a scope: printable ASCII without spaces, quotation marks and backslashes."""
    return isinstance(name, str) and len(name) <= SCOPE_LENGTH and _SCOPE.fullmatch(name) is not None


def _are_described(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for pair in value.items() for text in pair)


SETTINGS = {
    "SCOPES": Setting(
        {},
        Rule(_are_described, "a dict from scopes to what each allows, such as {'notes:read': 'Read notes.'}"),
        GROUP,
        "The scopes that a key can have, and what each allows. Without any, no key can be created.",
    ),
    "LIFETIME": Setting(
        timedelta(days=90),
        rules.duration(MINUTE, _LONGEST),
        GROUP,
        "How long a key is valid if the request that creates it does not say.",
    ),
    "MAX_LIFETIME": Setting(
        timedelta(days=366), rules.duration(MINUTE, _LONGEST), GROUP, "How long a key can be valid at most."
    ),
    "LIMIT": Setting(25, rules.integer(1, 1000), GROUP, "How many valid keys a user may have."),
}
