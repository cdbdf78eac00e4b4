"""The two ways to mount the kit, alone and together, and what they must leave unchanged."""

import os
import subprocess
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from django.conf.urls.i18n import i18n_patterns
from django.core.checks import run_checks
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import include, path, re_path, reverse
from ninja import NinjaAPI
from pytest_django import Settings

import ninja_auth_kit
from ninja_auth_kit import JWTAuth
from tests.conftest import EMAIL, PASSWORD, Api
from tests.servers import ROOT, AsgiServer, Server

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


def own_view(request: HttpRequest, **parts: Any) -> HttpResponse:
    return HttpResponse(f"own {sorted(parts.items())}")


KIT = include("ninja_auth_kit.urls")
BELOW_THE_MOUNT: dict[str, tuple[list[Any], str]] = {
    "a path": ([path("api/auth/", KIT), path("api/auth/profile", own_view)], "/api/auth/profile"),
    "an include": (
        [path("api/auth/", KIT), path("api/", include([path("auth/team/<int:number>/", own_view)]))],
        "/api/auth/team/7/",
    ),
    "the bare prefix": ([path("api/auth/", KIT), path("api/auth/", own_view)], "/api/auth/"),
    "a regular expression": (
        [path("accounts/", KIT), re_path(r"^accounts/x(?P<n>[0-9]+)$", own_view)],
        "/accounts/x1",
    ),
    "everything, at the root": ([path("", KIT), re_path(r"^(?P<rest>.*)$", own_view)], "/some/page"),
    "a mount below an include": (
        [path("v1/", include([path("auth/", KIT)])), path("v1/auth/extra", own_view)],
        "/v1/auth/extra",
    ),
    "a mount by a regular expression": ([re_path(r"^in/", KIT), path("in/own", own_view)], "/in/own"),
    "a mount below a language": ([*i18n_patterns(path("auth/", KIT), path("auth/own", own_view))], "/en/auth/own"),
    "the second of two mounts": (
        [path("one/", KIT), path("two/", KIT), path("two/own", own_view)],
        "/two/own",
    ),
}


@pytest.fixture
def use_urls(settings: Settings) -> Callable[[list[Any]], None]:
    def use(patterns: list[Any]) -> None:
        urlconf = ModuleType("urls_of_a_project")
        urlconf.urlpatterns = patterns  # type: ignore[attr-defined]
        settings.ROOT_URLCONF = urlconf

    return use


@pytest.mark.one_user_model
@pytest.mark.parametrize("case", BELOW_THE_MOUNT)
def test_routes_of_the_project_below_the_mount_are_reached(use_urls: Callable[[list[Any]], None], case: str) -> None:
    patterns, url = BELOW_THE_MOUNT[case]
    use_urls(patterns)

    response = Client().get(url)

    assert response.status_code == 200
    assert response.content.startswith(b"own ")


@pytest.mark.one_user_model
@pytest.mark.parametrize("url", ["/api/auth/", "/api/auth/nowhere", "/api/auth/login/", "/api/auth/profiles"])
def test_a_path_that_nobody_has_is_a_problem(use_urls: Callable[[list[Any]], None], url: str) -> None:
    use_urls([path("api/auth/", KIT), path("api/auth/profile", own_view), path("api/other", own_view)])

    for response in (Client().get(url), Client(enforce_csrf_checks=True).post(url)):
        assert (response.status_code, response["Content-Type"]) == (404, "application/problem+json")
        assert response.json()["code"] == "not_found"


@pytest.mark.one_user_model
def test_django_adds_the_slash_to_a_route_of_the_project_below_the_mount(
    use_urls: Callable[[list[Any]], None], settings: Settings
) -> None:
    settings.MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
    use_urls([path("api/auth/", KIT), path("api/auth/profile/", own_view)])

    response = Client().get("/api/auth/profile")

    assert (response.status_code, response["Location"]) == (301, "/api/auth/profile/")


@pytest.mark.one_user_model
def test_a_route_of_the_project_below_the_mount_keeps_its_protection(
    use_urls: Callable[[list[Any]], None], settings: Settings
) -> None:
    settings.MIDDLEWARE = ["django.middleware.csrf.CsrfViewMiddleware"]
    use_urls([path("api/auth/", KIT), path("api/auth/profile", own_view)])

    assert Client(enforce_csrf_checks=True).post("/api/auth/profile").status_code == 403


def statuses_of_docs(**environment: str) -> str:
    """Return what a new process prints: the statuses of the schema and the documentation, or why it did not start."""
    code = (
        "import django; django.setup()\n"
        "from django.test import Client\n"
        "print([Client().get(f'/api/auth/{page}').status_code for page in ('openapi.json', 'docs', 'me')])"
    )
    process = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "DJANGO_SETTINGS_MODULE": "tests.settings_server",
            "TEST_SETTINGS": "tests.settings",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return process.stdout + process.stderr


@pytest.mark.one_user_model
@pytest.mark.one_django
def test_the_documentation_has_the_decorator_of_the_project() -> None:
    found = statuses_of_docs(TEST_KIT='{"DOCS_DECORATOR": "django.views.decorators.http.require_POST"}')

    assert "[405, 405, 401]" in found


@pytest.mark.one_user_model
@pytest.mark.one_django
@pytest.mark.parametrize("decorator", ["tests.nowhere.closed", "tests.settings.SECRET_KEY"])
def test_a_decorator_of_the_documentation_that_is_none_stops_the_start(decorator: str) -> None:
    found = statuses_of_docs(TEST_KIT=f'{{"DOCS_DECORATOR": "{decorator}"}}')

    assert "(ninja_auth_kit.E011) NINJA_AUTH_KIT['DOCS_DECORATOR']" in found
    assert "HINT: Set the key to the full dotted path of a decorator of views" in found
