"""The system checks of passkeys. Without them, a mistake shows as an error in the browser only.

- E019: the app of all second factors is not installed
- E020: the extra `passkeys` is not installed
- E021: RP_ID is an IP address, or not a domain of an origin
- E022: an origin is not https

The app registers them. An import alone does not, because they read settings that only the installed app has.
"""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from django.apps import apps
from django.core.checks import CheckMessage

from ninja_auth_kit.checks.messages import error
from ninja_auth_kit.checks.settings import are_valid
from ninja_auth_kit.contrib.passkeys.settings import is_address, is_android_app, origins, rp_id


def check_requirements(**_: Any) -> list[CheckMessage]:
    """E019 and E020. The library is not imported here, because that takes over half a second."""
    found: list[CheckMessage] = []
    if not apps.is_installed("ninja_auth_kit.contrib.factors"):
        hint = "Add 'ninja_auth_kit.contrib.factors' to INSTALLED_APPS, before it."
        found.append(error("E019", "ninja_auth_kit.contrib.passkeys requires ninja_auth_kit.contrib.factors.", hint))
    if find_spec("webauthn") is None:
        hint = "Install the extra: pip install 'django-ninja-auth-kit[passkeys]'."
        found.append(error("E020", "ninja_auth_kit.contrib.passkeys requires the package webauthn.", hint))
    return found


def check_relying_party(**_: Any) -> list[CheckMessage]:
    """E021 and E022: what browsers refuse (WebAuthn Level 3 sections 5.1.3 and 13.4.9)."""
    if not are_valid():
        return []
    try:
        domain, allowed = rp_id(), origins()
    except ValueError:
        hint = "Set RP_ID and ORIGINS in NINJA_AUTH_KIT['PASSKEYS'], or correct BASE_URL."
        return [error("E021", "The host of BASE_URL is not a domain that passkeys can be bound to.", hint)]
    return [*_wrong_domain(domain, allowed), *_unsafe_origins(allowed)]


def _wrong_domain(domain: str, allowed: tuple[str, ...]) -> Iterator[CheckMessage]:
    if is_address(domain) or ("." not in domain and domain != "localhost"):
        yield error(
            "E021",
            f"The domain of passkeys, {domain!r}, is an IP address or a top-level domain.",
            "Set NINJA_AUTH_KIT['PASSKEYS']['RP_ID'] to the domain of your site, such as 'example.com'. Browsers "
            "accept no other. On your machine, use http://localhost:8000.",
        )
        return
    for origin in filter(lambda one: not is_android_app(one), allowed):
        host = urlsplit(origin).hostname or ""
        if host != domain and not host.endswith(f".{domain}"):
            yield error(
                "E021",
                f"The origin {origin!r} is not on the domain of passkeys, {domain!r}.",
                "Set NINJA_AUTH_KIT['PASSKEYS']['RP_ID'] to a domain that all your origins end with, or "
                "correct NINJA_AUTH_KIT['PASSKEYS']['ORIGINS'] or BASE_URL. If your domain publishes the origin at "
                "/.well-known/webauthn, silence this error.",
            )


def _unsafe_origins(allowed: tuple[str, ...]) -> Iterator[CheckMessage]:
    for origin in allowed:
        parts = urlsplit(origin)
        is_local = parts.hostname == "localhost" or (parts.hostname or "").endswith(".localhost")
        if parts.scheme == "http" and not is_local:
            yield error(
                "E022",
                f"The origin of passkeys {origin!r} is not https.",
                "Serve the page by https, and correct NINJA_AUTH_KIT['PASSKEYS']['ORIGINS'] or BASE_URL. Browsers "
                "allow passkeys on https and on http://localhost only.",
            )
