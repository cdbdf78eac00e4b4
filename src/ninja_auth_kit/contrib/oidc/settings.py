"""The dict `OIDC` in `NINJA_AUTH_KIT`: its rows and what their values may be."""

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from ninja_auth_kit import setting_rules as rules
from ninja_auth_kit.setting_rules import ASYMMETRIC_ALGORITHMS, Fault, Rule, Setting, is_word

GROUP = "Providers"
AUTH_METHODS = ("client_secret_basic", "client_secret_post", "none")
PRESETS = ("apple", "github", "google", "microsoft")
LONGEST_URI = 500  # of a redirect URI, which a flow token contains
LONGEST_ISSUER = 200  # which the row of an identity contains, with a tenant in place of the template

_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_ID_TEXT = "at most 40 lower case letters, digits, hyphens and underscores, of which the first is a letter or a digit"
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


_BOOLEAN = Rule(_is_boolean, "True or False")
_TEXT = Rule(_is_text, "a string that is not empty")
_WORD = Rule(is_word, "a string without spaces that is not empty")
_WORDS = Rule(_are_words, "a list of strings that are not empty and have no spaces")

# What the members of a provider may be.
MEMBERS: Mapping[str, Rule] = {
    "preset": Rule(lambda value: value in PRESETS, f"one of {', '.join(PRESETS)}"),
    "issuer": Rule(
        lambda value: (
            isinstance(value, str) and len(value) <= LONGEST_ISSUER and is_url(value.replace("{tenantid}", "tenant"))
        ),
        f"a URL with at most {LONGEST_ISSUER} characters, without a query or a fragment, such as "
        "'https://id.example.com'",
    ),
    "client_ids": _WORDS,
    "client_secret": _TEXT,
    "auth_method": Rule(lambda value: value in AUTH_METHODS, f"one of {', '.join(AUTH_METHODS)}"),
    "scope": _TEXT,
    "name": Rule(
        lambda value: value is not None and rules.SITE_NAME.allows(value),
        "a string of one line with at most 100 characters",
    ),
    "email_trusted": _BOOLEAN,
    "links_verified_email": _BOOLEAN,
    "ca_file": Rule(lambda value: isinstance(value, str | os.PathLike), "a path"),
    "algorithms": Rule(
        lambda value: _are_words(value) and set(value) <= set(ASYMMETRIC_ALGORITHMS),
        f"a list with any of {', '.join(ASYMMETRIC_ALGORITHMS)}",
    ),
    "tenant": _WORD,
    "tenants": _WORDS,
    "team_id": _WORD,
    "key_id": _WORD,
    "private_key": _TEXT,
    "api": Rule(is_url, "a URL without a query or a fragment, such as 'https://api.github.com'"),
}
_LISTS = ("client_ids", "algorithms", "tenants")
_CHOICES = {"preset": PRESETS, "auth_method": AUTH_METHODS}


def faults_of_providers(value: Any) -> Iterator[Fault]:
    """Yield what is wrong in `PROVIDERS`, by provider and member.

    No value of a member is named, because it may be a secret.
    """
    if not isinstance(value, dict):
        return
    for key, members in value.items():
        where = f"[{key!r}]"
        if not (isinstance(key, str) and _ID.fullmatch(key)):
            yield Fault("", f"has the id {key!r}, which must be {_ID_TEXT}", _hint_for_id(key))
        if not isinstance(members, dict):
            yield Fault(where, f"must be a dict{_type_of(members)}", f"Its members are {', '.join(MEMBERS)}.")
            continue
        for name, one in members.items():
            rule = MEMBERS.get(name)
            if rule is None:
                yield Fault(where, f"has no member {name!r}", word=name, known=tuple(MEMBERS))
            elif not rule.allows(one):
                expected = list | tuple if name in _LISTS else str
                got = "" if isinstance(one, expected) else _type_of(one)
                text = f"must be {rule.text}{got}"
                yield Fault(f"{where}[{name!r}]", text, word=one, known=_CHOICES.get(name, ()))


def _type_of(value: Any) -> str:
    return f" (got a value of the type {type(value).__name__})"


def _hint_for_id(key: Any) -> str:
    lower = str(key).lower()
    return f"Use {lower!r}." if _ID.fullmatch(lower) else "Use another id, such as 'google' or 'staff'."


def _are_providers(value: Any) -> bool:
    return isinstance(value, dict) and not any(True for _ in faults_of_providers(value))


def _are_redirect_uris(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(map(is_redirect_uri, value))


SETTINGS = {
    "PROVIDERS": Setting(
        {},
        Rule(
            _are_providers,
            "a dict from ids, in lower case letters, digits, hyphens and underscores, to dicts with any of "
            + ", ".join(MEMBERS),
        ),
        GROUP,
        "The [providers](features/providers.md), by the id that is in the paths of the endpoints.",
        faults=faults_of_providers,
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
