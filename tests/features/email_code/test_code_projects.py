"""Email codes in projects of several kinds: without second factors, with cookies, a replica or other user models."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core import mail
from pytest_django import Settings

from ninja_auth_kit.checks import users_and_database
from ninja_auth_kit.contrib.email_code import checks
from ninja_auth_kit.models import EmailAddress
from tests.conftest import EMAIL, Api, users_have_names
from tests.features.cookies.page import REFRESH, Page
from tests.features.email_code.conftest import ask, ask_and_read, log_in, sign_up
from tests.replica_router import replica_that_is_away
from tests.servers import ROOT, Server

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.one_user_model
@pytest.mark.race  # it starts a server
def test_the_app_needs_no_second_factors(api: Api, user: Any, servers: Callable[..., Server]) -> None:
    # Both use one database and one key, so the server takes a challenge of this process.
    server = servers(environment={"TEST_SETTINGS": "tests.settings_email_code"})
    challenge, code = ask_and_read(api)
    body = {"challenge_token": challenge, "code": code}

    extra = server.request("POST", "/api/auth/login/email-code", {**body, "device_token": "nakd_unknown"})
    status, pair = server.request("POST", "/api/auth/login/email-code", body)

    assert (extra[0], extra[1]["errors"][0]["code"]) == (422, "unknown_field")
    assert status == 200
    assert "acr" not in pair
    assert server.request("GET", "/api/auth/me", token=pair["access_token"])[0] == 200
    assert server.request("POST", "/api/auth/login/email-code", body)[1]["code"] == "invalid_challenge"


@pytest.mark.one_user_model
def test_the_checks_find_nothing_in_a_project_without_second_factors() -> None:
    command = [sys.executable, "-m", "django", "check", "--settings=tests.settings_email_code"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout


def test_in_cookie_mode_the_refresh_token_is_in_a_cookie(
    api: Api, user: Any, kit: Callable[..., None], registering: None
) -> None:
    kit(BASE_URL="https://example.com")
    for login in (log_in, sign_up):
        page = Page()
        email = EMAIL if login is log_in else "new@example.com"
        challenge, code = ask_and_read(api, email)

        def post(path: str, body: Any, page: Page = page) -> Any:
            return page("POST", path, body)

        page.post = post  # type: ignore[attr-defined]
        response = login(page, challenge, code)  # type: ignore[arg-type]

        assert response.status_code == 200
        assert "refresh_token" not in response.json()
        assert list(response.cookies) == [REFRESH]


def test_every_read_goes_to_the_primary(api: Api, user: Any, settings: Settings, registering: None) -> None:
    with replica_that_is_away():
        settings.DATABASE_ROUTERS = ["tests.replica_router.Router"]

        assert log_in(api, *ask_and_read(api)).status_code == 200
        assert sign_up(api, *ask_and_read(api, "new@example.com")).status_code == 200


@pytest.mark.skipif(not users_have_names(), reason="no two users can have one address")
def test_an_address_that_several_unverified_users_share_gets_no_code(
    api: Api, make_user: Callable[..., Any], registering: None
) -> None:
    make_user(username="first").authkit_email.delete()
    make_user(username="second").authkit_email.delete()

    ask(api)
    assert mail.outbox == []

    second = get_user_model().objects.get(username="second")
    EmailAddress.objects.create(user=second, email=EMAIL, canonical=EMAIL, verified_at=second.date_joined)
    token = log_in(api, *ask_and_read(api)).json()["access_token"]
    assert api.get("me", token=token).json()["username"] == "second"


def test_a_field_that_only_the_schema_fills_is_reported(
    kit: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    field = get_user_model()._meta.get_field("password")  # it has no default, and must not be empty
    monkeypatch.setattr(checks, "fields_of_registration", lambda: [field.name])

    assert checks.check_required_fields() == []
    kit(EMAIL_CODE={"REGISTERS": True})
    monkeypatch.setattr(checks, "must_be_filled", lambda one, model: one is field)
    (message,) = checks.check_required_fields()

    assert message.id == "ninja_auth_kit.E023"
    assert field.name in message.msg
    kit(EMAIL_CODE={"REGISTERS": "yes"})
    assert checks.check_required_fields() == []  # E003 reports the value
    assert users_and_database.must_be_filled(get_user_model()._meta.pk, get_user_model()) is False
