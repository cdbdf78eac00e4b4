"""What providers publish about themselves: their endpoints, for an hour, and their signing keys."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

from ninja_auth_kit.contrib.oidc import http_client
from ninja_auth_kit.contrib.oidc.exceptions import ProviderUnavailableError
from ninja_auth_kit.contrib.oidc.http_client import Deadline, ProviderRequest, logger
from ninja_auth_kit.contrib.oidc.providers import Provider, is_safe_url
from ninja_auth_kit.strict_json import parse_object

LIFETIME = 3600.0  # seconds that metadata and keys are kept
KEYS_AGAIN = 60.0  # seconds after which an unknown key id may cause another request
# How old metadata may be while the provider fails. Its former keys are not used, because they may have been revoked.
FORMER = 86_400.0

_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")


@dataclass(frozen=True)
class Metadata:
    """The metadata of a provider (OpenID Connect Discovery 1.0 section 3).

    Attributes:
        auth_methods: how a client may authenticate at the token endpoint; empty if the provider does not say.
        promises_issuer: whether each answer names the issuer (RFC 9207 section 3).
        userinfo_endpoint: where the access token gets claims that the ID token lacks, or None.
    """

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    auth_methods: tuple[str, ...] = ()
    promises_issuer: bool = False
    userinfo_endpoint: str | None = None


@dataclass(frozen=True)
class _Kept:
    value: Any
    at: float

    def is_younger_than(self, seconds: float) -> bool:
        return monotonic() - self.at < seconds


_kept: dict[tuple[str, str, str | None], _Kept] = {}
_lock = threading.Lock()  # of the dict alone: no thread waits for a provider while it has the lock


def forget() -> None:
    """Forget what was read. Tests call this."""
    with _lock:
        _kept.clear()
    http_client.end_pauses()


def metadata_of(provider: Provider, deadline: Deadline) -> Metadata:
    """Return the metadata of a provider.

    Raises:
        ProviderUnavailableError: it cannot be read, names another issuer, or has an endpoint that is not https.
    """
    if not provider.is_openid:
        return Metadata(f"{provider.issuer}/authorize", f"{provider.issuer}/access_token", "")
    key = (provider.metadata_url, provider.metadata_issuer, provider.ca_file)
    kept = _kept.get(key)
    if kept is None or not kept.is_younger_than(LIFETIME):
        kept = _read_again(key, kept, lambda: _parsed(_read(provider.metadata_url, provider, deadline), provider))
    found: Metadata = kept.value
    return found


def _parsed(document: Mapping[str, Any], provider: Provider) -> Metadata:
    if document.get("issuer") != provider.metadata_issuer:
        raise _unusable(provider, "the metadata names another issuer")
    endpoints: Any = [document.get(name) for name in _ENDPOINTS]
    if not all(isinstance(one, str) and is_endpoint(one) for one in endpoints):
        raise _unusable(provider, "an endpoint in the metadata is missing or is not https")
    authorization, token, keys = endpoints
    methods = document.get("token_endpoint_auth_methods_supported")
    known = tuple(one for one in methods if isinstance(one, str)) if isinstance(methods, list) else ()
    promises_issuer = document.get("authorization_response_iss_parameter_supported") is True
    claims = document.get("userinfo_endpoint")
    userinfo = claims if isinstance(claims, str) and is_endpoint(claims) else None
    return Metadata(authorization, token, keys, known, promises_issuer, userinfo)


def is_endpoint(url: str) -> bool:
    """Return whether the address of an endpoint can be requested: ASCII without white space, and https."""
    try:
        return url.isascii() and url.isprintable() and not {" ", "#", "\\", "@"} & set(url) and is_safe_url(url)
    except ValueError:
        return False


def keys_of(provider: Provider, deadline: Deadline, *, kid: str | None) -> list[Mapping[str, Any]]:
    """Return the signing keys of a provider (RFC 7517 section 5).

    Args:
        provider: one that issues ID tokens.
        deadline: the time until which it must have answered.
        kid: the id of the key that is needed. If it is unknown, or a token names none, the keys are read again, at
            most once a minute.

    Raises:
        ProviderUnavailableError: the keys cannot be read.
    """
    uri = metadata_of(provider, deadline).jwks_uri
    key = (uri, "keys", provider.ca_file)
    kept = _kept.get(key)
    if kept is None or not kept.is_younger_than(LIFETIME if _has(kept, kid) else KEYS_AGAIN):
        kept = _read_again(key, None, lambda: _listed(_read(uri, provider, deadline), provider))
    found: list[Mapping[str, Any]] = kept.value
    return found


def _has(kept: _Kept, kid: str | None) -> bool:
    return kid is not None and any(key.get("kid") == kid for key in kept.value)


def _listed(document: Mapping[str, Any], provider: Provider) -> list[Mapping[str, Any]]:
    keys = document.get("keys")
    if not isinstance(keys, list):
        raise _unusable(provider, "the list of keys is malformed")
    return [key for key in keys if isinstance(key, dict)]


def _read_again(key: tuple[str, str, str | None], former: _Kept | None, read: Callable[[], Any]) -> _Kept:
    """Read something and keep it; while that fails, return the former value if there is one."""
    try:
        kept = _Kept(read(), monotonic())
    except ProviderUnavailableError:
        if former is None or not former.is_younger_than(FORMER):
            raise
        return former
    with _lock:
        _kept[key] = kept
    return kept


def _read(url: str, provider: Provider, deadline: Deadline) -> dict[str, Any]:
    answer = http_client.send(ProviderRequest(url, ca_file=provider.ca_file), deadline)
    try:
        document = parse_object(answer.body)
    except ValueError:
        document = {}
    if answer.status != 200 or not document:
        raise _unusable(provider, "an answer is not a JSON object")
    return document


def _unusable(provider: Provider, what: str) -> ProviderUnavailableError:
    logger.error("The provider %s cannot be used: %s.", provider.id, what)
    return ProviderUnavailableError()
