"""What `JWTAuth` answers on an API that does nothing for it: a problem, unless the project has its own handler."""

from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.db import OperationalError
from django.test import AsyncClient, Client
from django.urls import path
from ninja import NinjaAPI, Router
from ninja.errors import AuthenticationError, HttpError
from ninja.security import APIKeyHeader, django_auth
from ninja.testing import TestAsyncClient, TestClient
from pytest_django import Settings

from ninja_auth_kit import JWTAuth, add_error_handlers, services
from ninja_auth_kit.exceptions import AuthKitError, InvalidTokenError, SessionEndedError
from ninja_auth_kit.testing import issue_tokens
from tests.conftest import Api

pytestmark = pytest.mark.django_db

urlpatterns: list[Any] = []


@pytest.fixture
def bare(request: pytest.FixtureRequest) -> NinjaAPI:
    """Return an API of a project with nothing but guarded routes."""
    api = NinjaAPI(urls_namespace=request.node.name)

    @api.get("/notes", auth=JWTAuth())
    def notes(request: Any) -> str:
        return str(request.auth.pk)

    @api.get("/async-notes", auth=JWTAuth())
    async def async_notes(request: Any) -> str:
        return str(request.auth.pk)

    @api.get("/stateless", auth=JWTAuth(check_session=False))
    def stateless(request: Any) -> str:
        return str(request.user.email)

    return api


@pytest.fixture
def serve(settings: Settings) -> Callable[[NinjaAPI], None]:
    def serve(api: NinjaAPI) -> None:
        urlpatterns[:] = [path("bare/", api.urls)]
        settings.ROOT_URLCONF = __name__

    return serve


def assert_challenged(response: Any, challenge: str, code: str = "invalid_token") -> None:
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == challenge
    assert response["Content-Type"] == "application/problem+json"
    assert response["Cache-Control"] == "no-store"
    assert (response.json()["status"], response.json()["code"]) == (401, code)


@pytest.mark.security("HTTP-02")
@pytest.mark.parametrize("route", ["/bare/notes", "/bare/async-notes", "/bare/stateless"])
@pytest.mark.parametrize("debug", [False, True])
def test_a_server_answers_a_problem_with_a_challenge(
    bare: NinjaAPI, serve: Callable[[NinjaAPI], None], settings: Settings, route: str, debug: bool
) -> None:
    settings.DEBUG = debug
    serve(bare)

    async def ask(**headers: str) -> Any:
        return await AsyncClient().get(route, headers=headers)

    for answer in (Client().get(route), async_to_sync(ask)()):
        assert_challenged(answer, "Bearer")
    bad = {"Authorization": "Bearer expired.or.forged"}
    for answer in (Client().get(route, headers=bad), async_to_sync(ask)(**bad)):
        assert_challenged(answer, 'Bearer error="invalid_token"')


def test_the_test_clients_of_ninja_see_the_same(bare: NinjaAPI) -> None:
    async def ask() -> Any:
        return await TestAsyncClient(bare).get("/async-notes", headers={"Authorization": "Bearer x"})

    assert_challenged(TestClient(bare).get("/notes"), "Bearer")
    assert_challenged(async_to_sync(ask)(), 'Bearer error="invalid_token"')


def test_a_guard_of_the_whole_api_or_of_a_router_answers_alike() -> None:
    guarded_api = NinjaAPI(urls_namespace="guarded as a whole", auth=JWTAuth())
    guarded_api.get("/")(lambda request: "in")
    router = Router(auth=[APIKeyFromHeader(), JWTAuth()])
    router.get("/")(lambda request: "in")

    for client in (TestClient(guarded_api), TestClient(router)):
        assert_challenged(client.get("/"), "Bearer")


def test_an_ended_session_and_an_absent_user_have_their_codes(bare: NinjaAPI, user: Any) -> None:
    headers = {"Authorization": f"Bearer {issue_tokens(user).access_token}"}
    assert TestClient(bare).get("/notes", headers=headers).status_code == 200
    get_user_model().objects.update(is_active=False)

    for route in ("/notes", "/stateless"):
        answer = TestClient(bare).get(route, headers=headers)
        assert_challenged(answer, 'Bearer error="invalid_token"', "session_ended")


@pytest.mark.security("SES-21")
@pytest.mark.parametrize("route", ["/notes", "/stateless"])
def test_a_database_that_does_not_answer_is_a_problem_too(
    bare: NinjaAPI, user: Any, monkeypatch: pytest.MonkeyPatch, route: str
) -> None:
    headers = {"Authorization": f"Bearer {issue_tokens(user).access_token}"}

    def fail(*_: Any, **__: Any) -> None:
        raise OperationalError("the server closed the connection")

    monkeypatch.setattr("ninja_auth_kit.models.compiled_query.CompiledQuery.fetch", fail)
    monkeypatch.setattr("ninja_auth_kit.api.jwt_auth.user_by_pk", fail)
    answer = TestClient(bare).get(route, headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable")
    assert answer["Content-Type"] == "application/problem+json"
    assert "WWW-Authenticate" not in answer.headers


@pytest.mark.parametrize(
    "handled", [AuthenticationError, HttpError, InvalidTokenError], ids=lambda kind: str(kind.__name__)
)
def test_a_handler_of_the_project_wins(bare: NinjaAPI, handled: type[Exception]) -> None:
    @bare.exception_handler(handled)
    def own(request: Any, error: Any) -> Any:
        return bare.create_response(request, {"own": str(error)}, status=error.status_code)

    answer = TestClient(bare).get("/notes")

    assert (answer.status_code, set(answer.json())) == (401, {"own"})


def test_a_handler_for_every_other_exception_leaves_the_rejection_alone(bare: NinjaAPI) -> None:
    bare.add_exception_handler(Exception, lambda request, error: bare.create_response(request, {}, status=418))

    assert_challenged(TestClient(bare).get("/notes"), "Bearer")


def test_the_kit_wins_over_a_handler_of_a_base_class_if_the_project_asks_for_it(bare: NinjaAPI) -> None:
    bare.add_exception_handler(HttpError, lambda request, error: bare.create_response(request, {}, status=418))
    add_error_handlers(bare)

    assert_challenged(TestClient(bare).get("/notes"), "Bearer")


def test_an_api_of_its_own_class_wins_too() -> None:
    class Counting(NinjaAPI):
        seen = 0

        def on_exception(self, request: Any, exc: Any) -> Any:
            Counting.seen += 1
            return super().on_exception(request, exc)

    api = Counting(urls_namespace="counting", auth=JWTAuth())
    api.get("/")(lambda request: "in")

    assert_challenged(TestClient(api).get("/"), "Bearer")
    assert Counting.seen == 1


def test_other_rejections_and_errors_of_the_api_stay_as_ninja_answers_them(bare: NinjaAPI) -> None:
    @bare.get("/keyed", auth=[APIKeyFromHeader(), django_auth])
    def keyed(request: Any) -> str:
        return "in"

    @bare.get("/teapot")
    def teapot(request: Any) -> str:
        raise HttpError(418, "short and stout")

    client = TestClient(bare)

    assert (client.get("/keyed").status_code, client.get("/keyed").json()) == (401, {"detail": "Unauthorized"})
    assert (client.get("/teapot").status_code, client.get("/teapot").json()) == (418, {"detail": "short and stout"})


def test_an_error_of_a_service_that_a_route_of_the_project_calls_is_a_problem(bare: NinjaAPI, user: Any) -> None:
    @bare.get("/who")
    def who(request: Any, token: str) -> str:
        return str(services.check_access_token(token).user.pk)

    token = issue_tokens(user).access_token
    assert TestClient(bare).get(f"/who?token={token}").json() == str(user.pk)
    Api().post("logout", token=token)

    answer = TestClient(bare).get(f"/who?token={token}")

    assert_challenged(answer, 'Bearer error="invalid_token"', SessionEndedError.code)


@pytest.mark.parametrize("has_handlers", [False, True])
def test_an_error_of_the_project_that_has_no_status_is_raised_as_it_is(bare: NinjaAPI, has_handlers: bool) -> None:
    class BannedError(AuthKitError):
        code = "banned"

    @bare.get("/banned")
    def banned(request: Any) -> str:
        raise BannedError

    if has_handlers:
        add_error_handlers(bare)

    with pytest.raises(BannedError):
        TestClient(bare).get("/banned")


class APIKeyFromHeader(APIKeyHeader):
    """The authentication of another kind of client."""

    param_name = "X-API-Key"

    def authenticate(self, request: Any, key: str | None) -> str | None:
        return "the robot" if key == "right" else None
