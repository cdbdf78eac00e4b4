"""Cookie mode beside the rest: other answers with tokens, OpenAPI, error reports, settings and checks."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, get_type_hints, is_typeddict

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import got_request_exception
from django.urls import path
from django.views.debug import ExceptionReporter
from ninja import NinjaAPI
from ninja.renderers import BaseRenderer
from pytest_django import Settings

import ninja_auth_kit
from docs.generators.settings import all_settings
from ninja_auth_kit import conf, features
from tests.conftest import EMAIL, PASSWORD, Api
from tests.features.cookies.page import DEVICE, ORIGIN, REFRESH, Page, attributes
from tests.servers import ROOT

pytestmark = pytest.mark.django_db

LATER = features.Feature(name="later", router="tests.features.cookies.later_app.router")


@pytest.fixture
def later_page(user: Any, host_api: Callable[..., Api]) -> Iterator[Page]:
    """Return a page of a project that has also installed an app with a router."""
    features.register(LATER)
    host_api()
    yield Page()
    del features._features["later"]  # before the routes of the tests are made again
    del sys.modules["tests.features.cookies.later_app"]


def test_a_token_of_a_device_is_in_a_cookie_of_its_own_which_a_login_reads(later_page: Page) -> None:
    body = {"email": EMAIL, "password": PASSWORD}

    first = later_page("POST", "later/login", body)
    assert {"refresh_token", "device_token"} & first.json().keys() == set()
    assert set(first.cookies) == {REFRESH, DEVICE}
    assert first.cookies[DEVICE].value == "nakd_known"
    assert attributes(first.cookies[DEVICE]) == {
        "path": "/",
        "httponly": True,
        "secure": True,
        "samesite": "Strict",
        "max-age": 400 * 24 * 60 * 60,
    }

    again = later_page("POST", "later/login", body)
    assert set(again.cookies) == {REFRESH}
    both = later_page("POST", "later/login", {**body, "device_token": "nakd_known"})
    assert (both.status_code, both.json()["errors"][0]["field"]) == (422, "device_token")
    assert later_page("POST", "logout").cookies.keys() == {REFRESH}
    assert later_page.api.client.cookies[DEVICE].value == "nakd_known"


def test_a_login_that_knows_no_devices_ignores_their_cookie(user: Any) -> None:
    page = Page()
    page.api.client.cookies[DEVICE] = "nakd_known"

    assert page.login().status_code == 200


def test_a_pair_inside_an_answer_moves_into_cookies_too(later_page: Page) -> None:
    answer = later_page("POST", "later/confirm")

    assert answer.status_code == 201
    assert answer.json()["factor"] == "totp"
    assert "access_token" in answer.json()["tokens"]
    assert b"nakr_" not in answer.content
    assert later_page("POST", "refresh").status_code == 200
    assert later_page("POST", "later/confirm", HTTP_ORIGIN="https://evil.example").status_code == 403


def test_the_document_describes_the_header_the_cookie_and_the_errors(api: Api) -> None:
    document = api.get("openapi.json").json()
    found = {one["operationId"]: one for methods in document["paths"].values() for one in methods.values()}
    setting = dict.fromkeys(
        ("auth_login", "auth_refresh", "auth_login_by_recovery_code", "auth_login_by_totp", "auth_confirm_totp"), "200"
    )
    setting |= {"auth_login_by_passkey": "200", "auth_register_passkey": "201"}
    setting |= {"auth_login_by_email_code": "200", "auth_sign_up_by_email_code": "200"}
    setting |= {"auth_finish_provider_flow": "200", "auth_finish_provider_flow_by_id_token": "200"}
    setting |= {"auth_sign_up_by_provider": "200"}
    deleting = {"auth_refresh": "401", "auth_logout": "204", "auth_logout_all": "204", "auth_delete_me": "204"}

    concerned = {
        name
        for name, one in found.items()
        if any(parameter["name"] == "X-AuthKit-Transport" for parameter in one["parameters"])
    }
    assert concerned == setting.keys() | deleting.keys()
    for name in concerned:
        responses = found[name]["responses"]
        assert "origin_not_allowed" in responses["403"]["content"]["application/problem+json"]["examples"]
        assert "unknown_transport" in responses["400"]["content"]["application/problem+json"]["examples"]
        with_cookie = {status for status, one in responses.items() if "Set-Cookie" in one.get("headers", {})}
        assert with_cookie == {by[name] for by in (setting, deleting) if name in by}
        assert all(one["description"] for one in responses.values())
    assert "WWW-Authenticate" in found["auth_refresh"]["responses"]["401"]["headers"]
    assert "email_not_verified" in str(found["auth_login"]["responses"]["403"])
    assert found["auth_refresh"]["requestBody"]["required"] is False
    assert found["auth_login"]["requestBody"]["required"] is True
    pair = document["components"]["schemas"]["TokenPairWithLevel"]
    assert set(pair["properties"]) - set(pair["required"]) == {"refresh_token"}


def test_no_report_of_a_failure_holds_the_token(user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Page()
    page.login()
    token, reports = str(page.token), []

    def hear(request: Any, **_: Any) -> None:
        reports.append(ExceptionReporter(request, *sys.exc_info()).get_traceback_html())
        reports.append(f"{request.META} {request.COOKIES} {dict(request.headers)} {request.body!r}")

    def broken(**_: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr("ninja_auth_kit.services.refresh", broken)
    got_request_exception.connect(hear)
    try:
        answer = page("POST", "refresh")
    finally:
        got_request_exception.disconnect(hear)

    assert answer.status_code == 500
    assert len(reports) == 2
    assert [report for report in reports if token in report] == []
    assert page.token == token


class Plain(BaseRenderer):
    media_type = "text/plain"

    def render(self, request: Any, data: Any, *, response_status: int) -> Any:
        return repr(data)


def test_an_api_that_does_not_write_json_sends_no_token(user: Any, settings: Settings) -> None:
    api = NinjaAPI(urls_namespace="plain-text", renderer=Plain())
    ninja_auth_kit.install(api, "")
    urlconf = ModuleType("plain_urls")
    urlconf.urlpatterns = [path("api/auth/", api.urls)]  # type: ignore[attr-defined]
    settings.ROOT_URLCONF = urlconf
    page = Page()

    answer = page.login()

    assert answer.status_code == 500
    assert b"nakr_" not in answer.content
    assert not answer.cookies
    page.api.client.raise_request_exception = True
    with pytest.raises(ImproperlyConfigured, match="renderer writes JSON"):
        page.login()


@pytest.mark.parametrize(
    "origins",
    [
        [],
        "https://app.example.com",
        ["app.example.com"],
        ["https://app.example.com/"],
        ["https://app.example.com/app"],
        ["https://*.example.com"],
        ["https://user@example.com"],
        ["https://example.com:port"],
        ["https://example.com?"],
        ["https://"],
        ["http://app.example.com"],
        ["ftp://localhost"],
        ["null"],
        ["*"],
        [None],
        [b"https://app.example.com"],
    ],
    ids=str,
)
def test_what_is_not_an_origin_is_an_error_of_the_settings(kit: Callable[..., None], origins: Any) -> None:
    kit(COOKIES={"ORIGINS": origins})

    (message,) = [one for one in run_checks() if one.id == "ninja_auth_kit.E003"]

    assert "NINJA_AUTH_KIT['COOKIES']['ORIGINS'] must be a list of origins" in message.msg


@pytest.mark.parametrize(
    "origins",
    [
        None,
        ["https://app.example.com"],
        ("HTTPS://App.Example.com:8443",),
        ["http://localhost:5173", "http://127.0.0.1", "http://[::1]:8000", "http://app.localhost"],
        ["https://bücher.example", "https://[2001:db8::1]"],
    ],
    ids=str,
)
def test_an_origin_is_accepted(kit: Callable[..., None], origins: Any) -> None:
    kit(COOKIES={"ORIGINS": origins})

    assert [one for one in run_checks() if str(one.id).startswith("ninja_auth_kit.E")] == []


@pytest.mark.parametrize(
    ("cors", "is_reported"),
    [
        ({}, False),
        ({"CORS_ALLOW_CREDENTIALS": True, "CORS_ALLOWED_ORIGINS": [ORIGIN]}, False),
        ({"CORS_ALLOW_CREDENTIALS": True, "CORS_ALLOWED_ORIGIN_REGEXES": [r"https://\w+\.example\.com$"]}, False),
        ({"CORS_ALLOW_ALL_ORIGINS": True}, False),
        ({"CORS_ALLOW_CREDENTIALS": True, "CORS_ALLOW_ALL_ORIGINS": True}, True),
        ({"CORS_ALLOW_CREDENTIALS": True, "CORS_ALLOWED_ORIGIN_REGEXES": [r"https://.*"]}, True),
    ],
    ids=str,
)
def test_a_cors_setting_that_lets_every_origin_send_cookies_is_reported(
    settings: Settings, cors: dict[str, Any], is_reported: bool
) -> None:
    for name, value in cors.items():
        setattr(settings, name, value)

    assert ("ninja_auth_kit.W031" in {one.id for one in run_checks()}) is is_reported


def test_an_unknown_key_is_named(kit: Callable[..., None]) -> None:
    kit(COOKIES={"ORIGIN": ["https://app.example.com"]})

    (message,) = [one for one in run_checks() if one.id == "ninja_auth_kit.E002"]

    assert message.hint == "Did you mean 'ORIGINS'?"


def test_every_key_of_a_feature_has_a_type_and_a_row_in_the_documentation() -> None:
    rows = {f'{key}["{name}"]' for key, rows in conf.nested_settings().items() for name in rows}
    hints = get_type_hints(conf.AuthKitSettings)
    typed = {f'{key}["{name}"]' for key, hint in hints.items() if is_typeddict(hint) for name in get_type_hints(hint)}

    assert rows
    assert rows <= typed
    assert rows <= all_settings().keys()


def test_a_project_without_the_app_imports_nothing_of_it() -> None:
    code = (
        "import sys, django; django.setup(); from django.urls import get_resolver; get_resolver().url_patterns; "
        "print([name for name in sys.modules if name.startswith('ninja_auth_kit.contrib')])"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)

    assert (done.stdout, done.stderr) == ("[]\n", "")
