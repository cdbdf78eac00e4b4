"""Events of limits."""

from dataclasses import dataclass

from ninja_auth_kit.audit.events.envelope import Event
from ninja_auth_kit.audit.events.registry import event


@dataclass(frozen=True, kw_only=True)
class ThrottleDetails:
    """The rule of `THROTTLES` whose limit was reached."""

    rule: str


@event(
    "request.throttled",
    route="request.throttled.failure",
    signal="request_throttled",
    by="anonymous",
    fact=True,
)
class RequestThrottled(Event):
    """A limit of `THROTTLES` was reached; told once for each window of it."""

    details: ThrottleDetails
