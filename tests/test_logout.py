"""Logout, over HTTP."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth import user_logged_out
from django.utils import timezone

from ninja_auth_kit.models import BlacklistedToken, UserSession
from tests.conftest import EMAIL, Api, event_names, events

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.security("SES-13")
@pytest.mark.parametrize("by", ["both", "access", "refresh", "alias"])
def test_logout_ends_the_session_at_once(api: Api, user: Any, by: str) -> None:
    pair = api.pair()
    token = pair["access_token"] if by in {"both", "access"} else None
    body = {
        "both": {"refresh_token": pair["refresh_token"]},
        "access": None,
        "refresh": {"refresh_token": pair["refresh_token"]},
        "alias": {"refresh": pair["refresh_token"]},
    }[by]

    response = api.post("logout", body, token=token)

    assert (response.status_code, response.content) == (204, b"")
    assert api.get("me", token=pair["access_token"]).json()["code"] == "session_ended"
    assert api.post("refresh", {"refresh_token": pair["refresh_token"]}).json()["code"] == "session_ended"
    assert UserSession.objects.get().end_reason == "logout"


@pytest.mark.security("SES-12")
def test_logout_answers_alike_whatever_it_gets(api: Api, user: Any) -> None:
    pair = api.pair()
    bodies = [
        {"refresh_token": pair["refresh_token"]},
        {"refresh_token": pair["refresh_token"]},
        {"refresh_token": "garbage"},
        {"refresh_token": ""},
        {"refresh_token": None},
        {"refresh_token": 7},
        {"refresh_token": ["x"]},
        {"refresh_token": "nul\x00"},
        {"refresh_token": "\ud800"},
        {"something": "else"},
        {},
        None,
    ]

    answers = [api.post("logout", body) for body in bodies]
    answers += [api.post("logout", token=token) for token in ("garbage", "a.b.c", "")]

    assert {answer.status_code for answer in answers} == {204}
    assert len({(answer.content, str(sorted(answer.headers.items()))) for answer in answers}) == 1


@pytest.mark.security("SES-12")
def test_only_the_callers_own_session_ends(api: Api, make_user: Callable[..., Any]) -> None:
    make_user()
    make_user("bob@example.com")
    ada, bob = api.pair(), api.pair("bob@example.com")

    api.post("logout", {"refresh_token": bob["refresh_token"]}, token=ada["access_token"])

    assert not api.is_in(ada["access_token"])
    assert api.is_in(bob["access_token"])


@pytest.mark.security("SES-12")
def test_an_expired_refresh_token_gets_the_answer_of_every_other(api: Api, user: Any) -> None:
    with time_machine.travel(timezone.now(), tick=False) as clock:
        token = api.pair()["refresh_token"]
        clock.shift(timedelta(days=8))

        answers = [api.post("logout", {"refresh_token": one}) for one in (token, token, "garbage")]

    assert {answer.status_code for answer in answers} == {204}
    assert len({(answer.content, str(sorted(answer.headers.items()))) for answer in answers}) == 1


def test_an_expired_access_token_is_good_enough_to_log_out(api: Api, user: Any) -> None:
    with time_machine.travel(timezone.now(), tick=False) as clock:
        pair = api.pair()
        clock.shift(timedelta(minutes=6))
        assert api.get("me", token=pair["access_token"]).json()["code"] == "token_expired"

        api.post("logout", token=pair["access_token"])

        assert api.post("refresh", {"refresh_token": pair["refresh_token"]}).json()["code"] == "session_ended"


def test_a_rotated_refresh_token_is_good_enough_to_log_out(api: Api, user: Any) -> None:
    pair = api.pair()
    successor = api.post("refresh", {"refresh_token": pair["refresh_token"]}).json()

    api.post("logout", {"refresh_token": pair["refresh_token"]})

    assert not api.is_in(successor["access_token"])


def test_logout_all_ends_every_session_of_the_user_and_nobody_elses(
    api: Api, make_user: Callable[..., Any], kit: Callable[..., None], audited: None
) -> None:
    kit(SESSION_LIMIT=None)
    make_user()
    make_user("bob@example.com")
    pairs = [api.pair() for _ in range(3)]
    bob = api.pair("bob@example.com")

    response = api.post("logout/all", token=pairs[0]["access_token"])

    assert response.status_code == 204
    assert not any(api.is_in(pair["access_token"]) for pair in pairs)
    assert api.is_in(bob["access_token"])
    (event,) = (event for event in events() if event["type"] == "ninja-auth-kit.session.logged_out.v1")
    assert event["data"]["details"] == {"scope": "all", "sessions_ended": 3}
    assert BlacklistedToken.objects.count() == 3


def test_logout_all_asks_for_an_access_token(api: Api) -> None:
    response = api.post("logout/all")

    assert response.status_code == 401
    assert response["WWW-Authenticate"] == "Bearer"


def test_a_logout_is_announced_once_however_often_it_is_repeated(api: Api, user: Any, audited: None) -> None:
    pair = api.pair()
    told = []

    def hear(user: Any, **_: Any) -> None:
        told.append(user.pk)

    user_logged_out.connect(hear)
    try:
        for _ in range(3):
            api.post("logout", {"refresh_token": pair["refresh_token"]})
    finally:
        user_logged_out.disconnect(hear)

    assert event_names() == ["session.logged_in", "session.logged_out"]
    assert told == [user.pk]
    assert api.login(EMAIL).status_code == 200


def test_a_session_whose_token_was_put_on_the_blacklist_by_hand_can_still_be_ended(api: Api, user: Any) -> None:
    pair = api.pair()
    BlacklistedToken.objects.create(token=UserSession.objects.get().refresh_token)

    assert api.post("logout", token=pair["access_token"]).status_code == 204
    assert not api.is_in(pair["access_token"])
