"""Listing the sessions of a user, and ending one of them."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone

from ninja_auth_kit.models import UserSession
from tests.conftest import PASSWORD, Api, event_names, events

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def unlimited(kit: Callable[..., None]) -> None:
    kit(SESSION_LIMIT=None)


def test_the_list_tells_where_one_is_logged_in(api: Api, user: Any, unlimited: None) -> None:
    api.login(HTTP_USER_AGENT="phone", REMOTE_ADDR="2001:db8::7")
    laptop = api.login(HTTP_USER_AGENT="laptop", REMOTE_ADDR="203.0.113.7").json()

    response = api.get("sessions", token=laptop["access_token"])

    assert response.status_code == 200
    newest, oldest = response.json()
    assert set(newest) == {"id", "login_time", "last_seen", "ip_address", "user_agent", "is_current"}
    assert (newest["user_agent"], newest["ip_address"], newest["is_current"]) == ("laptop", "203.0.113.7", True)
    assert (oldest["user_agent"], oldest["ip_address"], oldest["is_current"]) == ("phone", "2001:db8::7", False)
    assert newest["id"] == laptop["session_id"]


def test_a_refresh_moves_last_seen(api: Api, user: Any) -> None:
    pair = api.pair()
    UserSession.objects.update(refreshed_at=timezone.now() - timedelta(hours=1))
    (before,) = api.get("sessions", token=pair["access_token"]).json()

    api.post("refresh", {"refresh_token": pair["refresh_token"]})

    (after,) = api.get("sessions", token=pair["access_token"]).json()
    assert after["last_seen"] > before["last_seen"]
    assert after["login_time"] == before["login_time"]


def test_the_list_leaves_out_sessions_that_do_not_count_any_more(
    api: Api, make_user: Callable[..., Any], unlimited: None
) -> None:
    make_user()
    make_user("bob@example.com")
    api.pair("bob@example.com")
    ended, expired, here = api.pair(), api.pair(), api.pair()
    api.post("logout", token=ended["access_token"])
    UserSession.objects.filter(pk=expired["session_id"]).update(refresh_expires_at=timezone.now())

    listed = api.get("sessions", token=here["access_token"]).json()

    assert [session["id"] for session in listed] == [here["session_id"]]


def test_ending_one_session_ends_that_one(api: Api, user: Any, unlimited: None, audited: None) -> None:
    other, here = api.pair(), api.pair()

    response = api.delete(f"sessions/{other['session_id']}", token=here["access_token"])

    assert (response.status_code, response.content) == (204, b"")
    assert not api.is_in(other["access_token"])
    assert api.is_in(here["access_token"])
    assert UserSession.objects.get(pk=other["session_id"]).end_reason == "revoked"
    assert event_names()[-1] == "session.revoked"
    assert events()[-1]["data"]["reason"] == "revoked"
    assert events()[-1]["data"]["actor"] == {"type": "user", "id": str(user.pk)}


def test_ending_ones_own_session_is_a_logout(api: Api, user: Any) -> None:
    pair = api.pair()

    assert api.delete(f"sessions/{pair['session_id']}", token=pair["access_token"]).status_code == 204

    assert not api.is_in(pair["access_token"])


def test_foreign_unknown_ended_and_impossible_sessions_look_alike(
    api: Api, make_user: Callable[..., Any], unlimited: None
) -> None:
    make_user()
    make_user("bob@example.com")
    foreign, ended, here = api.pair("bob@example.com"), api.pair(), api.pair()
    api.post("logout", token=ended["access_token"])
    ids = [foreign["session_id"], ended["session_id"], "0" * 32, "nonsense", "%00", "1", "x" * 3000]

    answers = [api.delete(f"sessions/{id}", token=here["access_token"]) for id in ids]

    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1
    assert answers[0].json()["code"] == "not_found"
    assert api.is_in(foreign["access_token"])


@pytest.mark.security("SES-12")
def test_users_whose_stored_hashes_are_the_same_see_and_keep_their_own_sessions_alone(
    api: Api, make_user: Callable[..., Any], unlimited: None
) -> None:
    make_user()
    bob = make_user("bob@example.com")
    # An import may leave several users with the same hash.
    get_user_model().objects.update(password=bob.password)
    ada, other = api.pair(), api.pair("bob@example.com")

    listed = api.get("sessions", token=ada["access_token"]).json()

    assert [session["id"] for session in listed] == [ada["session_id"]]
    change = {"current_password": PASSWORD, "new_password": "a brand new password"}
    assert api.post("password/change", change, token=ada["access_token"]).status_code == 204
    assert api.is_in(ada["access_token"])
    assert api.is_in(other["access_token"])
