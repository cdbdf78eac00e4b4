"""The origins whose pages may use cookie mode (RFC 6454 section 6.2)."""

import re
from typing import Any
from urllib.parse import urlsplit

from ninja_auth_kit.conf import settings
from ninja_auth_kit.domains import ascii_domain
from ninja_auth_kit.setting_rules import Rule, is_word

_DEFAULT_PORTS = {"http": 80, "https": 443}
_ORIGIN = re.compile(r"https?://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]+)?")
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def allowed_origins() -> frozenset[str]:
    """Return the origins of `COOKIES["ORIGINS"]`, or else that of `BASE_URL`, as browsers send them."""
    configured = settings.COOKIES["ORIGINS"]
    if configured is None:
        configured = [settings.BASE_URL] if settings.BASE_URL else []
    return frozenset(map(origin_of, configured))


def origin_of(url: str) -> str:
    """Return the origin of a URL as a browser writes it: in lower case, in ASCII, without a default port.

    Raises:
        ValueError: the URL has no valid host or port.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if not host.isascii():
        host = ascii_domain(host)
    if ":" in host:
        host = f"[{host}]"
    port = parts.port
    return f"{parts.scheme}://{host}" + ("" if port in {None, _DEFAULT_PORTS.get(parts.scheme)} else f":{port}")


def _is_origin(value: Any) -> bool:
    """Return whether a value is an origin over https, or over http on this machine: browsers keep no other cookie."""
    if not is_word(value):
        return False
    try:
        parts, origin = urlsplit(value), origin_of(value)
    except ValueError:
        return False
    is_local = parts.hostname in _LOOPBACK or str(parts.hostname).endswith(".localhost")
    is_bare = "@" not in value and value.lower() == f"{parts.scheme}://{parts.netloc}".lower()
    return is_bare and bool(_ORIGIN.fullmatch(origin)) and (parts.scheme == "https" or is_local)


def _are_origins(value: Any) -> bool:
    return value is None or (isinstance(value, list | tuple) and bool(value) and all(map(_is_origin, value)))


ORIGINS = Rule(
    _are_origins,
    "a list of origins, such as ['https://app.example.com'], over http only on localhost, or None",
)
