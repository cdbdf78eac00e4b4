"""The dict `PASSKEYS` in `NINJA_AUTH_KIT`, and the relying party that it describes."""

import ipaddress
import re
from typing import Any
from urllib.parse import urlsplit

from ninja_auth_kit import setting_rules as rules
from ninja_auth_kit.conf import settings
from ninja_auth_kit.contrib.passkeys.structures import RelyingParty
from ninja_auth_kit.domains import InvalidDomainError, ascii_domain
from ninja_auth_kit.setting_rules import Rule, Setting

GROUP = "Passkeys"

_DEFAULT_PORTS = {"http": 80, "https": 443}
# The SHA-256 of the certificate that signs the app, in unpadded base64url.
_ANDROID_APP = re.compile(r"android:apk-key-hash:[A-Za-z0-9_-]{43}")


def origin_of(url: str) -> str:
    """Return the origin of a URL as browsers write it (RFC 6454 section 6.2): in ASCII, without a default port.

    Raises:
        ValueError: the URL has no scheme or no host that a browser knows.
    """
    parts = urlsplit(url)
    host, port = parts.hostname, parts.port
    if parts.scheme not in _DEFAULT_PORTS or not host:
        raise ValueError("An origin must begin with http:// or https:// and a host.")
    name = f"[{host}]" if ":" in host else ascii_domain(host)
    return f"{parts.scheme}://{name}" + (f":{port}" if port not in {None, _DEFAULT_PORTS[parts.scheme]} else "")


def is_android_app(origin: str) -> bool:
    """Return whether an origin is that of an Android app."""
    return _ANDROID_APP.fullmatch(origin) is not None


def is_address(host: str) -> bool:
    """Return whether a host is an IP address, which browsers do not accept as an `rpId`."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_domain(value: Any) -> bool:
    try:
        return isinstance(value, str) and ascii_domain(value) == value
    except InvalidDomainError:
        return False


def _is_origin(value: Any) -> bool:
    try:
        return isinstance(value, str) and (is_android_app(value) or origin_of(value) == value)
    except ValueError:  # InvalidDomainError is one
        return False


def _are_origins(value: Any) -> bool:
    return value is None or (isinstance(value, list | tuple) and bool(value) and all(map(_is_origin, value)))


SETTINGS = {
    "RP_ID": Setting(
        None,
        Rule(
            lambda value: value is None or _is_domain(value),
            "a domain in lower case and ASCII, such as 'example.com', without a scheme and a port, or None",
        ),
        GROUP,
        "The domain to which passkeys are bound: the host of your pages, or a parent domain. With None, the host of "
        "`BASE_URL`. If you change it, no passkey works any more.",
    ),
    "RP_NAME": Setting(
        None, rules.SITE_NAME, GROUP, "The name that the dialog of the browser shows. With None, `SITE_NAME`."
    ),
    "ORIGINS": Setting(
        None,
        Rule(
            _are_origins,
            "a list of origins as browsers write them, such as 'https://example.com' without a path or a slash at the "
            "end, or 'android:apk-key-hash:' and the hash of a certificate, or None",
        ),
        GROUP,
        "The origins of the pages and Android apps that may use passkeys. With None, that of `BASE_URL`.",
    ),
    "LIMIT": Setting(20, rules.integer(1, 100), GROUP, "How many passkeys a user may have."),
    "GUARDS_PASSWORD": Setting(
        True,
        rules.BOOLEAN,
        GROUP,
        "Whether a user who has a passkey needs a second factor after a password, a code or a provider.",
    ),
}


def relying_party() -> RelyingParty:
    """Return the relying party: what `PASSKEYS` says, and for the rest what `BASE_URL` and `SITE_NAME` say."""
    return RelyingParty(rp_id(), settings.PASSKEYS["RP_NAME"] or settings.SITE_NAME, origins())


def rp_id() -> str:
    """Return the domain that passkeys are bound to."""
    return settings.PASSKEYS["RP_ID"] or _host(_default_origin())


def origins() -> tuple[str, ...]:
    """Return the origins that may use passkeys."""
    return tuple(settings.PASSKEYS["ORIGINS"] or [_default_origin()])


def _default_origin() -> str:
    """Return the origin of `BASE_URL`, with `localhost` in place of an address of this machine.

    A browser refuses an address as an `rpId`, and `runserver` listens on 127.0.0.1.
    """
    origin = origin_of(settings.BASE_URL or "http://localhost")  # E007 reports that BASE_URL is missing
    host = _host(origin)
    if is_address(host) and ipaddress.ip_address(host).is_loopback:
        return origin.replace(f"[{host}]" if ":" in host else host, "localhost", 1)
    return origin


def _host(origin: str) -> str:
    return urlsplit(origin).hostname or ""
