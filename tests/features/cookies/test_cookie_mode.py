"""Cookie mode: what is in cookies, what is in bodies, and whose requests may use them."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from ninja_auth_kit.models import UserSession
from tests.conftest import PASSWORD, Api, event_names
from tests.features.cookies.page import REFRESH, Page, attributes

pytestmark = pytest.mark.django_db

MOUNTS = ["/api/auth/", "/host/auth/"]


@pytest.fixture
def page(user: Any) -> Page:
    page = Page()
    assert page.login().status_code == 200
    return page


def refused(response: Any, status: int, code: str) -> None:
    """Check that a response is a problem that no cache stores, and that it sets no cookie."""
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response["Content-Type"] == "application/problem+json"
    assert response["Cache-Control"] == "no-store"
    assert not response.cookies


@pytest.mark.security("COOK-01")
@pytest.mark.parametrize("base", MOUNTS)
def test_the_refresh_token_is_in_a_cookie_and_in_no_body(user: Any, base: str) -> None:
    page = Page(base)
    answers = [page.login(), page("POST", "refresh"), page("POST", "refresh", {})]

    for answer in answers:
        assert answer.status_code == 200
        assert answer["Cache-Control"] == "no-store"
        assert "Authorization" in answer["Vary"]
        body = answer.json()
        assert set(body) == {"acr", "access_token", "token_type", "expires_in", "refresh_expires_in", "session_id"}
        assert list(answer.cookies) == [REFRESH]
        cookie = answer.cookies[REFRESH]
        assert cookie.value.startswith("nakr_")
        assert attributes(cookie) == {
            "path": "/",
            "httponly": True,
            "secure": True,
            "samesite": "Strict",
            "max-age": body["refresh_expires_in"],
        }
        assert b"nakr_" not in answer.content
        assert body["access_token"] not in str(answer.cookies)
        assert page.api.is_in(body["access_token"])
    assert len({answer.cookies[REFRESH].value for answer in answers}) == 3
    assert UserSession.objects.count() == 1


def test_without_the_header_tokens_are_in_the_body_and_no_cookie_is_set(api: Api, user: Any) -> None:
    answer = api.login()

    assert "refresh_token" in answer.json()
    assert not answer.cookies


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/json"])
def test_an_empty_body_of_any_type_is_enough(page: Page, content_type: str) -> None:
    assert page("POST", "refresh", content_type=content_type).status_code == 200
    assert page("POST", "logout", content_type=content_type).status_code == 204
    assert not UserSession.objects.filter(is_active=True).exists()


@pytest.mark.security("COOK-02")
@pytest.mark.parametrize(
    "headers",
    [
        {"HTTP_ORIGIN": "https://evil.example"},
        {"HTTP_ORIGIN": "https://app.example.com"},
        {"HTTP_ORIGIN": "https://example.com.evil.example"},
        {"HTTP_ORIGIN": "https://example.com:8443"},
        {"HTTP_ORIGIN": "http://example.com"},
        {"HTTP_ORIGIN": "https://example.com/"},
        {"HTTP_ORIGIN": "https://example.com, https://evil.example"},
        {"HTTP_ORIGIN": "null"},
        {"HTTP_ORIGIN": ""},
        {"HTTP_ORIGIN": "https://evil.example", "HTTP_SEC_FETCH_SITE": "same-origin"},
        {"HTTP_SEC_FETCH_SITE": "same-site"},
        {"HTTP_SEC_FETCH_SITE": "none"},
        {},
    ],
    ids=str,
)
def test_another_origin_or_none_reads_sets_and_ends_nothing(
    page: Page, audited: None, headers: dict[str, str]
) -> None:
    token, access_token = page.token, page("POST", "refresh").json()["access_token"]
    before = page.token
    page.headers = {"HTTP_X_AUTHKIT_TRANSPORT": "cookie", **headers}

    refused(page.login(), 403, "origin_not_allowed")
    refused(page("POST", "refresh"), 403, "origin_not_allowed")
    refused(page("POST", "refresh", {"refresh_token": token}), 403, "origin_not_allowed")
    refused(page("POST", "logout"), 403, "origin_not_allowed")
    refused(page("POST", "logout", token=access_token), 403, "origin_not_allowed")
    refused(page("POST", "logout/all", token=access_token), 403, "origin_not_allowed")
    refused(page("DELETE", "me", {"password": PASSWORD}, token=access_token), 403, "origin_not_allowed")

    assert page.token == before
    assert page.api.is_in(access_token)
    assert event_names() == ["session.refreshed"]


@pytest.mark.security("COOK-02")
def test_a_cookie_without_the_header_is_not_read(page: Page) -> None:
    page.headers = {"HTTP_ORIGIN": "https://example.com"}

    refused(page("POST", "refresh"), 422, "validation_error")
    answer = page("POST", "logout")

    assert (answer.status_code, dict(answer.cookies)) == (204, {})
    assert UserSession.objects.filter(is_active=True).count() == 1


@pytest.mark.security("COOK-02")
@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"])
def test_a_form_is_refused_before_the_cookie_is_read(page: Page, content_type: str) -> None:
    token = page.token
    for path in ("refresh", "logout", "login"):
        refused(page("POST", path, b"a=1", content_type=content_type), 415, "unsupported_media_type")
    assert page.token == token
    assert UserSession.objects.filter(is_active=True).count() == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"HTTP_ORIGIN": "HTTPS://Example.COM"},
        {"HTTP_SEC_FETCH_SITE": "same-origin"},
        {"HTTP_ORIGIN": "https://example.com", "HTTP_SEC_FETCH_SITE": "same-site"},
    ],
    ids=str,
)
def test_the_origin_of_the_site_is_allowed_however_the_browser_names_it(user: Any, headers: dict[str, str]) -> None:
    page = Page()
    page.headers = {"HTTP_X_AUTHKIT_TRANSPORT": "cookie", **headers}

    assert page.login().status_code == 200
    assert page("POST", "refresh").status_code == 200


def test_configured_origins_replace_that_of_the_site(user: Any, kit: Callable[..., None]) -> None:
    kit(COOKIES={"ORIGINS": ["https://App.example.com:443", "http://localhost:5173", "https://bücher.example"]})

    for origin in ("https://app.example.com", "http://localhost:5173", "https://xn--bcher-kva.example"):
        assert Page(HTTP_ORIGIN=origin).login().status_code == 200, origin
    for origin in ("https://example.com", "http://localhost", "http://app.example.com"):
        refused(Page(HTTP_ORIGIN=origin).login(), 403, "origin_not_allowed")


@pytest.mark.parametrize("base_url", ["https://example.com:443/app", "https://EXAMPLE.com"])
def test_the_default_is_the_origin_of_the_base_url(user: Any, kit: Callable[..., None], base_url: str) -> None:
    kit(BASE_URL=base_url)

    assert Page().login().status_code == 200


@pytest.mark.parametrize("value", ["Cookie", "cookies", "bearer", "", "cookie, cookie"])
def test_another_value_of_the_header_is_an_error(user: Any, value: str) -> None:
    refused(Page(HTTP_X_AUTHKIT_TRANSPORT=value).login(), 400, "unknown_transport")


@pytest.mark.parametrize("name", ["refresh_token", "refresh"])
@pytest.mark.parametrize("path", ["refresh", "logout"])
def test_a_token_in_the_cookie_and_in_the_body_is_an_error_and_uses_up_neither(
    page: Page, path: str, name: str
) -> None:
    response = page("POST", path, {name: page.token})

    refused(response, 422, "validation_error")
    assert [(one["field"], one["code"]) for one in response.json()["errors"]] == [("refresh_token", "two_tokens")]
    assert page("POST", "refresh").status_code == 200


def test_a_token_in_the_body_moves_into_the_cookie(api: Api, user: Any) -> None:
    token, page = api.pair()["refresh_token"], Page()

    assert page("POST", "refresh", {"refresh_token": token}).status_code == 200
    assert page.token not in {None, token}
    assert page("POST", "refresh").status_code == 200


def test_a_refresh_without_a_cookie_is_a_401_that_is_not_counted(user: Any, audited: None) -> None:
    refused(Page()("POST", "refresh"), 401, "invalid_token")
    assert event_names() == []


def deleted(response: Any) -> bool:
    """Return whether a response deletes the cookie of the refresh token, with the attributes it was set with."""
    if REFRESH not in response.cookies:
        return False
    expected = {"path": "/", "httponly": True, "secure": True, "samesite": "Strict", "max-age": 0}
    return attributes(response.cookies[REFRESH]) == expected and response.cookies[REFRESH].value == ""


def test_a_refresh_that_is_refused_for_good_deletes_the_cookie(page: Page) -> None:
    first = page.token
    for _ in range(2):
        page("POST", "refresh")

    page.api.client.cookies[REFRESH] = first
    reused = page("POST", "refresh")
    assert (reused.json()["code"], deleted(reused)) == ("token_reused", True)

    page.login()
    token = page.token
    page.login()
    page.api.client.cookies[REFRESH] = token
    ended = page("POST", "refresh")
    assert (ended.json()["code"], deleted(ended)) == ("session_ended", True)

    page.api.client.cookies[REFRESH] = "nakr_garbage"
    garbage = page("POST", "refresh")
    assert (garbage.json()["code"], deleted(garbage)) == ("invalid_token", True)

    page.login()
    with time_machine.travel(timezone.now() + timedelta(days=8)):
        expired = page("POST", "refresh")
    assert (expired.json()["code"], deleted(expired)) == ("token_expired", True)


def test_a_limit_and_a_database_that_is_away_keep_the_cookie(
    page: Page, kit: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    token = page.token
    kit(THROTTLES={"token_network": "1/h"})
    page.api.client.cookies[REFRESH] = "nakr_garbage"
    page("POST", "refresh")
    page.api.client.cookies[REFRESH] = "nakr_garbage"
    refused(page("POST", "refresh"), 429, "throttled")

    def away(**_: Any) -> None:
        raise OperationalError

    monkeypatch.setattr("ninja_auth_kit.services.refresh", away)
    monkeypatch.setattr("ninja_auth_kit.services.logout", away)
    page.api.client.cookies[REFRESH] = token
    refused(page("POST", "refresh"), 503, "service_unavailable")
    refused(page("POST", "logout"), 503, "service_unavailable")
    assert page.token == token


def test_a_logout_and_a_deleted_account_delete_the_cookie(page: Page) -> None:
    logout = page("POST", "logout")
    assert (logout.status_code, deleted(logout), page.token) == (204, True, None)
    assert UserSession.objects.filter(is_active=True).count() == 0
    again = page("POST", "logout")
    assert (again.status_code, deleted(again)) == (204, True)

    token = page.login().json()["access_token"]
    refused(page("POST", "logout/all"), 401, "invalid_token")
    everywhere = page("POST", "logout/all", token=token)
    assert (everywhere.status_code, deleted(everywhere)) == (204, True)

    token = page.login().json()["access_token"]
    refused(page("DELETE", "me", {"password": "wrong"}, token=token), 403, "wrong_password")
    gone = page("DELETE", "me", {"password": PASSWORD}, token=token)
    assert (gone.status_code, deleted(gone)) == (204, True)


def test_the_header_has_no_effect_where_there_is_no_token(page: Page) -> None:
    token = page("POST", "refresh").json()["access_token"]
    page.headers["HTTP_ORIGIN"] = "https://evil.example"

    answer = page("GET", "me", token=token)

    assert (answer.status_code, dict(answer.cookies)) == (200, {})


def test_cookie_mode_costs_no_statement(page: Page, api: Api) -> None:
    calls: dict[str, Callable[[], Any]] = {
        "login": api.login,
        "login, in cookie mode": page.login,
        "refresh, in cookie mode": lambda: page("POST", "refresh"),
        "logout, in cookie mode": lambda: page("POST", "logout"),
    }
    counts = {}
    for name, call in calls.items():
        with CaptureQueriesContext(connection) as statements:
            assert call().status_code < 300
        counts[name] = len(statements)
    for path, status in (("refresh", 200), ("logout", 204)):
        token = api.pair()["refresh_token"]
        with CaptureQueriesContext(connection) as statements:
            assert api.post(path, {"refresh_token": token}).status_code == status
        counts[path] = len(statements)

    assert [counts[f"{name}, in cookie mode"] - counts[name] for name in ("login", "refresh", "logout")] == [0, 0, 0]
    assert counts["refresh"] > 0


@pytest.mark.django_db(transaction=True)
def test_with_atomic_requests_it_works_alike(user: Any, settings: Settings) -> None:
    settings.DATABASES["default"]["ATOMIC_REQUESTS"] = True
    try:
        page = Page()
        assert page.login().status_code == 200
        assert page("POST", "refresh").status_code == 200
        logout = page("POST", "logout")
        assert (logout.status_code, deleted(logout)) == (204, True)
    finally:
        settings.DATABASES["default"]["ATOMIC_REQUESTS"] = False
