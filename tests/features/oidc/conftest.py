"""Flows with a provider that answers in this process, and the two kinds of user models."""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from ninja_auth_kit.contrib.oidc import metadata
from ninja_auth_kit.contrib.oidc.models import Identity
from ninja_auth_kit.contrib.oidc.testing import FakeProvider
from ninja_auth_kit.models.users import has_username
from tests.conftest import EMAIL, Api

NAME = "countess"
REDIRECT_URI, APP_URI = "https://example.com/login/done", "com.example.app:/login/done"
ISSUER, SECRET = "https://id.example.com", "the-client-secret-of-the-tests"
SUBJECT = "the-subject"

OWN = {"name": "Example", "issuer": ISSUER, "client_ids": ["the-client", "the-app"], "client_secret": SECRET}
PRESETS = {
    "google": {"client_ids": ["google-web", "google-app"], "client_secret": "google-secret"},
    "github": {"client_ids": ["github-app"], "client_secret": "github-secret"},
}


def answer(response: Any) -> tuple[int, str | None]:
    """Return the status, and the code of the error if it is one."""
    return response.status_code, response.json()["code"] if response.status_code >= 400 else None


def begin(api: Api, provider: str = "example", purpose: str = "login", *, token: str | None = None) -> dict[str, Any]:
    """Begin a web flow."""
    body = {"purpose": purpose, "redirect_uri": REDIRECT_URI}
    response = api.post(f"oidc/{provider}/start", body, token=token)
    assert response.status_code == 200, response.content
    return dict(response.json())


def begin_native(api: Api, provider: str = "example", purpose: str = "login", *, token: str | None = None) -> Any:
    """Begin the flow of a native app."""
    response = api.post(f"oidc/{provider}/start", {"purpose": purpose, "native": True}, token=token)
    assert response.status_code == 200, response.content
    return response.json()


def query_of(started: dict[str, Any]) -> dict[str, str]:
    """Return the parameters of the authorization URL."""
    return {name: values[0] for name, values in parse_qs(urlsplit(started["authorization_url"]).query).items()}


def end(api: Api, provider: Any, started: dict[str, Any], *, token: str | None = None, **claims: Any) -> Any:
    """Log in at a provider, and finish a web flow."""
    returned = provider.authorize(started["authorization_url"], **claims)
    return api.post(f"oidc/{provider.id}/finish", {"flow_token": started["flow_token"], **returned}, token=token)


def flow(api: Api, provider: Any, purpose: str = "login", *, token: str | None = None, **claims: Any) -> Any:
    """Run a web flow, and return its last answer."""
    return end(api, provider, begin(api, provider.id, purpose, token=token), token=token, **claims)


def sign_up(api: Api, response: Any, username: str = NAME) -> Any:
    """Choose a username, if users have one, and return the last answer."""
    if not has_username():
        return response
    assert response.status_code == 202, response.content
    assert response.json()["status"] == "username_required"
    return api.post("oidc/signup", {"signup_token": response.json()["signup_token"], "username": username})


def link(user: Any, *, subject: str = SUBJECT, issuer: str = ISSUER, provider: str = "example") -> Identity:
    """Give a user an identity."""
    row = Identity.sealed(user=user, provider=provider, issuer=issuer, subject=subject, email=EMAIL)
    assert Identity.objects.add(row)
    return row


@pytest.fixture
def use(kit: Callable[..., None]) -> Callable[..., None]:
    """Return a function that configures `OIDC`: the own provider with other members, and the presets."""

    def change(own: dict[str, Any] | None = None, *, registers: bool = True, **presets: Any) -> None:
        providers = {"example": {**OWN, **(own or {})}}
        providers |= {key: {**PRESETS.get(key, {}), **more} for key, more in presets.items()}
        kit(OIDC={"PROVIDERS": providers, "REDIRECT_URIS": [REDIRECT_URI, APP_URI], "REGISTERS": registers})

    return change


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    """Return the project's own provider, which is not trusted for addresses."""
    with FakeProvider("example") as fake:
        yield fake


@pytest.fixture
def trusted(use: Callable[..., None]) -> Iterator[FakeProvider]:
    """Return the project's own provider, which is trusted for addresses."""
    use({"email_trusted": True})
    with FakeProvider("example") as fake:
        yield fake


@pytest.fixture
def on_loopback(settings: Any, kit: Callable[..., None]) -> Callable[..., None]:
    """Return a function that configures providers which are servers on this machine, by id."""
    settings.DEBUG = True
    metadata.forget()

    def change(**providers: dict[str, Any]) -> None:
        oidc = {
            "PROVIDERS": providers,
            "REDIRECT_URIS": [REDIRECT_URI, APP_URI, "https://example.com/login/{provider}"],
        }
        kit(OIDC=oidc, AUDIT_EMBEDDED_RELAY=False)  # which DEBUG would turn on

    return change
