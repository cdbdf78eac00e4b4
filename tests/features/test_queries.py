"""How many statements each flow costs. Those that begin and end transactions are not counted."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import include, path
from ninja import NinjaAPI
from pytest_django import Settings

from ninja_auth_kit import JWTAuth
from tests.conftest import PASSWORD, Api
from tests.features.conftest import Authenticator, Enrolled, finish, finish_by_recovery_code

# With the outbox, because each event is a statement; with the rate limits, because each costs one or two.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("audited", "limited")]

bank = NinjaAPI(urls_namespace="bank-of-queries")


@bank.get("/checked", auth=JWTAuth(acr="aal2", max_age=300))
def checked(request: Any) -> str:
    return "done"


@bank.get("/stateless", auth=JWTAuth(acr="aal2", max_age=300, check_session=False))
def stateless(request: Any) -> str:
    return "done"


urlpatterns = [path("bank/", bank.urls), path("api/auth/", include("ninja_auth_kit.urls"))]


@pytest.fixture
def limited(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the rate limits hold that hold by default, and send no email: a request does not wait for that."""
    monkeypatch.setattr("ninja_auth_kit.emails.after_answer", lambda *args, **kwargs: None)
    settings.ROOT_URLCONF = __name__
    settings.NINJA_AUTH_KIT = {name: one for name, one in settings.NINJA_AUTH_KIT.items() if name != "THROTTLES"}


def cost(call: Callable[[], Any], status: int = 200) -> tuple[int, list[str]]:
    """Return how many statements a request costs, and the statements, for the message if it is another number."""
    with CaptureQueriesContext(connection) as captured:
        response = call()
    assert response.status_code == status, response.content
    begins_or_ends = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE")
    sent = [query["sql"].removeprefix("BEGIN; ") for query in captured]
    statements = [statement for statement in sent if not statement.startswith(begins_or_ends)]
    return len(statements), [" ".join(statement.split())[:110] for statement in statements]


def assert_costs(number: int, call: Callable[[], Any], status: int = 200) -> None:
    found, statements = cost(call, status)
    assert found == number, "\n".join(statements)


def test_a_login_without_a_factor_costs_one_statement_more_than_without_the_app(api: Api, user: Any) -> None:
    api.login()  # so that the next one ends a session
    assert_costs(9, api.login)


def test_the_statements_of_the_core_are_as_many_as_without_the_app(api: Api, enrolled: Enrolled) -> None:
    assert_costs(1, lambda: api.get("me", token=enrolled.token))
    assert_costs(3, lambda: api.post("refresh", {"refresh_token": enrolled.tokens["refresh_token"]}))
    assert_costs(3, lambda: api.post("logout", token=enrolled.token), status=204)


def test_a_route_with_a_level_and_an_age_costs_what_it_costs_without(api: Api, enrolled: Enrolled) -> None:
    assert_costs(1, lambda: api.get("/bank/checked", token=enrolled.token))
    assert_costs(0, lambda: api.get("/bank/stateless", token=enrolled.token))


def test_a_login_that_becomes_pending_costs_seven(api: Api, enrolled: Enrolled) -> None:
    assert_costs(7, api.login, status=202)


def test_the_second_step_of_a_login_that_ends_another_session_costs_ten(
    api: Api, enrolled: Enrolled, pend: Callable[..., str]
) -> None:
    challenge = pend()
    assert_costs(10, lambda: finish(api, challenge, enrolled.app.code()))


def test_the_second_step_by_a_recovery_code_costs_twelve(
    api: Api, enrolled: Enrolled, pend: Callable[..., str]
) -> None:
    challenge = pend()
    assert_costs(12, lambda: finish_by_recovery_code(api, challenge, enrolled.codes[0]))


def test_a_step_up_by_password_costs_seven(api: Api, user: Any) -> None:
    token = api.pair()["access_token"]
    assert_costs(7, lambda: api.post("step-up/password", {"password": PASSWORD}, token=token))


def test_a_step_up_by_a_factor_costs_nine_at_most(api: Api, enrolled: Enrolled) -> None:
    assert_costs(8, lambda: api.post("step-up/totp", {"code": enrolled.app.code()}, token=enrolled.token))
    assert_costs(9, lambda: api.post("step-up/recovery-code", {"code": enrolled.codes[0]}, token=enrolled.token))


def test_an_enrolment_costs_six(api: Api, user: Any) -> None:
    token = api.pair()["access_token"]
    assert_costs(6, lambda: api.post("factors/totp", {}, token=token), status=201)


def test_the_confirmation_of_the_first_factor_costs_nineteen(api: Api, user: Any) -> None:
    token = api.pair()["access_token"]
    begun = api.post("factors/totp", {}, token=token).json()
    body = {"code": Authenticator(begun["secret"]).code()}
    assert_costs(19, lambda: api.post(f"factors/totp/{begun['id']}/confirm", body, token=token))


def test_the_confirmation_of_a_later_factor_costs_fifteen(api: Api, enrolled: Enrolled) -> None:
    begun = api.post("factors/totp", {}, token=enrolled.token).json()
    body = {"code": Authenticator(begun["secret"]).code()}
    assert_costs(15, lambda: api.post(f"factors/totp/{begun['id']}/confirm", body, token=enrolled.token))


def test_an_api_key_costs_eight_to_create_and_four_to_revoke(api: Api, user: Any) -> None:
    token = api.pair()["access_token"]
    body = {"name": "backup", "scopes": ["notes:read"]}
    assert_costs(8, lambda: api.post("api-keys", body, token=token), status=201)
    (listed,) = api.get("api-keys", token=token).json()
    assert_costs(2, lambda: api.get("api-keys", token=token))
    assert_costs(4, lambda: api.delete(f"api-keys/{listed['id']}", token=token), status=204)


@pytest.mark.security("FAC-10")
def test_a_wrong_password_costs_as_many_statements_with_a_factor_as_without(
    api: Api, enrolled: Enrolled, make_user: Callable[..., Any]
) -> None:
    make_user("grace@example.com")
    with_factor, without, unknown = (
        cost(lambda email=email: api.login(email, "wrong"), status=401)[0]
        for email in ("ada@example.com", "grace@example.com", "nobody@example.com")
    )
    assert with_factor == without == unknown
