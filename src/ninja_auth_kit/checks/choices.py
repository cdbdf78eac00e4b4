"""The checks of what settings allow and a deployment should not choose without knowing."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Tags, register
from django.utils import timezone

from ninja_auth_kit.checks.kit import is_sound
from ninja_auth_kit.checks.messages import warning
from ninja_auth_kit.conf import DEFAULT_THROTTLES, settings

_LONGEST_SESSION = timedelta(days=30)  # NIST SP 800-63B-4 section 2.1.3
_PROXIED = ("SECURE_PROXY_SSL_HEADER", "USE_X_FORWARDED_HOST", "USE_X_FORWARDED_PORT")


@register(Tags.security, deploy=True)
def check_choices(**_: Any) -> list[CheckMessage]:
    """W018 and W020 to W024."""
    return [*_proxy(), *_verification(), *_lifetimes(), *_clock(), *_limits()] if is_sound() else []


def _proxy() -> Iterator[CheckMessage]:
    trusting = [name for name in _PROXIED if getattr(django_settings, name, None)]
    if trusting and not settings.TRUSTED_PROXY_COUNT:
        yield warning(
            "W018",
            f"{trusting[0]} trusts a proxy, and TRUSTED_PROXY_COUNT is 0.",
            "Set NINJA_AUTH_KIT['TRUSTED_PROXY_COUNT'] to how many proxies of yours a request passes, usually 1. "
            "Otherwise everybody has the address of the proxy, in sessions, in audit events, and for every limit.",
        )


def _verification() -> Iterator[CheckMessage]:
    if settings.REGISTRATION_OPEN and not settings.EMAIL_VERIFICATION_REQUIRED:
        yield warning(
            "W020",
            "EMAIL_VERIFICATION_REQUIRED is off: who registers need not prove the address.",
            "Leave NINJA_AUTH_KIT['EMAIL_VERIFICATION_REQUIRED'] out, or close registration with REGISTRATION_OPEN. "
            "Anybody can hold an account in the name of somebody else, and learn by registering who has one.",
        )
    if not settings.EMAIL_VERIFICATION_REQUIRES_PASSWORD:
        yield warning(
            "W021",
            "EMAIL_VERIFICATION_REQUIRES_PASSWORD is off: a click verifies an address.",
            "Leave NINJA_AUTH_KIT['EMAIL_VERIFICATION_REQUIRES_PASSWORD'] out. Who registers the address of somebody "
            "else waits for that click, and then logs in with a password that the owner does not know.",
        )


def _lifetimes() -> Iterator[CheckMessage]:
    if settings.SESSION_LIFETIME > _LONGEST_SESSION:
        yield warning(
            "W022",
            "SESSION_LIFETIME is longer than 30 days.",
            "Set NINJA_AUTH_KIT['SESSION_LIFETIME'] = timedelta(days=30), and REFRESH_TOKEN_LIFETIME to no more. For "
            "so long a stolen refresh token that nobody misses lets its thief in.",
        )


def _clock() -> Iterator[CheckMessage]:
    year = timezone.now().year
    offsets = {datetime(year, month, 1).astimezone().utcoffset() for month in range(1, 13)}  # local time
    if not django_settings.USE_TZ and len(offsets) > 1:
        yield warning(
            "W023",
            "USE_TZ is off, and the clocks of TIME_ZONE change.",
            "Set USE_TZ = True, or TIME_ZONE = 'UTC'. When the clocks go back, links and sessions live an hour "
            "longer, and for so long a used refresh token counts as a repetition within its grace period.",
        )


def _limits() -> Iterator[CheckMessage]:
    missing = [rule for rule in DEFAULT_THROTTLES if rule not in settings.THROTTLES]
    if missing:
        yield warning(
            "W024",
            f"Nothing limits {', '.join(missing)}.",
            "Leave NINJA_AUTH_KIT['THROTTLES'] out. To change a rate, begin yours with **DEFAULT_THROTTLES, from "
            "ninja_auth_kit.conf. Where nothing is limited, passwords can be guessed and mails caused without end.",
        )
