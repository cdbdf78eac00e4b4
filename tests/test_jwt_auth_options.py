"""`JWTAuth(optional=True)`, `JWTAuth(scheme=...)`, and the spellings of the `Authorization` header."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.test import AsyncClient, Client, RequestFactory
from django.urls import include, path
from django.utils import timezone
from ninja import NinjaAPI
from ninja.testing import TestAsyncClient, TestClient
from pytest_django import DjangoAssertNumQueries, Settings

import ninja_auth_kit
from ninja_auth_kit import JWTAuth
from ninja_auth_kit.models import UserSession
from ninja_auth_kit.testing import acting_as, auth_headers, issue_tokens
from tests.conftest import PASSWORD, Api
from tests.servers import ROOT
from tests.test_jwt_auth_on_any_api import APIKeyFromHeader, assert_challenged

pytestmark = pytest.mark.django_db

shop = NinjaAPI(urls_namespace="shop")


def seen(request: Any) -> dict[str, Any]:
    """Return what a route sees of the caller."""
    return {
        "auth": None if request.auth is None else str(getattr(request.auth, "pk", request.auth)),
        "user": str(request.user.pk) if request.user.is_authenticated else None,
        "session": getattr(request, "auth_session", None) is not None,
        "claims": getattr(request, "auth_claims", None) is not None,
    }


@shop.get("/offers", auth=JWTAuth(optional=True))
def offers(request: Any) -> dict[str, Any]:
    return seen(request)


@shop.get("/async-offers", auth=JWTAuth(optional=True))
async def async_offers(request: Any) -> dict[str, Any]:
    assert (await request.auser()).is_authenticated is request.user.is_authenticated
    return seen(request)


@shop.get("/stateless-offers", auth=JWTAuth(optional=True, check_session=False))
def stateless_offers(request: Any) -> dict[str, Any]:
    return seen(request)


@shop.get("/robots-too", auth=[APIKeyFromHeader(), JWTAuth(optional=True)])
def robots_too(request: Any) -> Any:
    return None if request.auth is None else str(request.auth)


@shop.get("/members", auth=JWTAuth())
def members(request: Any) -> dict[str, Any]:
    return seen(request)


@shop.get("/devices", auth=JWTAuth(scheme="Token"))
def devices(request: Any) -> dict[str, Any]:
    return seen(request)


@shop.get("/optional-devices", auth=JWTAuth(scheme="Token", optional=True))
def optional_devices(request: Any) -> dict[str, Any]:
    return seen(request)


@shop.get("/stateless-devices", auth=JWTAuth(scheme="Token", check_session=False))
def stateless_devices(request: Any) -> dict[str, Any]:
    return seen(request)


ninja_auth_kit.install(shop, "/auth")
urlpatterns = [path("shop/", shop.urls), path("api/auth/", include("ninja_auth_kit.urls"))]

OPTIONAL = ["/shop/offers", "/shop/async-offers", "/shop/stateless-offers"]
NOBODY = {"auth": None, "user": None, "session": False, "claims": False}


@pytest.fixture(autouse=True)
def urls(settings: Settings) -> None:
    settings.ROOT_URLCONF = __name__


@pytest.fixture
def token(user: Any) -> str:
    return issue_tokens(user).access_token


def get(route: str, header: Any = None) -> Any:
    return Client().get(route, headers={} if header is None else {"Authorization": header})


def get_async(route: str, header: Any = None) -> Any:
    async def ask() -> Any:
        return await AsyncClient().get(route, headers={} if header is None else {"Authorization": header})

    return async_to_sync(ask)()


# optional=True


@pytest.mark.parametrize("route", OPTIONAL)
@pytest.mark.parametrize("ask", [get, get_async])
def test_without_a_header_the_route_runs_and_has_no_user(
    route: str, ask: Callable[..., Any], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(0):
        answer = ask(route)

    assert (answer.status_code, answer.json()) == (200, NOBODY)


@pytest.mark.parametrize("route", OPTIONAL)
@pytest.mark.parametrize("ask", [get, get_async])
def test_with_a_token_the_route_has_its_user(route: str, ask: Callable[..., Any], user: Any, token: str) -> None:
    answer = ask(route, f"Bearer {token}")

    is_checked = "stateless" not in route
    assert answer.json() == {"auth": str(user.pk), "user": str(user.pk), "session": is_checked, "claims": True}


@pytest.mark.security("SES-13", "SES-14")
@pytest.mark.parametrize("route", ["/shop/offers", "/shop/async-offers"])
@pytest.mark.parametrize("end", ["logout", "expire", "disable", "forge"])
def test_a_token_that_is_not_valid_is_refused_although_none_is_needed(
    route: str, end: str, user: Any, token: str
) -> None:
    if end == "logout":
        Api().post("logout", token=token)
    elif end == "expire":
        UserSession.objects.update(refresh_expires_at=timezone.now())
    elif end == "disable":
        get_user_model().objects.update(is_active=False)
    else:
        token = token[:-4] + "AAAA"

    answer = get(route, f"Bearer {token}")

    assert_challenged(answer, 'Bearer error="invalid_token"', "invalid_token" if end == "forge" else "session_ended")


@pytest.mark.parametrize(
    "header", ["Basic YWRhOnB3", "Token x.y.z", "eyJhbGciOiJIUzI1NiJ9.e30.c2ln", "Bearer", "null"]
)
def test_a_header_of_another_kind_is_refused_and_not_taken_for_none(header: str) -> None:
    for route in OPTIONAL:
        assert get(route, header).status_code == 401


@pytest.mark.parametrize("header", ["", " ", "\t"])
def test_an_empty_header_is_none(header: str) -> None:
    assert get("/shop/offers", header).json() == NOBODY


def test_after_another_authenticator_each_client_is_who_it_says(user: Any, token: str) -> None:
    def ask(**headers: str) -> tuple[int, Any]:
        answer = Client().get("/shop/robots-too", headers=headers)
        return answer.status_code, answer.json() if answer.status_code == 200 else None

    assert ask(**{"X-API-Key": "right"}) == (200, "the robot")
    assert ask(Authorization=f"Bearer {token}") == (200, str(user))
    assert ask() == (200, None)
    assert ask(**{"X-API-Key": "wrong", "Authorization": "Bearer x"}) == (401, None)


@pytest.mark.security("SES-21")
def test_a_user_of_djangos_session_is_not_the_user_of_a_request_without_a_token(rf: RequestFactory, user: Any) -> None:
    request = rf.post("/shop/offers")
    request.user = user  # as AuthenticationMiddleware does, from a cookie that another site can make a browser send

    JWTAuth(optional=True)(request)

    assert request.user.is_anonymous


@pytest.mark.parametrize("client", [TestClient, TestAsyncClient])
def test_the_test_clients_of_ninja_have_no_user_either(client: Any) -> None:
    is_async = client is TestAsyncClient
    answer = async_to_sync(client(shop).get)("/async-offers") if is_async else client(shop).get("/offers")

    assert answer.json() == NOBODY


def test_the_request_stays_what_it_was(rf: RequestFactory) -> None:
    request = rf.get("/shop/offers?page=2")
    kind = type(request)

    result = JWTAuth(optional=True)(request)
    request.auth = result  # type: ignore[attr-defined]  # as Ninja does

    assert request.auth is None  # type: ignore[attr-defined]
    assert (isinstance(request, kind), type(request).__name__) == (True, kind.__name__)
    assert (request.GET["page"], request.path) == ("2", "/shop/offers")
    request.auth = "set by somebody else"  # type: ignore[attr-defined]
    assert request.auth == "set by somebody else"  # type: ignore[attr-defined]


# scheme=...


@pytest.mark.parametrize("spelling", ["Token", "token", "TOKEN", "tOkEn"])
def test_another_scheme_is_read_in_any_case(spelling: str, user: Any, token: str) -> None:
    for route in ("/shop/devices", "/shop/optional-devices", "/shop/stateless-devices"):
        assert get(route, f"{spelling} {token}").json()["auth"] == str(user.pk)


@pytest.mark.security("HTTP-02")
def test_the_challenge_names_the_scheme_that_the_route_reads(user: Any, token: str) -> None:
    for answer in (get("/shop/devices"), get("/shop/devices", f"Bearer {token}")):
        assert_challenged(answer, "Token")
    assert_challenged(get("/shop/devices", "Token bad"), 'Token error="invalid_token"')
    assert_challenged(get("/shop/members", f"Token {token}"), "Bearer")
    get_user_model().objects.update(is_active=False)
    assert_challenged(get("/shop/stateless-devices", f"Token {token}"), 'Token error="invalid_token"', "session_ended")


def test_the_helpers_for_tests_send_the_scheme(user: Any) -> None:
    client = Client()
    with acting_as(client, user, scheme="Token"):
        assert client.get("/shop/devices").status_code == 200
    assert client.get("/shop/devices", headers=auth_headers(user, scheme="token")).status_code == 200
    assert client.get("/shop/devices", headers=auth_headers(user)).status_code == 401


@pytest.mark.one_user_model
@pytest.mark.one_django
@pytest.mark.parametrize("scheme", ["", "two words", "Bearer ", "Tökén", "a:b", "x\n"])
def test_a_scheme_that_no_header_can_have_is_refused_when_the_route_is_made(scheme: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="scheme"):
        JWTAuth(scheme=scheme)


@pytest.mark.one_user_model
def test_openapi_says_which_scheme_and_whether_a_token_is_needed() -> None:
    document = shop.get_openapi_schema(path_prefix="/shop/")
    security = {
        route: methods["get"].get("security") for route, methods in document["paths"].items() if "get" in methods
    }

    assert security["/shop/members"] == [{"JWTAuth": []}]
    assert security["/shop/offers"] == security["/shop/stateless-offers"] == [{"JWTAuth": []}, {}]
    assert security["/shop/robots-too"] == [{"APIKeyFromHeader": []}, {"JWTAuth": []}, {}]
    assert security["/shop/devices"] == [{"JWTAuthToken": []}]
    assert security["/shop/optional-devices"] == [{"JWTAuthToken": []}, {}]
    schemes = document["components"]["securitySchemes"]
    assert schemes["JWTAuth"] == {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    assert schemes["JWTAuthToken"] == {"type": "http", "scheme": "token"}


def test_a_class_of_the_project_keeps_its_name_and_its_scheme(user: Any, token: str) -> None:
    class Devices(JWTAuth):
        def __init__(self) -> None:
            super().__init__(scheme="X-Device")

    api = NinjaAPI(urls_namespace="devices")
    api.get("/", auth=Devices())(seen)

    assert TestClient(api).get("/", headers={"Authorization": f"x-device {token}"}).json()["auth"] == str(user.pk)
    assert isinstance(Devices(), Devices)
    schemes = api.get_openapi_schema(path_prefix="")["components"]["securitySchemes"]
    assert schemes == {"DevicesXdevice": {"type": "http", "scheme": "x-device"}}


# The header


@pytest.mark.parametrize(
    "header",
    ["Bearer {}", "Bearer  {}", "bearer     {}", "Bearer {} ", "Bearer {}\t", " Bearer {}", "\tBearer   {} \t "],
)
def test_spaces_between_and_around_are_no_part_of_the_credentials(header: str, user: Any, token: str) -> None:
    for ask in (get, get_async):
        assert ask("/shop/members", header.format(token)).status_code == 200
    assert Api().post("logout", HTTP_AUTHORIZATION=header.format(token)).status_code == 204
    assert not UserSession.objects.filter(is_active=True).exists()


@pytest.mark.security("JWT-26")
@pytest.mark.parametrize(
    "header",
    [
        "Bearer\t{}",
        "Bearer \t{}",
        "Bearer\u00a0{}",
        "Bearer{}",
        "Bearer, {}",
        "Bearer {} x",
        "Bearer {0} {0}",
        "Bearer {},Bearer {}",
        'Bearer "{}"',
        "Bearer {}\n",
        "Bearer =={}",
        "Bea\u017fer {}",
        "",
        "Bearer",
        "Bearer ",
        "{}",
    ],
)
def test_other_characters_between_or_around_are_refused(
    header: str, user: Any, token: str, rf: RequestFactory
) -> None:
    api = NinjaAPI(urls_namespace="spelling")
    api.get("/", auth=JWTAuth())(seen)

    answer = TestClient(api).get("/", headers={"AUTHORIZATION": header.format(token, token)})

    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("name", ["Authorization", "AUTHORIZATION", "authorization"])
@pytest.mark.parametrize("value", [None, 7, ["Bearer x"], {}])
def test_a_header_that_no_server_can_send_is_a_401_and_not_an_exception(name: str, value: Any) -> None:
    for answer in (
        TestClient(shop).get("/members", headers={name: value}),
        TestClient(shop, headers={name: value}).get("/members"),
        TestClient(shop).get("/members", META={}, headers={name: value}),
        Client().get("/shop/members", headers={name: value}),
    ):
        assert answer.status_code == 401
    optional = TestAsyncClient(shop, headers={name: value})
    assert async_to_sync(optional.get)("/async-offers").status_code == (200 if value is None else 401)


@pytest.mark.parametrize("path", ["/auth/login", "/auth/refresh", "/auth/register"])
def test_the_kit_itself_answers_the_test_clients_of_ninja(path: str, user: Any) -> None:
    odd = {"USER-AGENT": None, "X-REQUEST-ID": 7, "TRACEPARENT": None, "X-FORWARDED-FOR": None}
    for meta in ({}, {"REMOTE_ADDR": None}, {"REMOTE_ADDR": "127.0.0.1", "CONTENT_LENGTH": 2}):
        answer = TestClient(shop).post(path, json={}, META=dict(meta), headers=odd)

        assert (answer.status_code, answer.json()["code"]) == (422, "validation_error")


def test_a_session_starts_and_is_used_through_the_test_client_of_ninja(user: Any) -> None:
    client = TestClient(shop)

    pair = client.post("/auth/login", json={"email": user.email, "password": PASSWORD}).json()

    assert client.get("/members", headers={"Authorization": f"Bearer {pair['access_token']}"}).status_code == 200


# The page


def test_the_code_on_the_page_does_what_the_page_says(user: Any, token: str) -> None:
    text = (ROOT / "docs" / "howto" / "guarded-routes.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(code, names)  # noqa: S102  # the code of our own page
    client, bearer = TestClient(names["api"]), {"Authorization": f"Bearer {token}"}

    def ask(path: str, **headers: str) -> tuple[int, Any]:
        answer = client.get(path, headers=headers)
        return answer.status_code, answer.json() if answer.status_code == 200 else answer.json()["code"]

    assert ask("/health") == (200, {"ok": True})
    assert ask("/notes", **bearer) == (200, {"of": str(user.pk)})
    assert ask("/offers") == (200, {"for": "everyone"})
    assert ask("/offers", **bearer) == (200, {"for": str(user.pk)})
    assert ask("/offers", Authorization="Basic YTpi") == (401, "invalid_token")
    assert ask("/reports", **{"X-API-Key": "the key of the robot"}) == (200, {"for": "robot"})
    assert ask("/reports", **bearer)[0] == 200
    assert ask("/reports") == (401, "invalid_token")
    assert ask("/readings", Authorization=f"token {token}") == (200, {"of": str(user.pk)})
    assert ask("/readings", **bearer) == (401, "invalid_token")
