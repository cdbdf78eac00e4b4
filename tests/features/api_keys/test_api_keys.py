"""Creating, listing and revoking API keys."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import time_machine
from django.core import mail
from django.utils import timezone

from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.contrib.api_keys import services
from ninja_auth_kit.contrib.api_keys.models import ApiKey
from ninja_auth_kit.contrib.api_keys.services import NewKey, create_key
from ninja_auth_kit.exceptions import SessionEndedError
from ninja_auth_kit.models import UserSession
from ninja_auth_kit.services.admin_actions import revoke_sessions
from tests.attacks.canaries import database, leaks
from tests.conftest import EMAIL, Api, event_names, events
from tests.features.api_keys.conftest import READ, ROUTE, ROUTES, WRITE, create, status
from tests.features.conftest import Enrolled, answer

pytestmark = pytest.mark.django_db(transaction=True)

Make = Callable[..., dict[str, Any]]


@pytest.mark.security("KEY-01")
def test_a_key_is_shown_once_and_works_at_once(api: Api, user: Any, new_key: Make, token: str) -> None:
    made = new_key(WRITE, READ, name=" nightly backup ")

    assert set(made) == {"id", "name", "key", "scopes", "expires_at"}
    assert (made["name"], made["scopes"]) == ("nightly backup", [READ, WRITE])
    assert re.fullmatch(r"nakp_[A-Za-z0-9_-]{64}", made["key"])
    assert datetime.fromisoformat(made["expires_at"]) == timezone.now() + timedelta(days=90)
    for route in ROUTES:
        response = api.get(route, token=made["key"])
        assert (response.status_code, response.json()["key"]) == (200, made["id"])
        assert response.json()["user"] == response.json()["auth"] == str(user.pk)
        assert response.json()["session"] is None
    listed = api.get("api-keys", token=token)
    assert made["key"] not in listed.content.decode()
    assert leaks(database(), {"key": made["key"], "secret": made["key"][27:]}) == []


def test_the_list_has_what_the_owner_recognises_a_key_by(api: Api, new_key: Make, token: str) -> None:
    first, second = new_key(name="first"), new_key(WRITE, name="second", expires_in=3600)
    ApiKey.objects.filter(pk=first["id"]).update(created_at=timezone.now() - timedelta(minutes=1))
    assert status(api, first["key"]) == 200

    newest, oldest = api.get("api-keys", token=token).json()

    assert set(newest) == {"id", "name", "start", "scopes", "created_at", "expires_at", "last_used_at"}
    assert (newest["name"], newest["start"], newest["last_used_at"]) == ("second", second["key"][:12], None)
    assert (oldest["id"], oldest["start"], oldest["scopes"]) == (first["id"], first["key"][:12], [READ])
    assert datetime.fromisoformat(oldest["last_used_at"]) == timezone.now()
    assert datetime.fromisoformat(newest["expires_at"]) == timezone.now() + timedelta(hours=1)


def test_keys_of_others_are_neither_listed_nor_revoked(
    api: Api, new_key: Make, make_user: Callable[..., Any], token: str
) -> None:
    made = new_key()
    make_user("grace@example.com")
    other = api.pair("grace@example.com")["access_token"]

    assert api.get("api-keys", token=other).json() == []
    for key_id in (made["id"], uuid4()):
        assert answer(api.delete(f"api-keys/{key_id}", token=other)) == (404, "not_found")
    assert api.delete("api-keys/x", token=token).status_code == 404
    assert status(api, made["key"]) == 200


@pytest.mark.security("KEY-02")
def test_a_revoked_key_is_refused_on_the_next_request(api: Api, new_key: Make, token: str) -> None:
    made, other = new_key(), new_key()
    assert status(api, made["key"]) == 200

    assert api.delete(f"api-keys/{made['id']}", token=token).status_code == 204

    assert [answer(api.get(route, token=made["key"])) for route in ROUTES] == [(401, "invalid_token")] * 3
    assert status(api, other["key"]) == 200
    assert answer(api.delete(f"api-keys/{made['id']}", token=token)) == (404, "not_found")


@pytest.mark.security("AUD-01", "AUD-03")
def test_each_step_is_one_event_without_the_key(api: Api, user: Any, audited: None, new_key: Make, token: str) -> None:
    made = new_key(name="a name that is not in an event")
    api.get("/notes/write", token=made["key"])
    api.get(ROUTE, token=made["key"][:-1] + "~")
    api.get(ROUTE, token=made["key"][:-4] + "AAAA")
    api.delete(f"api-keys/{made['id']}", token=token)

    own = [event for event in events() if ".api_key." in event["type"]]
    assert [event["type"].split(".")[2] for event in own] == ["created", "refused", "refused", "refused", "revoked"]
    created, scope, malformed, wrong, revoked = (event["data"] for event in own)
    assert created["details"] == {
        "key_id": made["id"],
        "scopes": [READ],
        "expires_at": created["details"]["expires_at"],
    }
    assert datetime.fromisoformat(created["details"]["expires_at"]) == datetime.fromisoformat(made["expires_at"])
    assert [one["reason"] for one in (scope, malformed, wrong)] == ["insufficient_scope", "invalid_key", "invalid_key"]
    assert [one["details"]["key_id"] for one in (scope, malformed, wrong)] == [made["id"], None, made["id"]]
    assert (revoked["reason"], revoked["details"], revoked["actor"]["type"]) == (
        "revoked",
        {"key_id": made["id"]},
        "user",
    )
    assert leaks({"events": str(own)}, {"key": made["key"], "start": made["key"][:12], "name": "a name that"}) == []


def test_the_owner_gets_an_email_without_the_name(api: Api, new_key: Make) -> None:
    made = new_key(name="<b>Call 555-0100</b>")

    (sent,) = mail.outbox
    assert (sent.to, sent.subject) == ([EMAIL], "An API key was created for your account at localhost:8000")
    said = str(sent.message())
    assert "also revokes all API keys" in said.replace("\n", " ")
    assert "555" not in said
    assert made["key"][:12] not in said


def test_an_old_session_may_not_create_a_key(api: Api, token: str, clock: time_machine.Traveller, kit: Any) -> None:
    kit(ACCESS_TOKEN_LIFETIME=timedelta(hours=1))
    token = api.pair()["access_token"]
    clock.shift(601)

    refused = create(api, token)

    assert answer(refused) == (401, "insufficient_user_authentication")
    assert 'max_age="600"' in refused["WWW-Authenticate"]
    assert not ApiKey.objects.exists()
    assert api.get("api-keys", token=token).json() == []  # the list needs no step-up


def test_a_user_with_a_second_factor_needs_it_for_a_key(api: Api, enrolled: Enrolled, kit: Any) -> None:
    ApiKey.objects.all().delete()
    assert create(api, enrolled.token).status_code == 201
    from ninja_auth_kit.testing import issue_tokens

    low = issue_tokens(enrolled.user).access_token
    refused = create(api, low)
    assert answer(refused) == (401, "insufficient_user_authentication")
    assert 'acr_values="aal2"' in refused["WWW-Authenticate"]


def test_a_user_may_have_so_many_valid_keys(
    api: Api, token: str, kit: Any, clock: time_machine.Traveller, user: Any
) -> None:
    kit(API_KEYS={"SCOPES": {READ: ""}, "LIMIT": 2})
    assert create(api, token, expires_in=60).status_code == 201
    made = create(api, token).json()
    assert answer(create(api, token)) == (409, "limit_reached")
    assert event_names().count("api_key.created") == 0  # no broker

    api.delete(f"api-keys/{made['id']}", token=token)
    assert create(api, token).status_code == 201
    assert answer(create(api, token)) == (409, "limit_reached")
    clock.shift(60)  # a key that has expired does not count, and is not listed
    assert create(api, token).status_code == 201
    assert len(api.get("api-keys", token=token).json()) == 2


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({"scopes": []}, "scopes", "invalid"),
        ({"scopes": None}, "scopes", "invalid"),
        ({"scopes": READ}, "scopes", "invalid"),
        ({"scopes": ["notes:rea"]}, "scopes", "unknown_scope"),
        ({"scopes": [READ, "*"]}, "scopes", "unknown_scope"),
        ({"scopes": ["notes:read notes:write"]}, "scopes", "unknown_scope"),
        ({"scopes": [READ] * 101}, "scopes", "too_long"),
        ({"scopes": [[READ]]}, "scopes", "invalid"),
        ({"name": ""}, "name", "invalid"),
        ({"name": " "}, "name", "invalid"),
        ({"name": "x" * 65}, "name", "too_long"),
        ({"name": "a\nb"}, "name", "control_character"),
        ({"expires_in": 0}, "expires_in", "invalid"),
        ({"expires_in": -1}, "expires_in", "invalid"),
        ({"expires_in": 366 * 86400 + 1}, "expires_in", "lifetime_not_allowed"),
        ({"expires_in": 10**400}, "expires_in", "lifetime_not_allowed"),
        ({"expires_in": "60"}, "expires_in", "invalid"),
        ({"expires_in": 60.0}, "expires_in", "invalid"),
        ({"expires_in": True}, "expires_in", "invalid"),
        ({"user": 1}, "user", "unknown_field"),
        ({"id": str(uuid4())}, "id", "unknown_field"),
    ],
)
def test_a_body_that_is_not_valid_is_refused(api: Api, token: str, body: Any, field: str, code: str) -> None:
    response = api.post("api-keys", {"name": "x", "scopes": [READ], **body}, token=token)

    assert response.status_code == 422
    assert [(one["field"], one["code"]) for one in response.json()["errors"]] == [(field, code)]
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize("seconds", [1, 366 * 86400])
def test_the_request_chooses_the_lifetime(api: Api, token: str, seconds: int) -> None:
    made = create(api, token, expires_in=seconds).json()
    assert datetime.fromisoformat(made["expires_at"]) == timezone.now() + timedelta(seconds=seconds)


def test_without_scopes_in_the_settings_there_are_no_keys(api: Api, token: str, kit: Any) -> None:
    kit(API_KEYS={})
    assert answer(create(api, token)) == (422, "validation_error")


def test_a_scope_twice_is_one(new_key: Make) -> None:
    assert new_key(READ, READ)["scopes"] == [READ]


def only_session() -> UserSession:
    return UserSession.objects.select_related("user").get(is_active=True)


def test_a_user_whose_password_has_changed_in_the_meantime_gets_no_key(token: str, user: Any) -> None:
    stale = only_session()
    user.set_password("another long walk in the hills")
    user.save()

    with pytest.raises(SessionEndedError):
        create_key(session=stale, name="x", scopes=[READ], expires_in=None, client=ClientInfo())
    assert not ApiKey.objects.exists()


@pytest.mark.security("KEY-02")
def test_a_request_that_authkit_revoke_overtakes_leaves_no_key(
    api: Api, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = services.lock_unchanged

    def overtaken(user: Any) -> Any:
        revoke_sessions(user_id=user.pk)
        services.revoke_keys(user_id=user.pk)
        return lock(user)

    monkeypatch.setattr(services, "lock_unchanged", overtaken)

    assert answer(create(api, token)) == (401, "session_ended")
    assert not ApiKey.objects.exists()


@pytest.mark.security("KEY-01", "CFG-04")
def test_no_object_says_its_key(token: str) -> None:
    new: NewKey = create_key(session=only_session(), name="x", scopes=[READ], expires_in=None, client=ClientInfo())
    row = ApiKey.objects.get()

    said = f"{new!r} {new} {row!r} {row} {vars(new.row)}"
    assert leaks({"text": said}, {"key": new.key, "secret": new.key[27:]}) == []
    assert str(row) == new.key[:12]
    assert isinstance(row.pk, UUID)
