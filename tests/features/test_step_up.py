"""Step-up: a user who is logged in proves more, or proves it again, and only this access token rises (RFC 9470)."""

from collections.abc import Callable
from datetime import timedelta
from types import ModuleType
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.http import HttpRequest
from django.test import RequestFactory
from django.urls import include, path
from django.utils import timezone
from ninja import NinjaAPI
from pytest_django import Settings

from ninja_auth_kit import JWTAuth, services
from ninja_auth_kit.contrib.factors.models import Factor
from ninja_auth_kit.models import UserSession
from ninja_auth_kit.tokens import read_access_token
from tests.conftest import PASSWORD, Api, event_names, events
from tests.features.conftest import Authenticator, Enrolled, answer, enrol, finish, finish_by_recovery_code

pytestmark = pytest.mark.django_db(transaction=True)

DONE = (200, None)
WRONG = (403, "wrong_factor")
CHALLENGED = (401, "insufficient_user_authentication")

bank = NinjaAPI(urls_namespace="bank-of-features")


@bank.post("/transfers", auth=JWTAuth(acr="aal2", max_age=300))
def transfer(request: HttpRequest) -> str:
    return "done"


@bank.post("/async-transfers", auth=JWTAuth(acr="aal2", max_age=300))
async def async_transfer(request: HttpRequest) -> str:
    return "done"


@bank.post("/stateless-transfers", auth=JWTAuth(acr="aal2", max_age=300, check_session=False))
def stateless_transfer(request: HttpRequest) -> str:
    return "done"


@bank.post("/letters", auth=JWTAuth(max_age=300))
def write(request: HttpRequest) -> str:
    return "done"


TRANSFERS = ["/bank/transfers", "/bank/async-transfers"]


@pytest.fixture(autouse=True)
def urls(settings: Settings, kit: Callable[..., None]) -> None:
    urlconf = ModuleType("bank_urls")
    urlconf.urlpatterns = [  # type: ignore[attr-defined]
        path("bank/", bank.urls),
        path("api/auth/", include("ninja_auth_kit.urls")),
    ]
    settings.ROOT_URLCONF = urlconf
    kit(ACCESS_TOKEN_LIFETIME=timedelta(hours=1))


def level(token: str) -> tuple[str, tuple[str, ...], int]:
    proved = read_access_token(token).authentication
    return proved.acr, proved.methods, proved.time


@pytest.fixture
def old(api: Api, clock: time_machine.Traveller, enrolled: Enrolled) -> Enrolled:
    """Return a user whose session was started an hour ago, at level 2."""
    clock.shift(3600)
    refreshed = api.post("refresh", {"refresh_token": enrolled.tokens["refresh_token"]})
    enrolled.tokens = refreshed.json()
    return enrolled


# A route that requires a level and an age


@pytest.mark.security("STEP-01", "STEP-02", "STEP-03")
@pytest.mark.parametrize("url", TRANSFERS)
def test_a_route_challenges_an_old_session_and_a_step_up_answers_it(
    api: Api, old: Enrolled, clock: time_machine.Traveller, url: str
) -> None:
    refused = api.post(url, token=old.token)
    assert answer(refused) == CHALLENGED
    assert refused["WWW-Authenticate"] == (
        'Bearer error="insufficient_user_authentication", acr_values="aal2", max_age="300"'
    )

    done = api.post("step-up/totp", {"code": old.app.code()}, token=old.token)

    body = done.json()
    assert set(body) == {"access_token", "token_type", "expires_in", "acr"}
    assert (body["token_type"], body["expires_in"], body["acr"]) == ("Bearer", 3600, "aal2")
    assert api.post(url, token=body["access_token"]).status_code == 200
    # The token from before stays as it is, and so do the tokens of a refresh.
    assert answer(api.post(url, token=old.token)) == CHALLENGED
    refreshed = api.post("refresh", {"refresh_token": old.tokens["refresh_token"]})
    assert refreshed.status_code == 200, "the refresh token was not rotated by the step-up"
    assert level(refreshed.json()["access_token"]) == level(old.token)
    assert answer(api.post(url, token=refreshed.json()["access_token"])) == CHALLENGED
    assert api.post(url, token=body["access_token"]).status_code == 200
    clock.shift(300)
    assert api.post(url, token=body["access_token"]).status_code == 200
    clock.shift(1)
    assert answer(api.post(url, token=body["access_token"])) == CHALLENGED


@pytest.mark.security("STEP-02", "STEP-06")
def test_a_step_up_is_of_the_same_session_and_says_what_was_proved(
    api: Api, old: Enrolled, clock: time_machine.Traveller, audited: None
) -> None:
    before = UserSession.objects.values().get(is_active=True)
    by_app = api.post("step-up/totp", {"code": old.app.code()}, token=old.token).json()["access_token"]
    by_code = api.post("step-up/recovery-code", {"code": old.codes[0]}, token=old.token).json()["access_token"]

    now = int(timezone.now().timestamp())
    assert level(by_app) == ("aal2", ("pwd", "otp", "mfa"), now)
    assert level(by_code) == ("aal2", ("pwd", "otp", "rec", "mfa"), now)
    assert read_access_token(by_app).session_id == read_access_token(old.token).session_id
    after = UserSession.objects.values().get(is_active=True)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"step_up_at"}
    assert event_names() == ["session.stepped_up", "recovery.used", "session.stepped_up"]
    details = [event["data"]["details"] for event in events() if "stepped_up" in event["type"]]
    assert details == [{"method": "totp", "acr": "aal2"}, {"method": "recovery_code", "acr": "aal2"}]


def test_the_client_learns_which_methods_there_are(api: Api, user: Any) -> None:
    token = api.pair()["access_token"]
    before = api.get("step-up", token=token).json()
    assert (before["acr"], before["methods"]) == ("aal1", ["password"])
    assert before["auth_time"] == level(token)[2]

    _, confirmed = enrol(api, token)
    token = confirmed.json()["tokens"]["access_token"]

    after = api.get("step-up", token=token).json()
    assert (after["acr"], after["methods"]) == ("aal2", ["totp", "recovery_code"])


# A password is not a factor


@pytest.mark.security("STEP-04")
@pytest.mark.parametrize("password", [PASSWORD, "wrong"])
def test_a_password_is_no_step_up_for_a_user_who_has_a_factor(
    api: Api, old: Enrolled, kit: Callable[..., None], audited: None, password: str
) -> None:
    kit(THROTTLES={"password_account": "1/m"})
    for _ in range(15):  # nothing is counted
        assert answer(api.post("step-up/password", {"password": password}, token=old.token)) == WRONG
    assert event_names().count("session.stepped_up") == 0
    assert UserSession.objects.get(is_active=True).step_up_at is None
    assert api.post("step-up/totp", {"code": old.app.code()}, token=old.token).status_code == 200


@pytest.mark.security("STEP-04")
def test_a_password_step_up_gives_level_1_and_renews_no_level_2(
    api: Api, old: Enrolled, clock: time_machine.Traveller
) -> None:
    raised = api.post("step-up/totp", {"code": old.app.code()}, token=old.token).json()["access_token"]
    # Somebody who removes the factor by other means leaves the level of the session as it was.
    Factor.objects.all().delete()
    clock.shift(200)

    by_password = api.post("step-up/password", {"password": PASSWORD}, token=raised).json()

    assert by_password["acr"] == "aal1"
    assert level(by_password["access_token"])[:2] == ("aal1", ("pwd",))
    for url in (*TRANSFERS, "/bank/stateless-transfers"):
        assert answer(api.post(url, token=by_password["access_token"])) == CHALLENGED
        assert api.post(url, token=raised).status_code == 200
    clock.shift(101)
    api.post("step-up/password", {"password": PASSWORD}, token=raised)
    assert answer(api.post("/bank/transfers", token=raised)) == CHALLENGED


@pytest.mark.security("STEP-04")
def test_a_password_step_up_is_enough_for_an_age_alone(
    api: Api, user: Any, clock: time_machine.Traveller, audited: None
) -> None:
    token = api.pair()["access_token"]
    clock.shift(301)
    assert answer(api.post("/bank/letters", token=token)) == CHALLENGED
    wrong = api.post("step-up/password", {"password": "wrong"}, token=token)
    assert answer(wrong) == (403, "wrong_password")

    raised = api.post("step-up/password", {"password": PASSWORD}, token=token).json()

    assert raised["acr"] == "aal1"
    assert api.post("/bank/letters", token=raised["access_token"]).status_code == 200
    assert answer(api.post("/bank/letters", token=token)) == CHALLENGED
    assert answer(api.post("/bank/transfers", token=raised["access_token"])) == CHALLENGED
    assert event_names()[-2:] == ["session.step_up_failed", "session.stepped_up"]


def test_a_user_without_a_password_has_no_step_up_by_password(api: Api, make_user: Callable[..., Any]) -> None:
    user = make_user(password=None)
    pair = services.start_session(user, request=RequestFactory().get("/"))
    assert isinstance(pair, services.TokenPair)
    assert api.get("step-up", token=pair.access_token).json()["methods"] == []
    refused = api.post("step-up/password", {"password": PASSWORD}, token=pair.access_token)
    assert answer(refused) == (403, "wrong_password")


@pytest.mark.parametrize("methods", [("fed",), ("otp",), ("user",), ("email", "rec")])
def test_a_session_that_the_project_started_enrols_its_first_factor(
    api: Api, user: Any, methods: tuple[str, ...]
) -> None:
    pair = services.start_session(user, request=RequestFactory().get("/"), methods=methods)
    assert isinstance(pair, services.TokenPair)
    _, confirmed = enrol(api, pair.access_token)
    assert confirmed.status_code == 200, confirmed.content
    token = confirmed.json()["tokens"]["access_token"]
    assert level(token)[0] == "aal2"
    assert set(level(token)[1]) >= {*methods, "otp", "mfa"}


# One session


@pytest.mark.security("STEP-05")
def test_a_step_up_of_one_session_raises_no_other(
    api: Api, enrolled: Enrolled, kit: Callable[..., None], clock: time_machine.Traveller, pend: Callable[..., str]
) -> None:
    kit(SESSION_LIMIT=None)
    clock.shift(60)
    other = finish(api, pend(), enrolled.app.code()).json()["access_token"]
    clock.shift(600)
    raised = api.post("step-up/totp", {"code": enrolled.app.code()}, token=enrolled.token).json()["access_token"]

    assert api.post("/bank/transfers", token=raised).status_code == 200
    assert answer(api.post("/bank/transfers", token=other)) == CHALLENGED
    stepped = UserSession.objects.filter(step_up_at__isnull=False)
    assert [session.pk for session in stepped] == [read_access_token(raised).session_id]


@pytest.mark.security("STEP-05")
@pytest.mark.parametrize("end", ["logout", "logout/all", "another login", "ban", "password"])
def test_a_session_that_ended_makes_no_step_up(
    api: Api, enrolled: Enrolled, pend: Callable[..., str], end: str
) -> None:
    if end == "another login":
        assert answer(finish_by_recovery_code(api, pend(), enrolled.codes[1])) == DONE
    elif end == "ban":
        type(enrolled.user).objects.update(is_active=False)
    elif end == "password":
        enrolled.user.set_password("another long walk in the hills")
        enrolled.user.save()
    else:
        body = {"refresh_token": enrolled.tokens["refresh_token"]} if end == "logout" else None
        assert api.post(end, body, token=enrolled.token).status_code == 204

    for method, body in (
        ("totp", {"code": enrolled.app.code()}),
        ("recovery-code", {"code": enrolled.codes[0]}),
        ("password", {"password": PASSWORD}),
    ):
        assert answer(api.post(f"step-up/{method}", body, token=enrolled.token)) == (401, "session_ended")
    assert api.post("step-up/totp", {"code": enrolled.app.code()}).status_code == 401


@pytest.mark.security("STEP-02", "STEP-05", "FAC-11")
def test_with_the_last_factor_every_raised_token_falls_at_once(
    api: Api, old: Enrolled, clock: time_machine.Traveller
) -> None:
    raised = api.post("step-up/totp", {"code": old.app.code()}, token=old.token).json()["access_token"]
    assert api.post("/bank/transfers", token=raised).status_code == 200

    assert api.delete(f"factors/{old.factor_id}", token=raised).status_code == 204

    for url in TRANSFERS:
        assert answer(api.post(url, token=raised)) == CHALLENGED
    assert answer(api.post("step-up/totp", {"code": old.app.code(steps=1)}, token=raised)) == WRONG
    assert answer(api.post("step-up/recovery-code", {"code": old.codes[0]}, token=raised)) == WRONG
    by_password = api.post("step-up/password", {"password": PASSWORD}, token=raised).json()
    assert level(by_password["access_token"])[:2] == ("aal1", ("pwd",))
    for url in TRANSFERS:
        assert answer(api.post(url, token=by_password["access_token"])) == CHALLENGED
        assert answer(api.post(url, token=raised)) == CHALLENGED
    # Nor does the token from before rise again with a new factor, which ends the session.
    _, confirmed = enrol(api, by_password["access_token"])
    assert api.post("/bank/transfers", token=confirmed.json()["tokens"]["access_token"]).status_code == 200
    assert answer(api.post("/bank/transfers", token=raised)) == (401, "session_ended")


@pytest.mark.security("STEP-02")
def test_removing_one_of_two_factors_leaves_the_level(api: Api, enrolled: Enrolled) -> None:
    _, confirmed = enrol(api, enrolled.token, name="my tablet")
    token = confirmed.json()["tokens"]["access_token"]
    assert api.delete(f"factors/{enrolled.factor_id}", token=token).status_code == 204
    assert api.post("/bank/transfers", token=token).status_code == 200
    assert answer(api.post("step-up/totp", {"code": enrolled.app.code()}, token=token)) == WRONG


# Limits


@pytest.mark.security("FAC-08")
def test_ten_wrong_codes_close_the_step_up_and_not_the_login(
    api: Api, enrolled: Enrolled, pend: Callable[..., str], kit: Callable[..., None], audited: None
) -> None:
    kit(SESSION_LIMIT=None)
    wrong = {"code": enrolled.app.wrong_code()}
    for number in range(10):
        method, body = ("totp", wrong) if number % 2 else ("recovery-code", {"code": "0" * 24})
        assert answer(api.post(f"step-up/{method}", body, token=enrolled.token)) == WRONG
    right = [("totp", {"code": enrolled.app.code()}), ("recovery-code", {"code": enrolled.codes[0]})]
    for method, body in right:
        closed = api.post(f"step-up/{method}", body, token=enrolled.token)
        assert closed.status_code == 429
        assert 0 < int(closed["Retry-After"]) <= 900
    assert event_names() == ["session.step_up_failed"] * 10 + ["request.throttled"]

    assert answer(finish(api, pend(), enrolled.app.code())) == DONE  # what was refused was not used up
    assert api.get("factors", token=enrolled.token).json()["recovery_codes_left"] == 10


@pytest.mark.security("FAC-08")
def test_wrong_codes_at_login_do_not_close_the_step_up(api: Api, enrolled: Enrolled, pend: Callable[..., str]) -> None:
    for _ in range(2):
        challenge = pend()
        for _try in range(5):
            finish(api, challenge, enrolled.app.wrong_code())
    assert finish(api, pend(), enrolled.app.code()).status_code == 429
    assert answer(api.post("step-up/totp", {"code": enrolled.app.code()}, token=enrolled.token)) == DONE


@pytest.mark.security("FAC-08")
def test_a_right_code_forgets_the_wrong_ones_of_the_step_up(api: Api, enrolled: Enrolled) -> None:
    for code in enrolled.codes[:2]:
        for _ in range(9):
            wrong = api.post("step-up/totp", {"code": enrolled.app.wrong_code()}, token=enrolled.token)
            assert answer(wrong) == WRONG
        assert answer(api.post("step-up/recovery-code", {"code": code}, token=enrolled.token)) == DONE


@pytest.mark.security("FAC-08")
def test_a_rule_that_is_not_named_holds_and_one_that_is_named_empty_does_not(
    api: Api, enrolled: Enrolled, kit: Callable[..., None]
) -> None:
    wrong = {"code": enrolled.app.wrong_code()}
    for empty in ((), [], "", None):
        kit(THROTTLES={"step_up_account": empty})
        statuses = [api.post("step-up/totp", wrong, token=enrolled.token).status_code for _ in range(11)]
        assert statuses == [403] * 11
    kit(THROTTLES={})
    statuses = [api.post("step-up/totp", wrong, token=enrolled.token).status_code for _ in range(11)]
    assert statuses == [403] * 10 + [429]


@pytest.mark.security("STEP-05")
def test_the_code_of_another_user_is_no_step_up(api: Api, enrolled: Enrolled, make_user: Callable[..., Any]) -> None:
    make_user("grace@example.com")
    app: Authenticator
    app, confirmed = enrol(api, api.pair("grace@example.com")["access_token"])
    mail.outbox.clear()
    assert answer(api.post("step-up/totp", {"code": app.code()}, token=enrolled.token)) == WRONG
    foreign = {"code": confirmed.json()["recovery_codes"][0]}
    assert answer(api.post("step-up/recovery-code", foreign, token=enrolled.token)) == WRONG
    assert mail.outbox == []
