"""What ends API keys, and what knows their table: a reset, commands, a rotation, the admin, checks, tests."""

import json
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
import time_machine
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from ninja_auth_kit.contrib.api_keys.checks import check_requirements, check_settings
from ninja_auth_kit.contrib.api_keys.models import ApiKey
from ninja_auth_kit.contrib.api_keys.testing import api_key
from ninja_auth_kit.contrib.factors.checks import check_kinds
from ninja_auth_kit.models import UserSession
from tests.conftest import EMAIL, PASSWORD, Api, events, mailed_token
from tests.features.api_keys.conftest import READ, ROUTE, WRITE, create, status
from tests.features.conftest import answer
from tests.features.test_rewrap import FORMER_IS_LISTED, locked_out, rewrap

pytestmark = pytest.mark.django_db(transaction=True)

Make = Callable[..., dict[str, Any]]
NEW_PASSWORD = "another long walk in the hills"


def command(name: str, *arguments: str) -> str:
    output = StringIO()
    call_command(name, *arguments, stdout=output)
    return output.getvalue()


def revocations() -> list[tuple[str, str]]:
    """Return the reason and the actor of each event."""
    own = [event["data"] for event in events() if event["type"].startswith("ninja-auth-kit.api_key.revoked")]
    return [(one["reason"], one["actor"]["type"]) for one in own]


# What ends a key


@pytest.mark.security("KEY-02")
def test_a_password_reset_by_email_revokes_every_key(
    api: Api, new_key: Make, make_user: Callable[..., Any], audited: None
) -> None:
    keys = [new_key()["key"], new_key(WRITE)["key"]]
    other = api_key(make_user("grace@example.com"), scopes=[READ])
    api.post("password/reset", {"email": EMAIL})
    body = {"token": mailed_token(), "new_password": NEW_PASSWORD}

    assert api.post("password/reset/confirm", body).status_code == 204

    assert [answer(api.get(ROUTE, token=key)) for key in keys] == [(401, "invalid_token")] * 2
    assert status(api, other) == 200
    assert revocations() == [("password_reset", "user")] * 2


def test_a_changed_password_a_logout_and_an_ended_session_leave_keys_as_they_are(
    api: Api, key: str, token: str
) -> None:
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    assert api.post("password/change", body, token=token).status_code == 204
    assert api.post("logout/all", token=token).status_code == 204

    assert status(api, key) == 200


def test_a_deleted_account_takes_its_keys_along(api: Api, key: str, token: str) -> None:
    assert api.delete("me", body={"password": PASSWORD}, token=token).status_code == 204
    assert not ApiKey.objects.exists()
    assert status(api, key) == 401


# Commands


@pytest.mark.security("KEY-02")
def test_authkit_revoke_revokes_the_keys_of_one_user(
    api: Api, new_key: Make, make_user: Callable[..., Any], audited: None
) -> None:
    keys = [new_key()["key"], new_key()["key"]]
    other = api_key(make_user("grace@example.com"), scopes=[READ])

    said = command("authkit_revoke", EMAIL, "--reason", "stolen_laptop")

    assert "Ended 1 session of 1 user.\nRevoked 2 API keys.\n" in said
    assert [status(api, key) for key in (*keys, other)] == [401, 401, 200]
    assert revocations() == [("stolen_laptop", "system")] * 2
    assert json.loads(command("authkit_revoke", EMAIL, "--json")) == {"users": 0, "sessions": 0, "api_keys": 0}


def test_authkit_revoke_can_leave_keys_as_they_are(api: Api, key: str) -> None:
    assert json.loads(command("authkit_revoke", EMAIL, "--sessions-only", "--json")) == {"users": 1, "sessions": 1}
    assert status(api, key) == 200
    assert not UserSession.objects.filter(is_active=True).exists()


def test_authkit_revoke_revokes_the_keys_of_everyone_also_without_sessions(
    api: Api, key: str, make_user: Callable[..., Any]
) -> None:
    keys = [key, *(api_key(make_user(f"{name}@example.com"), scopes=[READ]) for name in ("grace", "edsger"))]

    said = json.loads(command("authkit_revoke", "--everyone", "--json"))

    assert said == {"users": 1, "sessions": 1, "api_keys": 3}
    assert [status(api, one) for one in keys] == [401] * 3


def test_authkit_prune_deletes_keys_that_have_expired_for_long(user: Any) -> None:
    for days in (-31, -29, 1):
        api_key(user, scopes=[READ], lifetime=timedelta(days=days), name=str(days))

    command("authkit_prune")

    assert set(ApiKey.objects.values_list("name", flat=True)) == {"-29", "1"}


# The rotation of the root secret


def test_a_use_moves_a_key_to_the_current_root_secret(
    api: Api, new_key: Make, settings: Settings, kit: Callable[..., None]
) -> None:
    used, unused = new_key(), new_key()
    assert status(api, used["key"]) == 200  # within the same hour
    former = settings.JWT_SECRET_KEY
    assert json.loads(rewrap("--json"))["API keys"] == {"done": 0, "remaining": 0}
    settings.JWT_SECRET_KEY = former[::-1]
    kit(SIGNING_KEYS=[{**FORMER_IS_LISTED, "key": former}])
    assert json.loads(rewrap("--json"))["API keys"] == {"done": 0, "remaining": 2}

    assert status(api, used["key"]) == 200

    assert json.loads(rewrap("--json"))["API keys"] == {"done": 0, "remaining": 1}
    assert locked_out() is None
    kit(SIGNING_KEYS=None)
    assert [status(api, one["key"]) for one in (used, unused)] == [200, 401]
    assert locked_out() == (1, [str(ApiKey.objects.get(pk=unused["id"]).user_id)])


def test_a_key_that_has_expired_depends_on_nothing(user: Any, settings: Settings, kit: Callable[..., None]) -> None:
    api_key(user, scopes=[READ], lifetime=timedelta(seconds=-1))
    settings.JWT_SECRET_KEY = settings.JWT_SECRET_KEY[::-1]
    assert json.loads(rewrap("--json"))["API keys"] == {"done": 0, "remaining": 0}
    assert locked_out() is None


# Checks


def found(check: Callable[..., Any]) -> list[str]:
    return [one.id.rpartition(".")[2] for one in check()]


def test_the_app_requires_the_app_of_second_factors(settings: Settings) -> None:
    assert found(check_requirements) == []
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if "contrib.factors" not in app]
    assert found(check_requirements) == ["E019"]


@pytest.mark.parametrize(("others", "expected"), [((), ["W032"]), (("api_keys",), []), (("oidc",), [])])
def test_what_needs_the_step_up_is_a_reason_for_the_app_of_second_factors(
    settings: Settings, others: tuple[str, ...], expected: list[str]
) -> None:
    core = [app for app in settings.INSTALLED_APPS if "ninja_auth_kit.contrib" not in app]
    settings.INSTALLED_APPS = [*core, *(f"ninja_auth_kit.contrib.{name}" for name in ("factors", *others))]
    assert found(check_kinds) == expected


@pytest.mark.parametrize("scope", ["", "notes read", 'notes"', "notes\\", "nötes", "a\n", "x" * 101])
def test_a_scope_that_is_no_token_is_an_error(kit: Callable[..., None], scope: str) -> None:
    kit(API_KEYS={"SCOPES": {READ: "", scope: ""}})
    (error,) = check_settings()
    assert (error.id, repr(scope) in error.msg) == ("ninja_auth_kit.E026", True)


@pytest.mark.parametrize("scope", ["a", "notes:read", "https://example.com/notes.read", "!", "a" * 100])
def test_a_scope_that_is_a_token_is_none(kit: Callable[..., None], scope: str) -> None:
    kit(API_KEYS={"SCOPES": {scope: ""}})
    assert check_settings() == []


def test_a_default_beyond_the_maximum_is_an_error(kit: Callable[..., None]) -> None:
    kit(API_KEYS={"LIFETIME": timedelta(days=2), "MAX_LIFETIME": 86400})
    assert found(check_settings) == ["E027"]
    kit(API_KEYS={"LIFETIME": timedelta(days=1), "MAX_LIFETIME": 86400})
    assert found(check_settings) == []


@pytest.mark.parametrize(
    "value",
    [{"SCOPES": [READ]}, {"SCOPES": {READ: 1}}, {"LIFETIME": 0}, {"LIMIT": 0}, {"MAX_LIFETIME": None}, {"X": 1}],
)
def test_a_setting_that_is_not_valid_is_an_error(kit: Callable[..., None], value: dict[str, Any]) -> None:
    from ninja_auth_kit.checks.settings import are_valid

    kit(API_KEYS=value)
    assert not are_valid()
    assert check_settings() == []


# The helper for tests


def test_the_helper_gives_a_key_without_an_event_or_an_email(
    user: Any, audited: None, clock: time_machine.Traveller, mailoutbox: list[Any]
) -> None:
    key = api_key(user, scopes=[READ])

    response = Client().get(ROUTE, headers={"Authorization": f"Bearer {key}"})

    assert (response.status_code, response.json()["user"]) == (200, str(user.pk))
    assert (events(), mailoutbox) == ([], [])
    assert ApiKey.objects.get().expires_at == timezone.now() + timedelta(days=1)
    assert Client().get(ROUTE, headers={"Authorization": f"Bearer {api_key(user, scopes=[WRITE])}"}).status_code == 403


def test_a_flow_of_requests_from_end_to_end(api: Api, user: Any) -> None:
    token = api.pair()["access_token"]
    made = create(api, token, scopes=[READ], name="nightly backup", expires_in=2_592_000).json()
    api.post("logout", token=token)
    assert api.get(ROUTE, token=made["key"]).json()["user"] == str(user.pk)
    token = api.pair()["access_token"]
    (listed,) = api.get("api-keys", token=token).json()
    assert listed["last_used_at"]
    assert api.delete(f"api-keys/{listed['id']}", token=token).status_code == 204
    assert api.get("api-keys", token=token).json() == []
    assert status(api, made["key"]) == 401
