"""Rate limits: the buckets of a rule of `THROTTLES`, and the error and the event when one of them is full."""

import ipaddress
import logging
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from django.utils import timezone

from ninja_auth_kit import features, signals
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import settings
from ninja_auth_kit.exceptions import ThrottledError
from ninja_auth_kit.models import ThrottleBucket
from ninja_auth_kit.models.throttling import Bucket, Hit
from ninja_auth_kit.setting_rules import Rate, parse_rates
from ninja_auth_kit.tokens import bucket_id

logger = logging.getLogger("ninja_auth_kit.throttling")

# A customer of an IPv6 provider or tunnel has a whole /48, or shares it with a few others. It may do eight times as
# much as a /64, which counts as one client.
_SITE_PREFIX, _SITE_TIMES = 48, 8


class ThrottleSubject(NamedTuple):
    """Who is rate limited, for the event.

    Attributes:
        client: the client of the request.
        user: the user whom the request is about, if known.
        identifier: the email address or username as typed, if there is one.
    """

    client: ClientInfo | None
    user: Any | None = None
    identifier: str | None = None


def buckets_for(rule: str, subject: str | None, *, times: int = 1) -> list[Bucket]:
    """Return the buckets of a subject, one per rate of the rule: an empty list without rates or without a subject.

    Each rate counts separately: a window of a minute that ends leaves the window of the hour as it is.

    Args:
        rule: a key of `THROTTLES`.
        subject: what is counted, such as an account or a network.
        times: a factor for the allowed number.
    """
    if subject is None:
        return []
    configured = settings.THROTTLES
    rates = (configured[rule] if rule in configured else features.throttles().get(rule)) or ()
    parsed = _parsed_rates((rates,) if isinstance(rates, str) else tuple(rates))
    allowed = [Rate(times * rate.allowed, rate.window) for rate in parsed]
    return [Bucket(bucket_id(f"{rule} {rate.allowed}/{rate.window}: {subject}"), rule, *rate) for rate in allowed]


@lru_cache(maxsize=256)
def _parsed_rates(texts: tuple[str, ...]) -> list[Rate]:
    return parse_rates(texts)


def network_buckets(rule: str, client: ClientInfo) -> list[Bucket]:
    """Return the buckets of a client's network: an IPv4 address, or an IPv6 /64 and the /48 around it."""
    found, site = buckets_for(rule, client.network), site_network(client)
    return found if site == client.network else found + buckets_for(rule, site, times=_SITE_TIMES)


def site_network(client: ClientInfo) -> str | None:
    """Return the IPv4 address of a client, or the IPv6 /48 that one customer may have."""
    if client.ip_address is None or ":" not in client.ip_address:
        return client.network
    return str(ipaddress.ip_network(f"{client.ip_address}/{_SITE_PREFIX}", strict=False))


def take_hits(buckets: Sequence[Bucket], subject: ThrottleSubject) -> list[Hit]:
    """Count a hit in each bucket, and return the hits.

    Raises:
        ThrottledError: one of the buckets is full. No hit is counted.
    """
    hits = ThrottleBucket.objects.take(buckets)
    if hits is None:
        raise throttled(ThrottleBucket.objects.full(buckets), subject)
    return hits


def require_not_full(buckets: Sequence[Bucket], subject: ThrottleSubject) -> list[Hit]:
    """Count no hit, but raise the error that `take_hits` would raise.

    Raises:
        ThrottledError: one of the buckets is full.
    """
    full = ThrottleBucket.objects.full(buckets)
    if full:
        raise throttled(full, subject)
    return []


def throttled(full: list[ThrottleBucket], subject: ThrottleSubject) -> ThrottledError:
    """Return the error of full buckets.

    The first one in a window also sends the signal; one per request would flood the stream.
    """
    for bucket in full:
        if ThrottleBucket.objects.mark_announced(bucket):
            logger.warning("The rate limit %s is reached.", bucket.rule)
            signals.request_throttled.announce(rule=bucket.rule, **subject._asdict())
    now = timezone.now()
    seconds = [math.ceil((bucket.resets_at - now).total_seconds()) for bucket in full]
    return ThrottledError(retry_after=max([1, *seconds]))
