"""Users without a usable password: a recent login confirms what the password confirms for others."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth import get_user_model
from django.core import mail
from django.test import RequestFactory
from django.utils import timezone

from ninja_auth_kit import services
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.exceptions import InvalidInputError
from tests.conftest import EMAIL, PASSWORD, Api, event_names, mailed_token

pytestmark = pytest.mark.django_db(transaction=True)

NEW = "a long walk in the hills"
CLIENT = ClientInfo(ip_address="203.0.113.7", user_agent="Lynx/2.9")
# (method, path, what has no password, the field of the password)
OPERATIONS = [
    ("POST", "password/change", {"new_password": NEW}, "current_password"),
    ("POST", "email/change", {"new_email": "new@example.com"}, "password"),
    ("DELETE", "me", {}, "password"),
]


def start(user: Any) -> str:
    """Start a session as single sign-on does, and return its access token."""
    pair = services.start_session(user, request=RequestFactory().post("/sso/callback"))
    assert isinstance(pair, services.TokenPair)
    return pair.access_token


@pytest.fixture
def token(make_user: Callable[..., Any]) -> str:
    return start(make_user(password=None))


@pytest.mark.parametrize(("method", "path", "body", "_field"), OPERATIONS)
def test_a_recent_login_confirms_each_operation(
    api: Api, token: str, method: str, path: str, body: dict[str, str], _field: str
) -> None:
    assert api(method, path, body, token=token).status_code in {202, 204}


@pytest.mark.security("STEP-01")
@pytest.mark.parametrize(("method", "path", "body", "_field"), OPERATIONS)
def test_an_older_login_confirms_none(
    api: Api, make_user: Callable[..., Any], kit: Callable[..., None], method: str, path: str, body: Any, _field: str
) -> None:
    kit(ACCESS_TOKEN_LIFETIME=timedelta(minutes=15))
    user = make_user(password=None)
    with time_machine.travel(timezone.now() - timedelta(minutes=11), tick=True):
        token = start(user)

    answer = api(method, path, body, token=token)

    assert answer.status_code == 401
    assert answer.json()["code"] == "insufficient_user_authentication"
    assert answer.json()["max_age"] == 600
    assert 'max_age="600"' in answer["WWW-Authenticate"]
    assert get_user_model()._default_manager.get(pk=user.pk).password == user.password
    assert mail.outbox == []


@pytest.mark.security("CRED-03")
@pytest.mark.parametrize("is_null", [True, False])
@pytest.mark.parametrize(("method", "path", "body", "field"), OPERATIONS)
def test_a_user_with_a_password_must_send_it_however_recent_the_login_is(
    api: Api, user: Any, method: str, path: str, body: dict[str, str], field: str, is_null: bool
) -> None:
    answer = api(method, path, {**body, field: None} if is_null else body, token=start(user))

    assert answer.status_code == 422
    assert [(error["field"], error["code"]) for error in answer.json()["errors"]] == [(field, "required")]
    assert get_user_model()._default_manager.get(pk=user.pk).check_password(PASSWORD)


@pytest.mark.parametrize(("method", "path", "body", "field"), OPERATIONS)
def test_a_password_that_the_user_does_not_have_is_wrong(
    api: Api, token: str, method: str, path: str, body: dict[str, str], field: str
) -> None:
    answer = api(method, path, {**body, field: PASSWORD}, token=token)

    assert (answer.status_code, answer.json()["code"]) == (403, "wrong_password")


def test_the_first_password_logs_in_and_ends_the_other_sessions(
    api: Api, make_user: Callable[..., Any], kit: Callable[..., None], audited: None
) -> None:
    kit(SESSION_LIMIT=2)
    user = make_user(password=None)
    other, token = start(user), start(user)

    assert api.post("password/change", {"new_password": NEW}, token=token).status_code == 204

    assert api.is_in(token)
    assert not api.is_in(other)
    again = api.post("password/change", {"new_password": "a longer walk by the sea"}, token=token)
    assert again.status_code == 422  # now there is one to send
    assert api.login(password=NEW).status_code == 200
    assert "password.changed" in event_names()
    (message,) = mail.outbox
    assert message.to == [EMAIL]


def test_a_first_password_must_obey_the_rules(api: Api, token: str) -> None:
    answer = api.post("password/change", {"new_password": "short"}, token=token)

    assert answer.status_code == 422
    assert {error["field"] for error in answer.json()["errors"]} == {"new_password"}


@pytest.mark.security("CRED-07")
def test_a_project_whose_users_get_no_first_password_refuses_it(
    api: Api, token: str, kit: Callable[..., None]
) -> None:
    kit(USERS_SET_FIRST_PASSWORD=False)

    answer = api.post("password/change", {"new_password": NEW}, token=token)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["code"] == "first_password_not_allowed"
    assert api.delete("me", body={}, token=token).status_code == 204  # the other operations need none


def test_the_link_to_a_new_address_works_without_a_password(api: Api, token: str) -> None:
    api.post("email/change", {"new_email": "new@example.com"}, token=token)

    assert api.post("email/change/confirm", {"token": mailed_token(0)}).status_code == 204
    assert get_user_model()._default_manager.get().email == "new@example.com"


def test_the_services_refuse_a_missing_password_too(user: Any) -> None:
    pair = services.start_session(user, request=RequestFactory().post("/sso/callback"))
    calls: list[Callable[[], Any]] = [
        lambda: services.delete_account(user=user, password=None, client=CLIENT),
        lambda: services.request_email_change(user=user, new_email="b@example.com", password=None, client=CLIENT),
        lambda: services.change_password(
            user=user, session_id=pair.session_id, current_password=None, new_password=NEW, client=CLIENT
        ),
    ]

    for call in calls:
        with pytest.raises(InvalidInputError):
            call()
    assert get_user_model()._default_manager.get(pk=user.pk).check_password(PASSWORD)
