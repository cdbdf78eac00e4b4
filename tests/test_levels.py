"""`JWTAuth(acr=..., max_age=...)`: how well and how lately a user was authenticated (RFC 9470)."""

from collections.abc import Callable
from datetime import timedelta
from types import ModuleType
from typing import Any

import pytest
import time_machine
from django.http import HttpRequest
from django.test import RequestFactory
from django.urls import path
from django.utils import timezone
from ninja import NinjaAPI
from pytest_django import DjangoAssertNumQueries, Settings

from ninja_auth_kit import JWTAuth, services
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.levels import METHODS, described, level_of
from ninja_auth_kit.models import UserSession
from ninja_auth_kit.testing import issue_tokens
from ninja_auth_kit.tokens import read_access_token
from tests.conftest import Api, new_access_token

pytestmark = pytest.mark.django_db

bank = NinjaAPI(urls_namespace="bank")


@bank.post("/transfers", auth=JWTAuth(acr="aal2", max_age=300))
def transfer(request: HttpRequest) -> str:
    return "done"


@bank.post("/async-transfers", auth=JWTAuth(acr="aal2", max_age=300))
async def async_transfer(request: HttpRequest) -> str:
    return "done"


@bank.post("/stateless-transfers", auth=JWTAuth(acr="aal2", max_age=300, check_session=False))
def stateless_transfer(request: HttpRequest) -> str:
    return "done"


@bank.post("/closing", auth=JWTAuth(acr="aal2"))
def close(request: HttpRequest) -> str:
    return "done"


@bank.post("/letters", auth=JWTAuth(max_age=timedelta(minutes=5)))
def write(request: HttpRequest) -> str:
    return "done"


@bank.post("/tokens", auth=JWTAuth(acr="aal2", scheme="Token"))
def with_scheme(request: HttpRequest) -> str:
    return "done"


@pytest.fixture(autouse=True)
def urls(settings: Settings) -> None:
    urlconf = ModuleType("bank_urls")
    urlconf.urlpatterns = [path("bank/", bank.urls)]  # type: ignore[attr-defined]
    settings.ROOT_URLCONF = urlconf


TRANSFERS = ["/bank/transfers", "/bank/async-transfers", "/bank/stateless-transfers"]
REQUIRED = {"acr_values": "aal2", "max_age": 300}


@pytest.mark.security("STEP-01")
@pytest.mark.parametrize("url", TRANSFERS)
def test_a_lower_level_gets_a_challenge_that_says_what_is_required(api: Api, user: Any, url: str) -> None:
    refused = api.post(url, token=issue_tokens(user).access_token)

    assert refused.status_code == 401
    assert refused["WWW-Authenticate"] == (
        'Bearer error="insufficient_user_authentication", acr_values="aal2", max_age="300"'
    )
    body = refused.json()
    assert body["code"] == "insufficient_user_authentication"
    assert {name: body[name] for name in REQUIRED} == REQUIRED
    assert api.post(url, token=issue_tokens(user, acr="aal2").access_token).status_code == 200


@pytest.mark.security("STEP-01")
@pytest.mark.parametrize("url", [*TRANSFERS, "/bank/letters"])
def test_an_authentication_that_is_too_old_gets_the_challenge(
    api: Api, user: Any, url: str, kit: Callable[..., None]
) -> None:
    kit(ACCESS_TOKEN_LIFETIME=timedelta(hours=1))
    with time_machine.travel(timezone.now() - timedelta(seconds=290)):
        recent = issue_tokens(user, acr="aal2").access_token
    assert api.post(url, token=recent).status_code == 200
    with time_machine.travel(timezone.now() - timedelta(seconds=310)):
        old = issue_tokens(user, acr="aal2").access_token

    refused = api.post(url, token=old)

    assert refused.status_code == 401
    assert 'max_age="300"' in refused["WWW-Authenticate"]


@pytest.mark.security("STEP-03")
def test_a_refresh_changes_neither_the_level_nor_the_time(user: Any) -> None:
    with time_machine.travel(timezone.now() - timedelta(minutes=2)):
        pair = issue_tokens(user, acr="aal2")
    before = read_access_token(pair.access_token).authentication

    refreshed = services.refresh(token=pair.refresh_token, client=ClientInfo(ip_address="127.0.0.1"))

    assert before == (before.acr, ("pwd", "otp", "mfa"), before.time)
    assert read_access_token(refreshed.access_token).authentication == before


@pytest.mark.security("STEP-02")
def test_the_session_can_take_the_level_away_at_once(api: Api, user: Any) -> None:
    token = issue_tokens(user, acr="aal2").access_token
    UserSession.objects.update(aal=1)

    assert api.post("/bank/closing", token=token).status_code == 401
    assert api.post("/bank/letters", token=token).status_code == 200


@pytest.mark.security("STEP-02")
def test_a_session_that_was_raised_does_not_raise_the_tokens_from_before(api: Api, user: Any) -> None:
    token = issue_tokens(user).access_token
    UserSession.objects.update(aal=2, step_up_at=timezone.now())

    assert api.post("/bank/closing", token=token).status_code == 401


@pytest.mark.security("STEP-02")
def test_a_token_that_was_raised_counts_as_long_as_the_session_knows_of_it(api: Api, user: Any) -> None:
    session_id = issue_tokens(user).session_id
    now = timezone.now()
    raised = new_access_token(
        user_id=str(user.pk),
        session_id=session_id,
        authentication=UserSession(aal=2, amr="pwd otp mfa", authenticated_at=now).authentication,
    )
    assert api.post("/bank/transfers", token=raised).status_code == 401  # the session knows of no step-up

    UserSession.objects.update(step_up_at=now)
    assert api.post("/bank/transfers", token=raised).status_code == 200

    UserSession.objects.update(step_up_at=now - timedelta(seconds=2))
    assert api.post("/bank/transfers", token=raised).status_code == 401


def test_a_level_costs_no_query(api: Api, user: Any, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    token = issue_tokens(user, acr="aal2").access_token
    with django_assert_num_queries(1):
        assert api.post("/bank/transfers", token=token).status_code == 200
    with django_assert_num_queries(0):
        assert api.post("/bank/stateless-transfers", token=token).status_code == 200


def test_the_challenge_has_the_scheme_of_the_route(api: Api, user: Any) -> None:
    token = issue_tokens(user).access_token
    refused = api.post("/bank/tokens", HTTP_AUTHORIZATION=f"Token {token}")
    assert refused["WWW-Authenticate"] == 'Token error="insufficient_user_authentication", acr_values="aal2"'


@pytest.mark.parametrize("acr", ["AAL2", "aal3", "", 2, "aal1 aal2"])
def test_a_level_that_does_not_exist_is_refused_when_the_route_is_made(acr: Any) -> None:
    with pytest.raises(ValueError, match="acr must be"):
        JWTAuth(acr=acr)


@pytest.mark.parametrize("max_age", [0, -1, True, 0.5, timedelta(0), timedelta(milliseconds=1500)])
def test_an_age_that_is_not_a_number_of_seconds_is_refused_when_the_route_is_made(max_age: Any) -> None:
    with pytest.raises(ValueError, match="max_age must be"):
        JWTAuth(max_age=max_age)


@pytest.mark.security("STEP-06")
@pytest.mark.parametrize(
    ("methods", "level"),
    [
        (["pwd"], 1),
        (["email", "fed"], 1),
        (["pwd", "email"], 1),
        (["pwd", "dev"], 1),
        (["pop"], 1),
        (["otp"], 1),
        (["pop", "user"], 2),
        (["pwd", "otp"], 2),
        (["email", "pop"], 2),
        (["fed", "rec"], 2),
    ],
    ids=str,
)
def test_two_first_factors_are_level_1_and_a_second_one_beside_a_first_is_level_2(
    methods: list[str], level: int
) -> None:
    assert level_of(methods) == level
    assert ("mfa" in described(methods)) is (level == 2)
    assert set(described(methods)) - {"mfa"} == set(methods)


@pytest.mark.django_db(transaction=True)
def test_a_login_of_the_project_says_how_it_authenticated_the_user(user: Any) -> None:
    request = RequestFactory().get("/")
    for methods, expected in [(("fed",), ("aal1", ("fed",))), (("fed", "otp"), ("aal2", ("fed", "otp", "mfa")))]:
        pair = services.start_session(user, request=request, methods=methods)
        assert isinstance(pair, services.TokenPair)
        assert read_access_token(pair.access_token).authentication[:2] == expected
    for unknown in [(), ("mfa",), ("dev",), ("sms",)]:
        with pytest.raises(ValueError, match="methods"):
            services.start_session(user, request=request, methods=unknown)
    assert set(METHODS) > {"mfa", "dev"}
