"""Remembered devices: they skip the question at login, and never raise the level."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from ninja_auth_kit.contrib.factors.models import Factor, RememberedDevice
from ninja_auth_kit.models import UserSession
from ninja_auth_kit.tokens import read_access_token
from tests.attacks.canaries import database, leaks
from tests.conftest import EMAIL, PASSWORD, Api, event_names, mailed_token
from tests.features.conftest import Enrolled, answer, enrol, finish

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.security("FAC-14")]

NEW_PASSWORD = "another long walk in the hills"
LIFETIME = timedelta(days=30)
Remember = Callable[[], str]


@pytest.fixture
def on(kit: Callable[..., None]) -> None:
    kit(FACTORS={"REMEMBER_DEVICE": LIFETIME}, SESSION_LIMIT=None)


@pytest.fixture
def remember(
    on: None, api: Api, clock: time_machine.Traveller, enrolled: Enrolled, pend: Callable[..., str]
) -> Remember:
    """Return a function that logs in with a code, and returns the token of the device."""

    def login() -> str:
        done = finish(api, pend(), enrolled.app.code(), remember_device=True)
        assert done.status_code == 200, done.content
        clock.shift(30)
        return str(done.json()["device_token"])

    return login


def log_in(api: Api, device_token: Any, email: str = EMAIL, password: str = PASSWORD) -> Any:
    return api.post("login", {"email": email, "password": password, "device_token": device_token})


def test_no_device_is_remembered_by_default(api: Api, enrolled: Enrolled, pend: Callable[..., str]) -> None:
    done = finish(api, pend(), enrolled.app.code(), remember_device=True)
    assert done.json()["device_token"] is None
    assert RememberedDevice.objects.count() == 0


def test_no_device_is_remembered_unless_the_client_asks(
    on: None, api: Api, enrolled: Enrolled, pend: Callable[..., str]
) -> None:
    assert finish(api, pend(), enrolled.app.code()).json()["device_token"] is None
    assert RememberedDevice.objects.count() == 0


def test_a_remembered_device_skips_the_question_and_has_level_1(
    api: Api, enrolled: Enrolled, remember: Remember, audited: None
) -> None:
    token = remember()
    assert token.startswith("nakd_")

    for _ in range(3):  # also at the next logins
        done = log_in(api, token)
        assert done.status_code == 200, done.content
        assert done.json()["acr"] == "aal1"
        proved = read_access_token(done.json()["access_token"]).authentication
        assert (proved.acr, proved.methods) == ("aal1", ("pwd", "dev"))
        refreshed = api.post("refresh", {"refresh_token": done.json()["refresh_token"]}).json()
        assert read_access_token(refreshed["access_token"]).authentication == proved

    assert api.login().status_code == 202  # without the token, as before
    assert event_names() == [
        "session.factor_requested",
        "session.logged_in",
        "device.remembered",
        *["session.logged_in", "session.refreshed"] * 3,
        "session.factor_requested",
    ]


def test_a_login_on_a_remembered_device_touches_no_factor_until_the_factor_is_proved(
    api: Api, enrolled: Enrolled, remember: Remember, clock: time_machine.Traveller
) -> None:
    access = log_in(api, remember()).json()["access_token"]
    for method, path in (
        ("POST", "factors/totp"),
        ("POST", "factors/recovery-codes"),
        ("DELETE", f"factors/{enrolled.factor_id}"),
    ):
        assert answer(api(method, path, token=access)) == (401, "insufficient_user_authentication")
    raised = api.post("step-up/totp", {"code": enrolled.app.code()}, token=access).json()["access_token"]
    assert read_access_token(raised).authentication.methods == ("pwd", "otp", "mfa")
    assert api.post("factors/recovery-codes", token=raised).status_code == 200


def test_the_token_is_not_in_the_database(remember: Remember) -> None:
    token = remember()
    assert leaks(database(), {"the token": token, "its secret": token.removeprefix("nakd_")}) == []


def by_change(api: Api, enrolled: Enrolled, password: str) -> str:
    body = {"current_password": password, "new_password": NEW_PASSWORD}
    assert api.post("password/change", body, token=enrolled.token).status_code == 204
    return NEW_PASSWORD


def by_reset(api: Api, enrolled: Enrolled, password: str) -> str:
    api.post("password/reset", {"email": EMAIL})
    body = {"token": mailed_token(), "new_password": NEW_PASSWORD}
    assert api.post("password/reset/confirm", body).status_code == 204
    return NEW_PASSWORD


def by_second_factor(api: Api, enrolled: Enrolled, password: str) -> str:
    assert enrol(api, enrolled.token)[1].status_code == 200
    return password


def by_removal(api: Api, enrolled: Enrolled, password: str) -> str:
    """Remove the only factor, and add another."""
    assert api.delete(f"factors/{enrolled.factor_id}", token=enrolled.token).status_code == 204
    assert enrol(api, api.pair()["access_token"])[1].status_code == 200
    return password


def by_forgetting_all(api: Api, enrolled: Enrolled, password: str) -> str:
    assert api.delete("devices", token=enrolled.token).status_code == 204
    return password


def by_forgetting_it(api: Api, enrolled: Enrolled, password: str) -> str:
    (device,) = api.get("devices", token=enrolled.token).json()
    assert api.delete(f"devices/{device['id']}", token=enrolled.token).status_code == 204
    return password


def by_the_setting(api: Api, enrolled: Enrolled, password: str) -> str:
    from django.conf import settings

    settings.NINJA_AUTH_KIT = {**settings.NINJA_AUTH_KIT, "FACTORS": {"REMEMBER_DEVICE": None}}
    return password


@pytest.mark.parametrize(
    "end",
    [
        by_change,
        by_reset,
        by_second_factor,
        by_removal,
        by_forgetting_all,
        by_forgetting_it,
        by_the_setting,
    ],
)
def test_a_device_is_forgotten(
    api: Api, enrolled: Enrolled, remember: Remember, end: Callable[[Api, Enrolled, str], str]
) -> None:
    token = remember()
    assert log_in(api, token).status_code == 200

    password = end(api, enrolled, PASSWORD)

    assert log_in(api, token, password=password).status_code == 202


def test_a_device_is_forgotten_with_another_address(api: Api, enrolled: Enrolled, remember: Remember) -> None:
    token = remember()
    body = {"new_email": "lovelace@example.com", "password": PASSWORD}
    assert api.post("email/change", body, token=enrolled.token).status_code == 202
    assert api.post("email/change/confirm", {"token": mailed_token(-2)}).status_code == 204
    assert log_in(api, token, email="lovelace@example.com").status_code == 202


def test_a_device_is_remembered_as_long_as_the_setting_says(
    api: Api, enrolled: Enrolled, remember: Remember, clock: time_machine.Traveller
) -> None:
    token = remember()  # and 30 seconds have passed
    clock.shift(LIFETIME - timedelta(seconds=31))
    assert log_in(api, token).status_code == 200
    clock.shift(1)
    assert log_in(api, token).status_code == 202


def test_at_most_ten_devices_are_remembered_and_the_one_not_used_for_longest_goes(
    api: Api, enrolled: Enrolled, remember: Remember
) -> None:
    tokens = [remember() for _ in range(10)]
    assert log_in(api, tokens[0]).status_code == 200
    tokens.append(remember())
    assert RememberedDevice.objects.count() == 10
    statuses = [log_in(api, token).status_code for token in tokens]
    assert statuses == [200, 202, *[200] * 9]


def test_a_device_token_is_its_users_alone(
    api: Api, enrolled: Enrolled, remember: Remember, make_user: Callable[..., Any]
) -> None:
    token = remember()
    other = make_user("grace@example.com")
    assert enrol(api, api.pair("grace@example.com")["access_token"])[1].status_code == 200
    assert log_in(api, token, email="grace@example.com").status_code == 202

    # Nor after somebody who can write to the database has moved the row.
    RememberedDevice.objects.update(user=other.pk)
    assert log_in(api, token, email="grace@example.com").status_code == 202


@pytest.mark.parametrize("token", ["", "nakd_", "nakd_AAAA", "x" * 4096, "nakt_AAAA", "\u0130\U0001d7ce", " ", None])
def test_a_bad_token_is_ignored(api: Api, enrolled: Enrolled, remember: Remember, token: str | None) -> None:
    remember()
    assert log_in(api, token).status_code == 202
    wrong = log_in(api, token, password="wrong")
    assert answer(wrong) == (401, "invalid_credentials")


def test_a_token_of_a_device_opens_nothing_else(api: Api, enrolled: Enrolled, remember: Remember) -> None:
    token = remember()
    assert answer(log_in(api, token, password="wrong")) == (401, "invalid_credentials")
    assert api.get("me", token=token).status_code == 401
    assert api.post("refresh", {"refresh_token": token}).status_code == 401
    assert answer(finish(api, token, enrolled.app.code())) == (401, "invalid_challenge")


def test_for_a_user_without_a_factor_a_token_changes_nothing(on: None, api: Api, user: Any) -> None:
    done = log_in(api, "nakd_AAAA")
    assert read_access_token(done.json()["access_token"]).authentication.methods == ("pwd",)


def test_the_owner_sees_the_devices_and_lets_one_be_forgotten(
    api: Api, enrolled: Enrolled, remember: Remember, audited: None
) -> None:
    api.client.defaults["HTTP_USER_AGENT"] = "the phone"
    phone = remember()
    api.client.defaults["HTTP_USER_AGENT"] = "the laptop"
    laptop = remember()
    listed = api.get("devices", token=enrolled.token).json()
    assert [device["user_agent"] for device in listed] == ["the laptop", "the phone"]
    assert {device["ip_address"] for device in listed} == {"127.0.0.1"}
    assert set(listed[0]) == {"id", "created_at", "last_used_at", "expires_at", "ip_address", "user_agent"}
    assert phone not in json.dumps(listed)

    assert api.delete(f"devices/{listed[1]['id']}", token=enrolled.token).status_code == 204

    assert log_in(api, phone).status_code == 202
    assert log_in(api, laptop).status_code == 200
    assert [one["user_agent"] for one in api.get("devices", token=enrolled.token).json()] == ["the laptop"]
    assert event_names().count("device.forgotten") == 1
    assert answer(api.delete(f"devices/{listed[1]['id']}", token=enrolled.token)) == (404, "not_found")
    assert api.delete("devices", token=enrolled.token).status_code == 204
    assert api.delete("devices", token=enrolled.token).status_code == 204
    assert event_names().count("device.forgotten") == 2


def test_a_device_of_another_user_and_an_unknown_one_do_not_exist(
    api: Api, enrolled: Enrolled, remember: Remember, make_user: Callable[..., Any]
) -> None:
    token = remember()
    (device,) = api.get("devices", token=enrolled.token).json()
    make_user("grace@example.com")
    other = api.pair("grace@example.com")["access_token"]
    assert api.get("devices", token=other).json() == []
    for name in (device["id"], enrolled.factor_id, "x", "%00", "..."):
        assert answer(api.delete(f"devices/{name}", token=other)) == (404, "not_found"), name
    assert api.delete("devices", token=other).status_code == 204
    assert log_in(api, token).status_code == 200


def test_devices_that_are_not_valid_any_more_are_not_listed(api: Api, enrolled: Enrolled, remember: Remember) -> None:
    remember()
    Factor.objects.create(user=enrolled.user, kind="totp", confirmed_at=timezone.now())
    assert api.get("devices", token=enrolled.token).json() == []


def test_a_device_is_not_remembered_if_the_password_changed_while_the_login_ended(
    on: None, api: Api, enrolled: Enrolled, pend: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ninja_auth_kit.contrib.totp import services

    real = services.complete

    def complete_and_change(*args: Any, **kwargs: Any) -> Any:
        pair = real(*args, **kwargs)
        enrolled.user.set_password(NEW_PASSWORD)
        enrolled.user.save()
        return pair

    monkeypatch.setattr(services, "complete", complete_and_change)
    done = finish(api, pend(), enrolled.app.code(), remember_device=True)
    assert done.json()["device_token"] is None
    assert RememberedDevice.objects.count() == 0
    assert UserSession.objects.filter(user=enrolled.user).exists()
