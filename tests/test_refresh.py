"""Refresh, over HTTP."""

import base64
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import override_settings
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from ninja_auth_kit import signals
from ninja_auth_kit.models import BlacklistedToken, UserSession
from ninja_auth_kit.tokens import (
    issue_refresh_token,
    password_fingerprint,
    read_refresh_token,
    refresh_token_digest,
)
from tests.conftest import EMAIL, PASSWORD, Api, event_names, events, recorded
from tests.servers import Server

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(timezone.now(), tick=False) as traveller:
        yield traveller


@pytest.fixture
def pair(api: Api, user: Any) -> dict[str, Any]:
    return api.pair()


def refresh(api: Api, token: Any) -> Any:
    return api.post("refresh", {"refresh_token": token})


def code(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


@pytest.mark.security("SES-04")
def test_a_refresh_rotates_the_token_and_keeps_the_session(api: Api, pair: dict[str, Any]) -> None:
    before = UserSession.objects.get()

    successor = refresh(api, pair["refresh_token"]).json()

    after = UserSession.objects.get()
    assert set(successor) == set(pair)
    assert successor["session_id"] == pair["session_id"]
    assert successor["refresh_token"] != pair["refresh_token"]
    assert successor["access_token"] != pair["access_token"]
    assert after.expires_at == before.expires_at
    assert after.generation == 1
    assert api.is_in(successor["access_token"])
    assert refresh(api, successor["refresh_token"]).status_code == 200


def test_refresh_is_accepted_under_its_other_name(api: Api, pair: dict[str, Any]) -> None:
    assert api.post("refresh", {"refresh": pair["refresh_token"]}).status_code == 200


def test_a_refresh_costs_two_statements_in_one_transaction(
    api: Api, pair: dict[str, Any], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(4) as captured:
        refresh(api, pair["refresh_token"])

    statements = [query["sql"].split()[0] for query in captured.captured_queries]
    assert statements == ["SELECT", "BEGIN", "BEGIN;", "COMMIT"]  # the third one is "BEGIN; UPDATE ..."


@pytest.mark.security("SES-05")
def test_the_predecessor_gets_the_same_successor_within_the_grace_period(
    api: Api, pair: dict[str, Any], clock: time_machine.Traveller
) -> None:
    first = refresh(api, pair["refresh_token"]).json()
    clock.shift(timedelta(seconds=10))

    again = refresh(api, pair["refresh_token"]).json()

    assert again["refresh_token"] == first["refresh_token"]
    assert api.is_in(again["access_token"])
    assert UserSession.objects.get().generation == 1


clocks: list[time_machine.Traveller] = []


def slow_claims(user: Any, session: Any) -> dict[str, Any]:
    """Take a while, as a function that asks another service."""
    for clock in clocks:
        clock.shift(timedelta(seconds=8))
    return {}


@pytest.mark.security("SES-05")
def test_the_grace_period_begins_after_slow_claims_of_the_project(
    api: Api, pair: dict[str, Any], clock: time_machine.Traveller, kit: Callable[..., None]
) -> None:
    kit(ACCESS_TOKEN_CLAIMS=f"{__name__}.slow_claims")
    clocks.append(clock)
    try:
        first = refresh(api, pair["refresh_token"]).json()
    finally:
        clocks.clear()
    clock.shift(timedelta(seconds=10))

    again = refresh(api, pair["refresh_token"]).json()

    assert again["refresh_token"] == first["refresh_token"]


@pytest.mark.security("SES-05")
def test_who_loses_the_race_for_a_rotation_gets_the_successor_of_the_winner(
    api: Api, pair: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    rotate, winners = UserSession.objects.rotate, []

    def late(session: UserSession, **changes: Any) -> bool:
        if not winners:
            winners.append({})
            winners[0] = refresh(api, pair["refresh_token"]).json()
        return rotate(session, **changes)

    monkeypatch.setattr(UserSession.objects, "rotate", late)

    mine = refresh(api, pair["refresh_token"]).json()

    assert mine["refresh_token"] == winners[0]["refresh_token"]
    assert UserSession.objects.get().generation == 1


@pytest.mark.security("SES-06")
def test_the_predecessor_after_the_grace_period_ends_the_session_at_once(
    api: Api, pair: dict[str, Any], clock: time_machine.Traveller, audited: None
) -> None:
    successor = refresh(api, pair["refresh_token"]).json()
    clock.shift(timedelta(seconds=10, milliseconds=1))

    assert code(refresh(api, pair["refresh_token"])) == (401, "token_reused")

    assert code(api.get("me", token=successor["access_token"])) == (401, "session_ended")
    for _ in range(3):
        assert code(refresh(api, pair["refresh_token"])) == (401, "session_ended")
    assert code(refresh(api, successor["refresh_token"])) == (401, "session_ended")
    assert event_names().count("session.reuse_detected") == 1
    assert UserSession.objects.get().end_reason == "reused"


@pytest.mark.security("SES-07")
def test_the_grace_period_is_for_the_immediate_predecessor_alone(api: Api, pair: dict[str, Any]) -> None:
    second = refresh(api, pair["refresh_token"]).json()
    third = refresh(api, second["refresh_token"]).json()

    assert code(refresh(api, pair["refresh_token"])) == (401, "token_reused")
    assert not api.is_in(third["access_token"])


@pytest.mark.security("SES-05")
def test_a_grace_period_of_zero_forgives_nothing_not_even_in_the_same_instant(
    api: Api, pair: dict[str, Any], kit: Callable[..., None], clock: time_machine.Traveller
) -> None:
    kit(REFRESH_GRACE_PERIOD=0)
    refresh(api, pair["refresh_token"])

    assert code(refresh(api, pair["refresh_token"])) == (401, "token_reused")


@pytest.fixture
def unlimited_grace(kit: Callable[..., None]) -> None:
    kit(REFRESH_GRACE_PERIOD=None)


@pytest.mark.one_django
@pytest.mark.security("SES-05")
def test_without_a_limit_of_time_the_predecessor_gets_its_successor_until_that_is_used(
    api: Api, pair: dict[str, Any], unlimited_grace: None, clock: time_machine.Traveller
) -> None:
    lost = refresh(api, pair["refresh_token"]).json()
    clock.shift(timedelta(days=2))

    again = refresh(api, pair["refresh_token"]).json()
    assert again["refresh_token"] == lost["refresh_token"]
    assert api.is_in(again["access_token"])  # the use of an access token does not use up the refresh token
    clock.shift(timedelta(days=2))
    assert refresh(api, pair["refresh_token"]).json()["refresh_token"] == lost["refresh_token"]

    newest = refresh(api, again["refresh_token"]).json()

    assert code(refresh(api, pair["refresh_token"])) == (401, "token_reused")
    assert code(refresh(api, newest["refresh_token"])) == (401, "session_ended")
    assert not api.is_in(newest["access_token"])


@pytest.mark.one_django
@pytest.mark.security("SES-06")
def test_without_a_limit_of_time_a_thief_who_gets_ahead_is_still_found(
    api: Api, pair: dict[str, Any], unlimited_grace: None, audited: None, clock: time_machine.Traveller
) -> None:
    stolen = refresh(api, pair["refresh_token"]).json()["refresh_token"]
    of_thief = refresh(api, refresh(api, stolen).json()["refresh_token"]).json()
    clock.shift(timedelta(hours=3))

    assert code(refresh(api, stolen)) == (401, "token_reused")

    assert not api.is_in(of_thief["access_token"])
    assert code(refresh(api, of_thief["refresh_token"])) == (401, "session_ended")
    assert event_names().count("session.reuse_detected") == 1


@pytest.mark.one_django
@pytest.mark.security("SES-18")
def test_without_a_limit_of_time_the_predecessor_expires_with_the_session(
    api: Api, pair: dict[str, Any], unlimited_grace: None, clock: time_machine.Traveller
) -> None:
    refresh(api, pair["refresh_token"])
    clock.shift(timedelta(days=7))

    assert code(refresh(api, pair["refresh_token"])) == (401, "token_expired")


@pytest.mark.one_django
@pytest.mark.security("SES-09", "SES-13")
@pytest.mark.parametrize("presented", ["the predecessor", "the successor"])
def test_without_a_limit_of_time_a_logout_ends_both_tokens(
    api: Api, pair: dict[str, Any], unlimited_grace: None, presented: str
) -> None:
    successor = refresh(api, pair["refresh_token"]).json()
    token = pair["refresh_token"] if presented == "the predecessor" else successor["refresh_token"]

    assert api.post("logout", {"refresh_token": token}).status_code == 204

    for one in (pair, successor):
        assert code(refresh(api, one["refresh_token"])) == (401, "session_ended")


@pytest.mark.one_django
@pytest.mark.security("SES-01")
def test_without_a_limit_of_time_another_login_ends_both_tokens(
    api: Api, pair: dict[str, Any], unlimited_grace: None
) -> None:
    successor = refresh(api, pair["refresh_token"]).json()

    newest = api.pair()

    for one in (pair, successor):
        assert code(refresh(api, one["refresh_token"])) == (401, "session_ended")
    assert api.is_in(newest["access_token"])


@pytest.mark.one_django
@pytest.mark.security("SES-19")
@pytest.mark.parametrize("former_secret", [False, True])
def test_a_predecessor_on_the_blacklist_gets_no_successor(
    api: Api,
    user: Any,
    pair: dict[str, Any],
    unlimited_grace: None,
    kit: Callable[..., None],
    settings: Settings,
    former_secret: bool,
) -> None:
    refresh(api, pair["refresh_token"])
    BlacklistedToken.objects.create(token=refresh_token_digest(pair["refresh_token"], user_id=user.pk))
    if former_secret:
        former = [{"alg": "HS256", "key": settings.JWT_SECRET_KEY, "state": "verify-only"}]
        kit(REFRESH_GRACE_PERIOD=None, SIGNING_KEYS=former)
        settings.JWT_SECRET_KEY = settings.JWT_SECRET_KEY[::-1]

    assert code(refresh(api, pair["refresh_token"])) == (401, "session_ended")


@pytest.mark.security("SES-06")
def test_whoever_finds_the_reuse_second_is_told_that_the_session_is_over_and_announces_nothing(
    api: Api, pair: dict[str, Any], kit: Callable[..., None], audited: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit(REFRESH_GRACE_PERIOD=0)
    refresh(api, pair["refresh_token"])
    # Another request has ended the session since it was read.
    monkeypatch.setattr(UserSession.objects, "end", lambda **_: [])

    assert code(refresh(api, pair["refresh_token"])) == (401, "session_ended")
    assert "session.reuse_detected" not in event_names()


@pytest.mark.security("SES-08")
@pytest.mark.parametrize("atomic_requests", [False, True])
def test_the_session_stays_ended_although_the_answer_is_an_error(
    api: Api, pair: dict[str, Any], kit: Callable[..., None], atomic_requests: bool, audited: None
) -> None:
    kit(REFRESH_GRACE_PERIOD=0)
    refresh(api, pair["refresh_token"])
    connection.settings_dict["ATOMIC_REQUESTS"] = atomic_requests
    try:
        refresh(api, pair["refresh_token"])
    finally:
        connection.settings_dict["ATOMIC_REQUESTS"] = False

    assert not UserSession.objects.get().is_active
    assert "session.reuse_detected" in event_names()


class BreakingMiddleware:
    """A middleware that fails after the view has returned."""

    def __init__(self, get_response: Callable[..., Any]) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        self.get_response(request)
        raise RuntimeError("a middleware of the project failed")


@pytest.mark.security("SES-08")
@pytest.mark.parametrize("atomic_requests", [False, True])
def test_the_session_stays_ended_although_the_host_fails_afterwards(
    api: Api,
    pair: dict[str, Any],
    kit: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    atomic_requests: bool,
) -> None:
    def fail(**_: Any) -> None:
        raise RuntimeError("a receiver of the project failed")

    kit(REFRESH_GRACE_PERIOD=0)
    refresh(api, pair["refresh_token"])
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", atomic_requests)
    signals.refresh_reuse_detected.connect(fail)
    try:
        with override_settings(MIDDLEWARE=[f"{__name__}.BreakingMiddleware"]):
            assert Api().post("refresh", {"refresh_token": pair["refresh_token"]}).status_code == 500
    finally:
        signals.refresh_reuse_detected.disconnect(fail)

    assert UserSession.objects.get().end_reason == "reused"


@pytest.mark.security("SES-18")
def test_a_refresh_token_idles_so_long_and_no_longer(api: Api, user: Any, clock: time_machine.Traveller) -> None:
    pair = api.pair()
    clock.shift(timedelta(days=7) - timedelta(seconds=1))
    successor = refresh(api, pair["refresh_token"]).json()
    assert successor["refresh_expires_in"] == 7 * 86_400

    clock.shift(timedelta(days=7))

    assert code(refresh(api, successor["refresh_token"])) == (401, "token_expired")


@pytest.mark.security("SES-18")
def test_no_chain_of_refreshes_outlives_the_session(api: Api, user: Any, clock: time_machine.Traveller) -> None:
    token = api.pair()["refresh_token"]
    for _ in range(4):
        clock.shift(timedelta(days=6))
        token = refresh(api, token).json()["refresh_token"]
    clock.shift(timedelta(days=5))
    last = refresh(api, token).json()
    assert last["refresh_expires_in"] == 86_400

    clock.shift(timedelta(days=1))

    assert code(refresh(api, last["refresh_token"])) == (401, "token_expired")


def alternate_encoding(token: str) -> str:
    """Return the token with a flipped bit that base64 ignores."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return token[:-1] + alphabet[alphabet.index(token[-1]) ^ 1]


@pytest.mark.security("SES-19", "JWT-11")
def test_what_is_not_a_refresh_token_of_ours_is_refused_with_one_answer(api: Api, pair: dict[str, Any]) -> None:
    genuine = pair["refresh_token"]
    claims = read_refresh_token(genuine)
    session = UserSession.objects.get()
    forgeries = [
        "",
        "nakr_",
        "garbage",
        genuine[:-1],
        genuine + "A",
        genuine + "=",
        " " + genuine,
        genuine.swapcase(),
        genuine.removeprefix("nakr_"),
        alternate_encoding(genuine),
        "nakr_" + base64.urlsafe_b64encode(claims.session_id.bytes + bytes(36)).decode().rstrip("="),
        "nakr_" + "é" * 70,
        "nakr_" + "+" * 70,
        issue_refresh_token(session_id=claims.session_id, generation=7),
        issue_refresh_token(session_id=type(claims.session_id)(int=1), generation=0),
        pair["access_token"],
        session.refresh_token,
        session.refresh_token.rpartition("$")[2],
        session.auth_hash,
        str(session.pk),
    ]

    answers = [refresh(api, forgery) for forgery in forgeries]

    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1
    assert answers[0].json()["code"] == "invalid_token"
    assert refresh(api, genuine).status_code == 200


@pytest.mark.security("DOS-04")
def test_what_is_not_a_token_of_ours_is_refused_without_a_query(
    api: Api, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(0):
        assert code(refresh(api, "nakr_" + "A" * 70)) == (401, "invalid_token")


@pytest.mark.parametrize("token", [None, 1, True, [], {}, ["x"], "x" * 5000, "nul\x00"])
def test_what_is_not_even_a_token_by_type_is_an_input_error(api: Api, token: Any) -> None:
    response = refresh(api, token)

    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "refresh_token"


@pytest.mark.security("SES-15")
def test_a_disabled_user_cannot_refresh(api: Api, pair: dict[str, Any]) -> None:
    get_user_model().objects.update(is_active=False)

    assert code(refresh(api, pair["refresh_token"])) == (401, "session_ended")


@pytest.mark.security("SES-16")
@pytest.mark.parametrize("by_sql", [False, True])
def test_a_deleted_user_cannot_refresh(api: Api, pair: dict[str, Any], by_sql: bool) -> None:
    if by_sql:
        with connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {get_user_model()._meta.db_table}")
    else:
        get_user_model().objects.all().delete()

    assert code(refresh(api, pair["refresh_token"])) == (401, "invalid_token")
    assert code(api.get("me", token=pair["access_token"])) == (401, "invalid_token")


@pytest.mark.security("SES-14")
def test_a_password_set_in_a_shell_ends_the_refresh_token_too(api: Api, user: Any, pair: dict[str, Any]) -> None:
    user.set_password("set in a shell, without the kit")
    user.save()

    assert code(refresh(api, pair["refresh_token"])) == (401, "session_ended")


def test_a_token_put_on_the_blacklist_by_hand_is_refused(api: Api, pair: dict[str, Any]) -> None:
    BlacklistedToken.objects.create(token=UserSession.objects.get().refresh_token)

    assert code(refresh(api, pair["refresh_token"])) == (401, "session_ended")
    assert UserSession.objects.get().generation == 0


def test_the_grace_period_does_not_hand_out_a_token_from_the_blacklist(api: Api, pair: dict[str, Any]) -> None:
    refresh(api, pair["refresh_token"])
    BlacklistedToken.objects.create(token=UserSession.objects.get().refresh_token)

    assert code(refresh(api, pair["refresh_token"])) == (401, "session_ended")


@pytest.mark.security("SES-19")
@pytest.mark.parametrize("presented", ["the current token", "its predecessor"])
def test_who_writes_to_the_sessions_and_has_no_key_becomes_nobody_else(
    api: Api, make_user: Callable[..., Any], audited: None, presented: str
) -> None:
    victim, mallory = make_user("victim@example.com"), make_user("mallory@example.com")
    api.pair("victim@example.com")
    first = api.pair("mallory@example.com")["refresh_token"]
    second = refresh(api, first).json()["refresh_token"]
    token = second if presented == "the current token" else first
    auth_hash = UserSession.objects.get(user=victim).auth_hash
    before = event_names()
    UserSession.objects.filter(user=mallory).update(user_id=victim.pk, auth_hash=auth_hash, slot=7)

    assert code(refresh(api, token)) == (401, "session_ended")

    assert event_names()[len(before) :] == ["session.refresh_failed"]
    UserSession.objects.filter(slot=7).update(
        user_id=mallory.pk, auth_hash=password_fingerprint(mallory.password), slot=0
    )
    assert refresh(api, token).status_code == 200


@pytest.mark.security("SES-19")
def test_nobody_becomes_somebody_else_by_a_session_of_a_former_secret(
    api: Api, make_user: Callable[..., Any], settings: Settings, kit: Callable[..., None]
) -> None:
    victim, mallory = make_user("victim@example.com"), make_user("mallory@example.com")
    api.pair("victim@example.com")
    token = api.pair("mallory@example.com")["refresh_token"]
    auth_hash = UserSession.objects.get(user=victim).auth_hash
    kit(SIGNING_KEYS=[{"alg": "HS256", "key": settings.JWT_SECRET_KEY, "state": "verify-only"}])
    settings.JWT_SECRET_KEY = settings.JWT_SECRET_KEY[::-1]
    UserSession.objects.filter(user=mallory).update(user_id=victim.pk, auth_hash=auth_hash, slot=7)

    assert code(refresh(api, token)) == (401, "session_ended")


def test_every_refused_refresh_is_announced_once(api: Api, pair: dict[str, Any], audited: None) -> None:
    refresh(api, "garbage")
    api.post("logout", token=pair["access_token"])
    refresh(api, pair["refresh_token"])

    failed = [event for event in events() if event["type"] == "ninja-auth-kit.session.refresh_failed.v1"]
    assert [event["data"]["reason"] for event in failed] == ["invalid_token", "session_ended"]
    assert failed[1]["data"]["session"]["id"] == pair["session_id"]


@pytest.mark.race
@pytest.mark.security("SES-05")
def test_twenty_refreshes_at_once_get_one_and_the_same_successor(
    servers: Callable[..., Server], pair: dict[str, Any]
) -> None:
    server = servers()
    call = ("POST", "/api/auth/refresh", {"refresh_token": pair["refresh_token"]})

    answers = server.race(*[call] * 20)

    assert [status for status, _ in answers] == [200] * 20
    (successor,) = {body["refresh_token"] for _, body in answers}
    assert UserSession.objects.get().generation == 1
    assert {server.request("GET", "/api/auth/me", token=body["access_token"])[0] for _, body in answers} == {200}
    assert server.request("POST", "/api/auth/refresh", {"refresh_token": successor})[0] == 200


@pytest.mark.race
@pytest.mark.security("SES-05")
def test_without_a_limit_of_time_twenty_late_retries_at_once_get_the_same_successor(
    servers: Callable[..., Server], pair: dict[str, Any]
) -> None:
    server = servers(REFRESH_GRACE_PERIOD=None)
    call = ("POST", "/api/auth/refresh", {"refresh_token": pair["refresh_token"]})
    _, lost = server.request(*call)
    UserSession.objects.update(refreshed_at=timezone.now() - timedelta(hours=3))

    answers = server.race(*[call] * 20)

    assert [status for status, _ in answers] == [200] * 20
    assert {body["refresh_token"] for _, body in answers} == {lost["refresh_token"]}
    assert UserSession.objects.get().generation == 1


@pytest.mark.race
@pytest.mark.security("SES-05", "SES-06")
def test_without_grace_one_of_twenty_refreshes_succeeds_and_the_session_is_ended_once(
    servers: Callable[..., Server], pair: dict[str, Any]
) -> None:
    server = servers(REFRESH_GRACE_PERIOD=0, environment={"TEST_RABBITMQ_HOST": "127.0.0.1"})
    call = ("POST", "/api/auth/refresh", {"refresh_token": pair["refresh_token"]})

    answers = server.race(*[call] * 20)

    assert sorted(status for status, _ in answers) == [200] + [401] * 19
    assert {body["code"] for status, body in answers if status == 401} <= {"token_reused", "session_ended"}
    assert event_names().count("session.reuse_detected") == 1
    assert event_names().count("session.refreshed") == 1
    assert recorded("failure") == 1 + 18
    (winner,) = (body for status, body in answers if status == 200)
    assert server.request("GET", "/api/auth/me", token=winner["access_token"])[0] == 401
    assert not UserSession.objects.get().is_active


@pytest.mark.race
@pytest.mark.security("SES-09")
def test_a_hundred_races_of_refresh_and_logout_leave_no_live_token(servers: Callable[..., Server], user: Any) -> None:
    server = servers()
    alive = []
    for _ in range(100):
        _, pair = server.request("POST", "/api/auth/login", {"email": EMAIL, "password": PASSWORD})
        (status, refreshed), (logout, _) = server.race(
            ("POST", "/api/auth/refresh", {"refresh_token": pair["refresh_token"]}),
            ("POST", "/api/auth/logout", {"refresh_token": pair["refresh_token"]}),
        )
        assert status in {200, 401}
        assert logout == 204
        pairs = [pair, refreshed] if status == 200 else [pair]
        alive += [one for one in pairs if is_alive(server, one)]

    assert alive == []
    assert not UserSession.objects.filter(is_active=True).exists()


@pytest.mark.race
@pytest.mark.security("SES-10")
def test_a_hundred_races_of_refresh_and_login_leave_the_logins_session_alone(
    servers: Callable[..., Server], user: Any
) -> None:
    server = servers()
    credentials = {"email": EMAIL, "password": PASSWORD}
    _, pair = server.request("POST", "/api/auth/login", credentials)
    for _ in range(100):
        (status, refreshed), (login, fresh) = server.race(
            ("POST", "/api/auth/refresh", {"refresh_token": pair["refresh_token"]}),
            ("POST", "/api/auth/login", credentials),
        )
        assert login == 200
        assert status in {200, 401}
        assert not is_alive(server, pair)
        assert status == 401 or not is_alive(server, refreshed)
        assert UserSession.objects.get(is_active=True).pk == read_refresh_token(fresh["refresh_token"]).session_id
        pair = fresh

    assert is_alive(server, pair)


def is_alive(server: Server, pair: dict[str, Any]) -> bool:
    """Return whether any token of a pair is still accepted."""
    door, _ = server.request("GET", "/api/auth/me", token=pair["access_token"])
    again, _ = server.request("POST", "/api/auth/refresh", {"refresh_token": pair["refresh_token"]})
    return door == 200 or again == 200
