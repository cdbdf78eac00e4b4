"""The client of a request: its IP address, user agent and request id, cleaned for storage."""

import ipaddress
import re
import uuid
from dataclasses import dataclass
from functools import cached_property

from django.http import HttpRequest

from ninja_auth_kit.conf import settings

USER_AGENT_LENGTH = 256
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_WITH_PORT = re.compile(r"(?:\[([^\]]+)\]|([0-9.]+)):[0-9]{1,5}")  # some proxies add the port
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True)
class ClientInfo:
    """The client of one request.

    Attributes:
        ip_address: the client's IP address, or None if the server does not know it (a Unix socket).
        user_agent: the `User-Agent`, at most 256 printable characters.
        request_id: the `X-Request-ID`, if it is at most 64 letters, digits, dots, dashes and
            underscores; otherwise a new one.
        traceparent: the W3C trace context of the request, or "".
    """

    ip_address: str | None = None
    user_agent: str = ""
    request_id: str = ""
    traceparent: str = ""

    @cached_property
    def network(self) -> str | None:
        """What counts as one client: an IPv4 address, or an IPv6 /64.

        One customer has all addresses of a /64.
        """
        if self.ip_address is None:
            return None
        prefix = 32 if ipaddress.ip_address(self.ip_address).version == 4 else 64
        return str(ipaddress.ip_network(f"{self.ip_address}/{prefix}", strict=False))

    @classmethod
    def of(cls, request: HttpRequest) -> "ClientInfo":
        """Return the client of a request.

        Control characters are replaced, because they can forge log lines (ASVS 16.4.1).
        """
        request_id = _header(request, "HTTP_X_REQUEST_ID")
        traceparent = _header(request, "HTTP_TRACEPARENT")
        return cls(
            ip_address=_ip_address(request),
            user_agent=_UNPRINTABLE.sub(" ", _header(request, "HTTP_USER_AGENT"))[:USER_AGENT_LENGTH],
            request_id=request_id if _REQUEST_ID.fullmatch(request_id) else uuid.uuid4().hex,
            traceparent=traceparent if _TRACEPARENT.fullmatch(traceparent) else "",
        )


def _header(request: HttpRequest, name: str) -> str:
    """Return a value of `META`, or "". Servers set text, but tests also set None and other objects."""
    value = request.META.get(name)
    return "" if value is None else str(value)


def _ip_address(request: HttpRequest) -> str | None:
    """Return the address of the peer or, behind trusted proxies, the one that the outermost has seen.

    The entries of `X-Forwarded-For` to the left of that one are written by the client and prove
    nothing (ASVS 4.1.3). So the header is ignored without `TRUSTED_PROXY_COUNT`, and if it has
    fewer entries than that, it is forged.
    """
    peer = _parsed(_header(request, "REMOTE_ADDR"))
    trusted = settings.TRUSTED_PROXY_COUNT
    if not trusted:
        return peer
    hops = _forwarded_for(request).split(",")
    if len(hops) < trusted:
        return peer
    return _parsed(hops[-trusted]) or peer


def _forwarded_for(request: HttpRequest) -> str:
    """Return the header `X-Forwarded-For` in exactly this spelling.

    Under ASGI, `META` may mix in `X_Forwarded_For` (CVE-2026-3902).
    """
    scope = getattr(request, "scope", None)
    if scope is None:
        return _header(request, "HTTP_X_FORWARDED_FOR")
    return b",".join(value for name, value in scope["headers"] if name.lower() == b"x-forwarded-for").decode("latin1")


def _parsed(text: str) -> str | None:
    with_port = _WITH_PORT.fullmatch(text.strip())
    try:
        address = ipaddress.ip_address((with_port[1] or with_port[2]) if with_port else text.strip())
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address).partition("%")[0]
