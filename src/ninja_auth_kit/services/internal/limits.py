"""Limits: from a rule of `THROTTLES` and its subject to buckets, and from a full bucket to a refusal told once."""

import ipaddress
import logging
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from django.utils import timezone

from ninja_auth_kit import signals
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import settings
from ninja_auth_kit.exceptions import ThrottledError
from ninja_auth_kit.models import ThrottleBucket
from ninja_auth_kit.models.throttling import Bucket, Hit
from ninja_auth_kit.setting_rules import Rate, parse_rates
from ninja_auth_kit.tokens import bucket_id

logger = logging.getLogger("ninja_auth_kit.throttling")

# Tunnels and providers give a /48 to one customer, or share it among a few.
_SITE, _SITE_TIMES = 48, 8


class ThrottleSubject(NamedTuple):
    """Who was refused, for the event.

    Attributes:
        client: who is calling.
        user: whom it is about, if anybody is known.
        identifier: the address or name as typed, if there is one.
    """

    client: ClientInfo | None
    user: Any | None = None
    identifier: str | None = None


def buckets(rule: str, subject: str | None, *, times: int = 1) -> list[Bucket]:
    """Return the buckets of a subject, one for each rate of the rule; none where the rule is off or nobody is known.

    Each rate counts for itself: a minute that is over leaves the hour as it is.

    Args:
        rule: a key of `THROTTLES`.
        subject: what is counted.
        times: how many times as much is allowed.
    """
    if subject is None:
        return []
    rates = settings.THROTTLES.get(rule, ())
    parsed = _parsed_rates((rates,) if isinstance(rates, str) else tuple(rates))
    found = [Rate(times * rate.allowed, rate.window) for rate in parsed]
    return [Bucket(bucket_id(f"{rule} {rate.allowed}/{rate.window}: {subject}"), rule, *rate) for rate in found]


@lru_cache(maxsize=256)
def _parsed_rates(texts: tuple[str, ...]) -> list[Rate]:
    return parse_rates(texts)


def network_buckets(rule: str, client: ClientInfo) -> list[Bucket]:
    """Return the buckets of the network that a caller is in, and of the larger one that an IPv6 customer may have."""
    found, site = buckets(rule, client.network), site_network(client)
    return found if site == client.network else found + buckets(rule, site, times=_SITE_TIMES)


def site_network(client: ClientInfo) -> str | None:
    """Return the network of an IPv4 caller, and of an IPv6 one the larger one that one customer may have."""
    if client.ip_address is None or ":" not in client.ip_address:
        return client.network
    return str(ipaddress.ip_network(f"{client.ip_address}/{_SITE}", strict=False))


def take(wanted: Sequence[Bucket], refused: ThrottleSubject) -> list[Hit]:
    """Count a hit in each bucket.

    Raises:
        ThrottledError: one of them is full; nothing is counted.
    """
    taken = ThrottleBucket.objects.take(wanted)
    if taken is None:
        raise _refusal(ThrottleBucket.objects.full(wanted), refused)
    return taken


def refuse_full(wanted: Sequence[Bucket], refused: ThrottleSubject) -> list[Hit]:
    """Count nothing, but refuse what `take` would refuse.

    Raises:
        ThrottledError: one of the buckets is full.
    """
    full = ThrottleBucket.objects.full(wanted)
    if full:
        raise _refusal(full, refused)
    return []


def _refusal(full: list[ThrottleBucket], refused: ThrottleSubject) -> ThrottledError:
    """Return the error; the first of a window tells that the limit is reached. More would be a flood of events."""
    for bucket in full:
        if ThrottleBucket.objects.mark_announced(bucket):
            logger.warning("The limit %s is reached.", bucket.rule)
            signals.request_throttled.announce(rule=bucket.rule, **refused._asdict())
    now = timezone.now()
    seconds = [math.ceil((bucket.resets_at - now).total_seconds()) for bucket in full]
    return ThrottledError(retry_after=max([1, *seconds]))
