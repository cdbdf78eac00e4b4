"""`ninja_auth_kit.testing`: the helpers for tests of other projects, and their page."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.test import AsyncClient, Client, TestCase
from ninja import NinjaAPI, Router
from ninja.testing import TestAsyncClient, TestClient

from ninja_auth_kit import JWTAuth
from ninja_auth_kit.audit.events import LoggedIn, LoginFailed, SessionRevoked
from ninja_auth_kit.conf import settings
from ninja_auth_kit.exceptions import SessionLimitReachedError
from ninja_auth_kit.models import UserSession
from ninja_auth_kit.testing import acting_as, auth_headers, capture_audit_events, issue_tokens, override_auth_kit
from tests.conftest import EMAIL, Api
from tests.howto import Project
from tests.servers import ROOT
from tests.test_example import database

__all__ = ["database"]  # fixtures

pytestmark = pytest.mark.django_db

ME = "/api/auth/me"
WRONG = {"email": EMAIL, "password": "wrong"}


def test_tokens_are_those_of_a_real_session_which_the_next_one_ends(api: Api, user: Any) -> None:
    first = issue_tokens(user, user_agent="phone")
    assert api.is_in(first.access_token)
    assert UserSession.objects.get(pk=first.session_id).user_agent == "phone"

    second = issue_tokens(user)

    assert not api.is_in(first.access_token)
    assert api.post("refresh", {"refresh_token": second.refresh_token}).status_code == 200


def test_who_is_not_stored_or_has_no_place_gets_none(make_user: Callable[..., Any]) -> None:
    user = make_user()
    with override_auth_kit(SESSION_LIMIT_POLICY="reject"):
        issue_tokens(user)
        with pytest.raises(SessionLimitReachedError):
            issue_tokens(user)
    user.delete()

    with pytest.raises(ValueError, match="Save the user first"):
        issue_tokens(user)


def test_a_client_acts_as_a_user_and_then_no_more(user: Any, client: Client) -> None:
    with acting_as(client, user) as tokens:
        assert client.get(ME).json()["email"] == EMAIL
        assert client.get("/api/auth/sessions").json()[0]["id"] == str(tokens.session_id)
        assert client.get(ME, headers={"X-Request-ID": "one"}).status_code == 200
        assert client.get(ME, headers={"Authorization": "Bearer x"}).status_code == 401
        with acting_as(client, user):
            assert client.get(ME).status_code == 200
        assert client.get(ME).json()["code"] == "session_ended"

    assert client.get(ME).json()["code"] == "invalid_token"


@pytest.mark.django_db(transaction=True)
async def run_async_client(user: Any) -> list[int]:
    client = AsyncClient()
    async with acting_as(client, user):
        inside = await client.get(ME)
    outside = await client.get(ME)
    return [inside.status_code, outside.status_code]


def test_an_async_client_acts_as_a_user_too(user: Any) -> None:
    from asgiref.sync import async_to_sync

    assert async_to_sync(run_async_client)(user) == [200, 401]


def guarded_router() -> Router:
    router = Router()

    @router.get("/mine", auth=JWTAuth())
    def mine(request: Any) -> str:
        return str(request.auth.email)

    return router


def test_the_clients_of_ninja_act_as_a_user_too(user: Any) -> None:
    from asgiref.sync import async_to_sync

    client = TestClient(guarded_router())
    with acting_as(client, user):
        assert client.get("/mine").json() == EMAIL
    assert client.headers == {}
    assert client.get("/mine", headers=auth_headers(user)).json() == EMAIL
    assert client.get("/mine").status_code == 401

    api = NinjaAPI(urls_namespace="async-test-client")

    @api.get("/mine", auth=JWTAuth())
    async def mine(request: Any) -> str:
        return str(request.auth.email)

    async def ask() -> Any:
        client = TestAsyncClient(api)
        async with acting_as(client, user):
            return (await client.get("/mine")).json()

    assert async_to_sync(ask)() == EMAIL


def test_events_are_objects_of_their_classes_in_order(api: Api, user: Any) -> None:
    with capture_audit_events() as events:
        assert list(events) == []
        api.post("login", WRONG)
        first = issue_tokens(user)
        issue_tokens(user)

    assert events.names == ["session.login_failed", "session.logged_in", "session.revoked", "session.logged_in"]
    assert events.of(LoginFailed)[0].reason == "invalid_credentials"
    assert events.of(SessionRevoked)[0].session.id == str(first.session_id)
    assert isinstance(events[-1], LoggedIn)
    assert len(events[1:3]) == 2
    issue_tokens(user)
    assert len(events) == 4


def test_what_is_rolled_back_was_no_event_unless_it_is_a_fact(api: Api, user: Any) -> None:
    with capture_audit_events() as events, transaction.atomic():
        issue_tokens(user)
        api.post("login", WRONG)
        assert events.names == ["session.logged_in", "session.login_failed"]
        transaction.set_rollback(True)

    assert events.names == ["session.login_failed"]


@pytest.mark.django_db(transaction=True)
def test_what_is_committed_stays_an_event(user: Any) -> None:
    with capture_audit_events() as events:
        issue_tokens(user)

    assert events.names == ["session.logged_in"]


def test_a_capture_within_another_takes_nothing_from_it(api: Api, user: Any) -> None:
    with capture_audit_events() as outer, capture_audit_events() as inner:
        api.login()

    assert [event.type for event in outer] == [event.type for event in inner] != []


def test_events_that_are_switched_off_are_none(api: Api, user: Any) -> None:
    with capture_audit_events() as events, override_auth_kit(AUDIT_DISABLED_TYPES=["session.login_failed"]):
        api.post("login", WRONG)

    assert events.names == []


def test_keys_are_changed_and_the_others_stay() -> None:
    before = settings.SESSION_LIMIT, settings.ISSUER
    with override_auth_kit(SESSION_LIMIT=3):
        with override_auth_kit(ISSUER="somebody"):
            assert (settings.SESSION_LIMIT, settings.ISSUER) == (3, "somebody")
        assert (3, before[1]) == (settings.SESSION_LIMIT, settings.ISSUER)

    assert before == (settings.SESSION_LIMIT, settings.ISSUER)


@override_auth_kit(SESSION_LIMIT=4)
def test_it_decorates_a_function() -> None:
    assert settings.SESSION_LIMIT == 4


@override_auth_kit(SESSION_LIMIT=5)
class TestClassesCanBeDecoratedToo(TestCase):
    def test_it_holds_in_the_class(self) -> None:
        assert settings.SESSION_LIMIT == 5


@override_auth_kit(ISSUER="below")
class TestAClassBelow(TestClassesCanBeDecoratedToo):
    def test_it_adds_to_that_of_the_class_above(self) -> None:
        assert (settings.SESSION_LIMIT, settings.ISSUER) == (5, "below")


@pytest.mark.parametrize(("keys", "said"), [({"SESION_LIMIT": 2}, "SESSION_LIMIT"), ({"SESSION_LIMIT": 0}, "must be")])
def test_a_key_that_is_none_and_a_value_that_does_not_fit_are_refused(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=said):
        override_auth_kit(**keys)


def test_the_tests_of_the_page_pass_in_the_project_of_the_quickstart(tmp_path: Path, database: str) -> None:
    page = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    project = Project(tmp_path, database)
    apps = [f"ninja_auth_kit.contrib.{name}" for name in ("factors", "totp", "passkeys")]
    project.settings(f"INSTALLED_APPS += {apps}")
    for name, code in re.findall(r"```python\n# (\S+\.py)\n(.*?)```", page, re.DOTALL):
        project.write(name, code)

    said = project.python("-m", "pytest", "--ds=mysite.settings", "-q", "-p", "no:cacheprovider", "-c", os.devnull)

    assert "7 passed" in said
