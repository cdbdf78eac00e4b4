"""The two ways to mount the kit, alone and together, and what they must leave unchanged."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.checks import run_checks
from django.test import Client
from django.urls import include, path, reverse
from ninja import NinjaAPI
from pytest_django import Settings

import ninja_auth_kit
from ninja_auth_kit import JWTAuth
from tests.conftest import EMAIL, PASSWORD, Api
from tests.servers import AsgiServer, Server

pytestmark = pytest.mark.django_db(transaction=True)


class GatekeeperError(Exception):
    """The exception that the project's own authentication raises."""


def gatekeeper(request: Any) -> None:
    raise GatekeeperError


strict = NinjaAPI(urls_namespace="strict", auth=gatekeeper)
ninja_auth_kit.install(strict, "/account")


@strict.exception_handler(Exception)
def catch_all(request: Any, error: Exception) -> Any:
    return strict.create_response(request, {"host": type(error).__name__}, status=418)


@strict.get("/own")
def own(request: Any) -> dict[str, int]:
    return {}


@strict.get("/guarded", auth=JWTAuth())
def guarded(request: Any) -> dict[str, str]:
    return {"user": str(request.user.pk)}


urlpatterns = [path("strict/", strict.urls), path("again/", include("ninja_auth_kit.urls"))]


@pytest.mark.parametrize("base", ["/api/auth/", "/host/auth/"])
def test_the_whole_flow_works_through_either_mount(base: str, user: Any) -> None:
    api = Api(base)

    pair = api.pair()
    successor = api.post("refresh", {"refresh_token": pair["refresh_token"]}).json()

    assert api.get("me", token=successor["access_token"]).json()["email"] == EMAIL
    assert api.post("logout", token=successor["access_token"]).status_code == 204
    assert api.get("me", token=successor["access_token"]).status_code == 401


def test_the_whole_flow_works_on_an_asgi_server(servers: Callable[..., Server], user: Any) -> None:
    server = servers(AsgiServer)
    status, pair = server.request("POST", "/api/auth/login", {"email": EMAIL, "password": PASSWORD})
    assert status == 200
    for url in ("/api/auth/me", "/api/auth/sessions", "/host/sync", "/host/async", "/host/stateless-async"):
        assert server.request("GET", url, token=pair["access_token"])[0] == 200, url
    status, successor = server.request("POST", "/api/auth/refresh", {"refresh_token": pair["refresh_token"]})
    assert status == 200

    assert server.request("POST", "/api/auth/logout", {"refresh_token": successor["refresh_token"]})[0] == 204

    for url in ("/api/auth/me", "/host/sync", "/host/async"):
        assert server.request("GET", url, token=successor["access_token"])[0] == 401, url


def test_a_token_of_one_mount_opens_the_other(user: Any) -> None:
    token = Api("/api/auth/").pair()["access_token"]

    assert Api("/host/auth/").is_in(token)


def test_the_include_is_reversed_by_the_operation_ids() -> None:
    assert reverse("ninja_auth_kit:auth_login") == "/api/auth/login"
    assert reverse("ninja_auth_kit:openapi-view") == "/api/auth/docs"
    assert reverse("host:auth_refresh") == "/host/auth/refresh"


def test_the_docs_and_the_schema_of_both_mounts_answer() -> None:
    client = Client()

    assert client.get("/api/auth/docs").status_code == 200
    own = client.get("/api/auth/openapi.json").json()
    assert "/api/auth/login" in own["paths"]
    both = client.get("/host/openapi.json").json()
    assert {"/host/auth/login", "/host/sync"} <= set(both["paths"])


@pytest.mark.urls(__name__)
def test_an_api_with_its_own_authentication_and_handlers_keeps_both(user: Any) -> None:
    api = Api("/strict/account/")

    assert api.get("/strict/own").json() == {"host": "GatekeeperError"}
    pair = api.pair()
    assert api.get("me", token=pair["access_token"]).status_code == 200
    assert api.get("/strict/guarded", token=pair["access_token"]).json() == {"user": str(user.pk)}
    assert api.get("/strict/guarded", token="bad").json()["code"] == "invalid_token"
    assert api.post("login", {"email": EMAIL}).json()["code"] == "validation_error"
    assert api.post("login", {"email": EMAIL, "password": "wrong" + PASSWORD}).json()["code"] == "invalid_credentials"


def test_the_url_checks_find_nothing_to_complain_about() -> None:
    assert [message for message in run_checks() if message.id and message.id.startswith("urls")] == []


def test_a_host_that_asks_everybody_to_log_in_lets_people_log_in(settings: Settings, user: Any) -> None:
    settings.MIDDLEWARE = [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ]
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    api = Api()

    assert api.register("new@example.com").status_code == 202
    assert api.is_in(api.pair()["access_token"])
    assert api.get("password/reset").status_code == 200
    assert api.get("nowhere").status_code == 404
    assert [api.get(path).status_code for path in ("openapi.json", "docs", "/host/sync")] == [302] * 3
