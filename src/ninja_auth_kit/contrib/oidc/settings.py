"""The dict `OIDC` in `NINJA_AUTH_KIT`: its rows and what their values may be."""

import os
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from ninja_auth_kit import setting_rules as rules
from ninja_auth_kit.setting_rules import ASYMMETRIC_ALGORITHMS, Rule, Setting, is_word

GROUP = "Providers"
AUTH_METHODS = ("client_secret_basic", "client_secret_post", "none")
PRESETS = ("apple", "github", "google", "microsoft")
LONGEST_URI = 500  # of a redirect URI, which a flow token contains
LONGEST_ISSUER = 200  # which the row of an identity contains, with a tenant in place of the template

_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
# A scheme of an app has a dot (RFC 8252 section 7.1). Those of browsers, such as `javascript`, have no dot.
_APP_SCHEME = re.compile(r"[a-z][a-z0-9+-]*(\.[a-z0-9+-]+)+")


def is_redirect_uri(value: Any) -> bool:
    """Return whether a value is an absolute URI without a fragment: of a web page, or of an app.

    Its path may contain `{provider}`.
    """
    if not is_word(value) or not value.isascii() or len(value) > LONGEST_URI:
        return False
    if set("#\\{}") & set(value.replace("{provider}", "")):
        return False
    try:
        parts = urlsplit(value)
        has_port = parts.port != 0
    except ValueError:
        return False
    if parts.scheme in {"http", "https"}:
        return bool(parts.hostname) and has_port and not {"@", "*", "{"} & set(parts.netloc)
    return _APP_SCHEME.fullmatch(parts.scheme) is not None


def is_url(value: Any) -> bool:
    """Return whether a value is the URL of a provider: absolute, without credentials, query and fragment."""
    if not is_word(value) or not value.isascii() or set("?#@*\\") & set(value):
        return False
    try:
        parts = urlsplit(value)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_boolean(value: Any) -> bool:
    return isinstance(value, bool)


def _are_words(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(map(is_word, value))


# What the members of a provider may be.
MEMBERS: Mapping[str, Callable[[Any], bool]] = {
    "preset": lambda value: value in PRESETS,
    "issuer": lambda value: (
        isinstance(value, str) and len(value) <= LONGEST_ISSUER and is_url(value.replace("{tenantid}", "tenant"))
    ),
    "client_ids": _are_words,
    "client_secret": _is_text,
    "auth_method": lambda value: value in AUTH_METHODS,
    "scope": _is_text,
    "name": lambda value: value is not None and rules.SITE_NAME.allows(value),
    "email_trusted": _is_boolean,
    "links_verified_email": _is_boolean,
    "ca_file": lambda value: isinstance(value, str | os.PathLike),
    "algorithms": lambda value: _are_words(value) and set(value) <= set(ASYMMETRIC_ALGORITHMS),
    "tenant": is_word,
    "tenants": _are_words,
    "team_id": is_word,
    "key_id": is_word,
    "private_key": _is_text,
    "api": is_url,
}


def _is_provider(value: Any) -> bool:
    return isinstance(value, dict) and all(name in MEMBERS and MEMBERS[name](one) for name, one in value.items())


def _are_providers(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(key, str) and _ID.fullmatch(key) is not None and _is_provider(one) for key, one in value.items()
    )


def _are_redirect_uris(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(map(is_redirect_uri, value))


SETTINGS = {
    "PROVIDERS": Setting(
        {},
        Rule(
            _are_providers,
            "a dict from ids, in lower case letters and digits, to dicts with any of " + ", ".join(MEMBERS),
        ),
        GROUP,
        "The [providers](features/providers.md), by the id that is in the paths of the endpoints.",
    ),
    "REDIRECT_URIS": Setting(
        [],
        Rule(_are_redirect_uris, "a list of URIs without a fragment, such as 'https://example.com/login/{provider}'"),
        GROUP,
        "The pages of your front end to which a provider may send the browser back, exactly as they are registered "
        "there. `{provider}` is replaced by the id of the provider.",
    ),
    "REGISTERS": Setting(
        True,
        rules.BOOLEAN,
        GROUP,
        "Whether a provider that is trusted for email addresses also registers an address that has no account, if "
        "`REGISTRATION_OPEN` is on.",
    ),
}
