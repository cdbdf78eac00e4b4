"""The configured providers, and the presets of four that differ from the standard."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings as django_settings

from ninja_auth_kit.conf import settings
from ninja_auth_kit.contrib.oidc.exceptions import ProviderNotFoundError

ALGORITHMS = ("RS256", "ES256", "PS256", "EdDSA")
TENANT = "{tenantid}"
PROVIDER = "{provider}"  # in a redirect URI

# Those of personal accounts, whose metadata names the id and not the word.
_CONSUMERS = "9188040d-6c67-4c5b-b112-36a304b66dad"
_MANY_TENANTS = ("common", "organizations")

_PRESETS: dict[str, dict[str, Any]] = {
    "google": {"name": "Google", "issuer": "https://accounts.google.com"},
    "microsoft": {"name": "Microsoft", "issuer": f"https://login.microsoftonline.com/{TENANT}/v2.0"},
    "apple": {"name": "Apple", "issuer": "https://appleid.apple.com", "auth_method": "client_secret_post"},
    "github": {
        "name": "GitHub",
        "issuer": "https://github.com/login/oauth",
        "api": "https://api.github.com",
        "scope": "user:email",
        "auth_method": "client_secret_post",
    },
}


@dataclass(frozen=True)
class Provider:
    """A provider of `OIDC["PROVIDERS"]`, with the values of its preset.

    Attributes:
        id: its key, which is in the paths of the endpoints.
        preset: "apple", "github", "google" or "microsoft", or "" for any other provider.
        issuer: its identifier. That of Microsoft is a template with the tenant.
        client_ids: the clients that ID tokens may be for. The first one is used by the web flow.
        email_trusted: whether it may register an account, and is believed about email addresses.
        links_verified_email: whether it logs in to the account that has the address, if it is the authority of it.
        tenant: of Microsoft, whose tenants may log in: "common", "organizations", "consumers" or an id.
        tenants: the ids that are accepted, if `tenant` is not one.
        api: the address of the API of GitHub.
    """

    id: str
    preset: str
    issuer: str
    client_ids: tuple[str, ...]
    name: str
    scope: str = "openid email"
    email_trusted: bool = False
    links_verified_email: bool = False
    auth_method: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    algorithms: tuple[str, ...] = ALGORITHMS
    tenant: str = ""
    tenants: tuple[str, ...] = ()
    team_id: str = ""
    key_id: str = ""
    private_key: str = field(default="", repr=False)
    api: str = ""

    @property
    def client_id(self) -> str:
        """The client of the web flow."""
        return self.client_ids[0]

    @property
    def is_openid(self) -> bool:
        """Whether it issues ID tokens."""
        return self.preset != "github"

    @property
    def posts_form(self) -> bool:
        """Whether the browser comes back with a form, which the callback of the kit takes."""
        return self.preset == "apple"

    @property
    def metadata_issuer(self) -> str:
        """The issuer that the metadata must name: for many tenants, Microsoft names the template."""
        return self.issuer if self.tenant in _MANY_TENANTS else self.issuer.replace(TENANT, self._own_tenant)

    @property
    def metadata_url(self) -> str:
        """The address of the metadata (OpenID Connect Discovery 1.0 section 4)."""
        issuer = self.issuer.replace(TENANT, self._own_tenant)
        return f"{issuer.rstrip('/')}/.well-known/openid-configuration"

    @property
    def _own_tenant(self) -> str:
        return _CONSUMERS if self.tenant == "consumers" else self.tenant

    def issuer_of(self, claims: Mapping[str, Any]) -> str | None:
        """Return the issuer that an ID token with these claims must have, or None if its tenant is not accepted."""
        if TENANT not in self.issuer:
            return self.issuer
        tenant = claims.get("tid")
        if not isinstance(tenant, str) or tenant not in self.accepted_tenants:
            return None
        return self.issuer.replace(TENANT, tenant)

    @property
    def accepted_tenants(self) -> tuple[str, ...]:
        """The ids of the tenants whose users may log in; meaningless for all providers but Microsoft."""
        return self.tenants if self.tenant in _MANY_TENANTS else (self._own_tenant,)

    def is_issuer(self, issuer: str) -> bool:
        """Return whether identities of this issuer belong to the provider."""
        return any(issuer == self.issuer_of({"tid": tenant}) for tenant in self.accepted_tenants or ("",))


def preset_of(key: str, configured: Mapping[str, Any]) -> str:
    """Return the preset of a provider, which its id selects unless it names one, or ""."""
    return str(configured.get("preset", key if key in _PRESETS else ""))


def providers() -> dict[str, Provider]:
    """Return the configured providers by id. One without an issuer or a client is left out: check E024 names it."""
    made = {key: _provider(key, configured) for key, configured in settings.OIDC["PROVIDERS"].items()}
    return {key: one for key, one in made.items() if one.issuer and one.client_ids}


def _provider(key: str, configured: Mapping[str, Any]) -> Provider:
    preset = preset_of(key, configured)
    own = {name: tuple(one) if isinstance(one, list) else one for name, one in configured.items()}
    values: dict[str, Any] = {
        "name": key,
        "issuer": "",
        "client_ids": (),
        "email_trusted": bool(preset),
        **_PRESETS.get(preset, {}),
        **own,
        "id": key,
        "preset": preset,
    }
    if preset == "microsoft":
        values.setdefault("tenant", "common")
    if values.get("ca_file") is not None:
        values["ca_file"] = str(values["ca_file"])
    return Provider(**values)


def find_provider(key: str) -> Provider:
    """Return a configured provider.

    Raises:
        ProviderNotFoundError: no provider has this id.
    """
    found = providers().get(key)
    if found is None:
        raise ProviderNotFoundError
    return found


def redirect_uris(provider: Provider) -> tuple[str, ...]:
    """Return the addresses of the front end to which a provider may send the browser back.

    With `{provider}` in it, each provider has an address of its own. See check E029 for the attack.
    """
    return tuple(uri.replace(PROVIDER, provider.id) for uri in settings.OIDC["REDIRECT_URIS"])


def is_safe_url(url: str) -> bool:
    """Return whether a URL is https, or http on this machine while `DEBUG` is on."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and django_settings.DEBUG and _is_local(parts.hostname))


def _is_local(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False
