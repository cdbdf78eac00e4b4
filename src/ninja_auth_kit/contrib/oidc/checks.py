"""The system checks of providers.

- E019: the app of all second factors is not installed
- E020: nor are the packages of the extra
- E024: a provider lacks what it needs, or is not https
- E025: a redirect URI is not https
- E029: providers share a redirect URI
- E028: a registration by a provider cannot fill a field
- W033: a provider of the project's own is trusted for email addresses
- W035: links_verified_email has no effect for a provider

The app registers them. An import alone does not, because they read settings that only the installed app has.
"""

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage

from ninja_auth_kit.checks.messages import error, warning
from ninja_auth_kit.checks.settings import are_valid, fields_of_registration
from ninja_auth_kit.checks.users_and_database import must_be_filled
from ninja_auth_kit.conf import settings
from ninja_auth_kit.contrib.oidc.providers import PROVIDER, TENANT, Provider, is_safe_url, preset_of, providers

_NEEDED = ("cryptography", "urllib3")
# What the web flow with a preset needs. Another provider may accept a public client, which has no secret.
_SECRETS = {
    "apple": ["team_id", "key_id", "private_key"],
    "github": ["client_secret"],
    "google": ["client_secret"],
    "microsoft": ["client_secret"],
}
# The presets that are the authority of any address: see `claims`.
_AUTHORITIES = ("apple", "google", "microsoft")
_LOCAL = "Use https. While DEBUG is on, http is allowed on this machine."


def check_requirements(**_: Any) -> list[CheckMessage]:
    """E019 and E020."""
    found: list[CheckMessage] = []
    if not apps.is_installed("ninja_auth_kit.contrib.factors"):
        hint = "Add 'ninja_auth_kit.contrib.factors' to INSTALLED_APPS, before it."
        found.append(error("E019", "ninja_auth_kit.contrib.oidc requires ninja_auth_kit.contrib.factors.", hint))
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        hint = "Install the extra: pip install 'django-ninja-auth-kit[oidc]'."
        found.append(error("E020", f"ninja_auth_kit.contrib.oidc requires {', '.join(missing)}.", hint))
    return found


def check_providers(**_: Any) -> list[CheckMessage]:
    """E024, W033 and W035."""
    if not are_valid():
        return []
    found: list[CheckMessage] = []
    complete = providers()
    for key, configured in settings.OIDC["PROVIDERS"].items():
        found.extend(_incomplete(key, configured))
        if key in complete:
            found.extend(_faults(key, complete[key]))
    return found


def _incomplete(key: str, configured: Mapping[str, Any]) -> Iterator[CheckMessage]:
    for needed in _missing(key, configured):
        message = f"The provider {key!r} in NINJA_AUTH_KIT['OIDC']['PROVIDERS'] has no {needed}."
        if needed == "issuer":
            presets = ", ".join(_SECRETS)
            hint = f"Add 'issuer' to it. If it is one of {presets}, correct the id or set 'preset'."
            yield error("E024", message, hint)
        elif needed == "tenants":
            yield error("E024", message, "Set 'tenant' to the id of your tenant, or list 'tenants'.")
        else:
            yield error("E024", message, f"Add {needed!r} to it.")


def _missing(key: str, configured: Mapping[str, Any]) -> list[str]:
    preset = preset_of(key, configured)
    needed = ["client_ids"] if preset else ["issuer", "client_ids"]
    if preset == "microsoft" and configured.get("tenant", "common") in ("common", "organizations"):
        needed.append("tenants")  # otherwise everyone who makes a tenant could log in
    if settings.OIDC["REDIRECT_URIS"]:  # native apps need no secret
        needed += _SECRETS.get(preset, [])
    return [name for name in needed if not configured.get(name)]


def _faults(key: str, provider: Provider) -> Iterator[CheckMessage]:
    where = f"NINJA_AUTH_KIT['OIDC']['PROVIDERS'][{key!r}]"
    for name in ("issuer", "api"):
        url = getattr(provider, name)
        if url and not is_safe_url(url):
            yield error("E024", f"The {name} of the provider {key!r} is not https.", _LOCAL)
    if TENANT in provider.issuer and provider.preset != "microsoft":
        yield error("E024", f"The issuer of the provider {key!r} is a template.", f"Set {where}['preset'].")
    if provider.ca_file is not None and not Path(provider.ca_file).is_file():
        hint = f"Correct {where}['ca_file'], or make the file readable for this process."
        yield error("E024", f"The file of certificate authorities of the provider {key!r} does not exist.", hint)
    if provider.email_trusted and not provider.preset:
        yield warning(
            "W033",
            f"The provider {key!r} is trusted for email addresses.",
            f"Remove {where}['email_trusted'] unless the provider sends an email to each address before it says "
            "email_verified, and no user can change the address without another email. It registers accounts for the "
            "addresses that it names. Silence this warning if so.",
        )
    if provider.links_verified_email and provider.preset not in _AUTHORITIES:
        yield warning(
            "W035",
            f"'links_verified_email' has no effect for the provider {key!r}.",
            f"Remove {where}['links_verified_email']: only Apple, Google and Microsoft administer addresses. The user "
            "logs in another way, and links the provider.",
        )


def check_redirect_uris(**_: Any) -> list[CheckMessage]:
    """E025: a code that is sent by http can be read on the way (RFC 9700 section 4.1.1)."""
    if not are_valid():
        return []
    return [
        error("E025", f"The redirect URI {uri!r} in NINJA_AUTH_KIT['OIDC']['REDIRECT_URIS'] is not https.", _LOCAL)
        for uri in settings.OIDC["REDIRECT_URIS"]
        if uri.startswith("http:") and not is_safe_url(uri)
    ]


def check_shared_redirect_uris(**_: Any) -> list[CheckMessage]:
    """E029: an own provider could get the codes of another one (RFC 9700 section 4.4, the mix-up attack).

    Attack: the provider sends the browser on to another provider, with an address in which only the state is its own.
    The front end takes the answer for one of the first provider, and hands the code to it. Those of the presets are
    taken for honest.
    """
    if not are_valid():
        return []
    found = providers()
    if len(found) < 2 or all(one.preset for one in found.values()):
        return []
    return [
        error(
            "E029",
            f"All providers send the browser back to {uri!r}, so one of them could get the codes of another one.",
            "Put {provider} into its path, such as 'https://example.com/login/{provider}', register the address of "
            "each provider there, and let the page pass on an answer only if its path names the provider of the flow. "
            "See docs/features/providers.md.",
        )
        for uri in settings.OIDC["REDIRECT_URIS"]
        if PROVIDER not in uri
    ]


def check_required_fields(**_: Any) -> list[CheckMessage]:
    """E028: a registration by a provider has no fields but the email address and the username."""
    if not are_valid() or not any(one.email_trusted for one in providers().values()):
        return []
    if not settings.OIDC["REGISTERS"] or settings.CREATE_USER is not None:
        return []
    model: Any = get_user_model()
    asked_for = set(fields_of_registration())
    return [
        error(
            "E028",
            f"A registration by a provider cannot fill {model.__name__}.{field.name}.",
            "Only REGISTRATION_SCHEMA has the field. Set CREATE_USER to a function that fills it, set null=True or "
            "a default (for a unique field, a callable that returns a new value each time), or set "
            "NINJA_AUTH_KIT['OIDC']['REGISTERS'] to False.",
        )
        for field in model._meta.concrete_fields
        if not asked_for.isdisjoint((field.name, field.attname)) and must_be_filled(field, model)
    ]
