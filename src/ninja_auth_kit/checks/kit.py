"""The checks of NINJA_AUTH_KIT: the dict, its keys, their values, and what they say together."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Tags, register

from ninja_auth_kit.audit.events import all_events
from ninja_auth_kit.checks.messages import did_you_mean, error, warning
from ninja_auth_kit.checks.rules import RULES, is_rates
from ninja_auth_kit.conf import DEFAULT_THROTTLES, DEFAULTS, settings

_TRUSTED_ALONE = timedelta(minutes=15)


@register(Tags.security)
def check_kit(**_: Any) -> list[CheckMessage]:
    """E001 to E004 and W003."""
    configured = getattr(django_settings, "NINJA_AUTH_KIT", {})
    if not isinstance(configured, dict):
        return [error("E001", "NINJA_AUTH_KIT is not a dict.", "Make it a dict of the kit's settings.")]
    return faults(configured) or [*_unknown_events(), *_contradictions()]


def is_sound() -> bool:
    """Tell whether every value is what it must be, so that other checks can look at what it says."""
    configured = getattr(django_settings, "NINJA_AUTH_KIT", {})
    return isinstance(configured, dict) and not faults(configured)


def faults(configured: dict[str, Any]) -> list[CheckMessage]:
    """Return the errors of keys that are unknown and of values that do not fit, whatever else the settings say."""
    return [*_unknown_keys(configured), *_wrong_values(configured)]


def _unknown_keys(configured: dict[str, Any]) -> Iterator[CheckMessage]:
    for key in configured:
        if key not in DEFAULTS:
            yield error("E002", f"NINJA_AUTH_KIT has no key {key!r}.", did_you_mean(key, DEFAULTS))


def _wrong_values(configured: dict[str, Any]) -> Iterator[CheckMessage]:
    for key, (fits, wanted) in RULES.items():
        if key not in configured or fits(configured[key]):
            continue
        if key == "THROTTLES" and isinstance(configured[key], dict):
            yield from _wrong_limits(configured[key])
        else:
            yield error("E003", f"NINJA_AUTH_KIT[{key!r}] has a value that does not fit.", f"It must be {wanted}.")


def _wrong_limits(limits: dict[Any, Any]) -> Iterator[CheckMessage]:
    for name, rates in limits.items():
        if name not in DEFAULT_THROTTLES:
            message = f"NINJA_AUTH_KIT['THROTTLES'] names {name!r}, and there is no such limit."
            yield error("E003", message, did_you_mean(name, DEFAULT_THROTTLES))
        elif not is_rates(rates):
            message = f"NINJA_AUTH_KIT['THROTTLES'][{name!r}] is {rates!r}, which is no rate."
            yield error("E003", message, "It must be a rate such as '20/m', or several such as ('10/15m', '100/30d').")


def _unknown_events() -> Iterator[CheckMessage]:
    known = {name for event in all_events() for name in (event.name, event.type)}
    for name in settings.AUDIT_DISABLED_TYPES:
        if name not in known:
            message = f"NINJA_AUTH_KIT['AUDIT_DISABLED_TYPES'] names {name!r}, and there is no such event."
            yield error("E003", message, did_you_mean(name, known))


def _contradictions() -> Iterator[CheckMessage]:
    if settings.ACCESS_TOKEN_LIFETIME >= settings.REFRESH_TOKEN_LIFETIME:
        yield error(
            "E004",
            "ACCESS_TOKEN_LIFETIME is not shorter than REFRESH_TOKEN_LIFETIME.",
            "Refresh tokens exist so that access tokens can be short; five minutes is a good lifetime.",
        )
    if settings.REFRESH_TOKEN_LIFETIME > settings.SESSION_LIFETIME:
        yield error(
            "E004",
            "REFRESH_TOKEN_LIFETIME is longer than SESSION_LIFETIME.",
            "The first is how long a session may idle, the second how long it may last at all.",
        )
    if settings.ACCESS_TOKEN_LIFETIME > _TRUSTED_ALONE:
        yield warning(
            "W003",
            "ACCESS_TOKEN_LIFETIME is longer than 15 minutes.",
            "JWTAuth() checks the session on each request, but whoever verifies by signature alone, "
            "JWTAuth(check_session=False) among them, trusts a token of an ended session for so long.",
        )
