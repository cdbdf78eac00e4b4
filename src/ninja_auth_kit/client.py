"""Who is calling: the address, the browser and the request id, taken from a request and made safe to store."""

import ipaddress
import re
import uuid
from dataclasses import dataclass
from functools import cached_property

from django.http import HttpRequest

from ninja_auth_kit.conf import settings

USER_AGENT_LENGTH = 256
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_WITH_PORT = re.compile(r"(?:\[([^\]]+)\]|([0-9.]+)):[0-9]{1,5}")  # as some proxies note a hop
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True)
class ClientInfo:
    """One caller in one request.

    Attributes:
        ip_address: the caller's address, or None where the server does not know it (a Unix socket).
        user_agent: at most 256 printable characters.
        request_id: the `X-Request-ID` of the request where it is a plain word, otherwise a new one.
        traceparent: the W3C trace context of the request, or "".
    """

    ip_address: str | None = None
    user_agent: str = ""
    request_id: str = ""
    traceparent: str = ""

    @cached_property
    def network(self) -> str | None:
        """What counts as one caller: an IPv4 address, or an IPv6 /64, of which one customer has them all."""
        if self.ip_address is None:
            return None
        prefix = 32 if ipaddress.ip_address(self.ip_address).version == 4 else 64
        return str(ipaddress.ip_network(f"{self.ip_address}/{prefix}", strict=False))

    @classmethod
    def of(cls, request: HttpRequest) -> "ClientInfo":
        """Read the caller from a request. Control characters go: they forge log lines (ASVS 16.4.1)."""
        request_id = request.META.get("HTTP_X_REQUEST_ID", "")
        traceparent = request.META.get("HTTP_TRACEPARENT", "")
        return cls(
            ip_address=_ip_address(request),
            user_agent=_UNPRINTABLE.sub(" ", request.META.get("HTTP_USER_AGENT", ""))[:USER_AGENT_LENGTH],
            request_id=request_id if _REQUEST_ID.fullmatch(request_id) else uuid.uuid4().hex,
            traceparent=traceparent if _TRACEPARENT.fullmatch(traceparent) else "",
        )


def _ip_address(request: HttpRequest) -> str | None:
    """The peer, or the hop that the outermost of our own proxies saw.

    Every hop to the left of ours was written by the caller and proves nothing (ASVS 4.1.3), so the header counts
    only with `TRUSTED_PROXY_COUNT`, and a chain shorter than that is a forgery.
    """
    peer = _parsed(request.META.get("REMOTE_ADDR", ""))
    trusted = settings.TRUSTED_PROXY_COUNT
    if not trusted:
        return peer
    hops = _forwarded_for(request).split(",")
    if len(hops) < trusted:
        return peer
    return _parsed(hops[-trusted]) or peer


def _forwarded_for(request: HttpRequest) -> str:
    """Return `X-Forwarded-For` in this spelling alone: under ASGI `META` may mix in `X_Forwarded_For`.

    CVE-2026-3902.
    """
    scope = getattr(request, "scope", None)
    if scope is None:
        return str(request.META.get("HTTP_X_FORWARDED_FOR", ""))
    return b",".join(value for name, value in scope["headers"] if name.lower() == b"x-forwarded-for").decode("latin1")


def _parsed(text: str) -> str | None:
    with_port = _WITH_PORT.fullmatch(text.strip())
    try:
        address = ipaddress.ip_address((with_port[1] or with_port[2]) if with_port else text.strip())
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address).partition("%")[0]
