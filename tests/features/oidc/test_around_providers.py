"""Providers beside the rest: cookie mode, the limit of sessions, remembered devices, the document and the mounts."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command

from ninja_auth_kit.contrib.oidc.models import Identity
from ninja_auth_kit.contrib.oidc.testing import FakeProvider
from ninja_auth_kit.models import EmailAddress, SpentTicket, UserSession
from tests.conftest import Api
from tests.features.conftest import Enrolled, finish
from tests.features.cookies.page import ORIGIN, REFRESH, Page
from tests.features.oidc.conftest import REDIRECT_URI, answer, begin, flow, link

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("more", [{}, {"redirect_uri": REDIRECT_URI, "native": True}])
def test_a_start_with_both_ways_back_or_without_one_says_what_to_send(
    api: Api, provider: FakeProvider, more: dict[str, Any]
) -> None:
    response = api.post("oidc/example/start", {"purpose": "login", **more})
    (fault,) = response.json()["errors"]
    assert (response.status_code, fault["code"]) == (422, "one_way_back")
    assert fault["message"] == "Send either redirect_uri or native."


def test_in_cookie_mode_the_refresh_token_is_in_a_cookie(
    api: Api, user: Any, provider: FakeProvider, kit: Callable[..., None]
) -> None:
    kit(COOKIES={"ORIGINS": [ORIGIN]})
    link(user)
    page = Page()
    started = begin(api)
    returned = provider.authorize(started["authorization_url"])
    done = page("POST", "oidc/example/finish", {"flow_token": started["flow_token"], **returned})
    assert done.status_code == 200, done.content
    assert "refresh_token" not in done.json()
    assert REFRESH in done.cookies

    token = done.json()["access_token"]
    started = begin(api, "example", "step_up", token=token)
    returned = provider.authorize(started["authorization_url"])
    body = {"flow_token": started["flow_token"], **returned}
    raised = page("POST", "oidc/example/finish", body, HTTP_AUTHORIZATION=f"Bearer {token}")
    assert (raised.status_code, REFRESH in raised.cookies) == (200, False)


def test_without_a_free_session_nothing_is_used_up(
    api: Api, user: Any, provider: FakeProvider, kit: Callable[..., None]
) -> None:
    kit(SESSION_LIMIT_POLICY="reject")
    link(user)
    token = api.pair()["access_token"]
    started = begin(api)
    for _ in range(2):
        returned = provider.authorize(started["authorization_url"])
        body = {"flow_token": started["flow_token"], **returned}
        assert answer(api.post("oidc/example/finish", body)) == (409, "session_limit_reached")
    assert not SpentTicket.objects.exists()
    assert Identity.objects.get().last_used_at is None
    api.post("logout", token=token)
    returned = provider.authorize(started["authorization_url"])
    assert api.post("oidc/example/finish", {"flow_token": started["flow_token"], **returned}).status_code == 200


def test_a_remembered_device_is_not_asked_for_a_factor(
    api: Api, enrolled: Enrolled, provider: FakeProvider, kit: Callable[..., None], clock: Any
) -> None:
    kit(FACTORS={"REMEMBER_DEVICE": timedelta(days=30)})
    link(enrolled.user)
    clock.shift(60)
    pending = flow(api, provider).json()
    done = finish(api, pending["challenge_token"], enrolled.app.code(), remember_device=True).json()
    started = begin(api)
    returned = provider.authorize(started["authorization_url"])
    body = {"flow_token": started["flow_token"], **returned, "device_token": done["device_token"]}
    response = api.post("oidc/example/finish", body)
    assert (response.status_code, response.json()["acr"]) == (200, "aal1")


def test_a_known_identity_waits_for_the_verification_of_the_address(
    api: Api, user: Any, provider: FakeProvider
) -> None:
    link(user)
    EmailAddress.objects.update(verified_at=None)
    assert answer(flow(api, provider)) == (403, "email_not_verified")
    assert not UserSession.objects.exists()


def test_authkit_revoke_ends_the_sessions_and_leaves_the_identities(
    api: Api, user: Any, provider: FakeProvider
) -> None:
    link(user)
    token = flow(api, provider).json()["access_token"]
    call_command("authkit_revoke", key=str(user.pk))
    assert not api.is_in(token)
    assert flow(api, provider).status_code == 200


def test_the_callback_is_below_the_mount_and_not_in_the_document(api: Api, kit: Callable[..., None]) -> None:
    document = api.get("openapi.json").json()
    paths = {path.rpartition("/auth/")[2] for path in document["paths"] if "oidc" in path or "identities" in path}
    assert paths == {
        "oidc",
        "oidc/{provider}/start",
        "oidc/{provider}/finish",
        "oidc/{provider}/id-token",
        "oidc/signup",
        "identities",
        "identities/{identity_id}",
    }
    apple = {"client_ids": ["com.example.web"], "team_id": "T", "key_id": "K", "private_key": "x"}
    kit(OIDC={"PROVIDERS": {"apple": apple}, "REDIRECT_URIS": [REDIRECT_URI]})
    host = Api("/host/auth/")
    response = host("POST", "oidc/apple/callback", b"state=0.a", content_type="application/x-www-form-urlencoded")
    assert response["Location"] == f"{REDIRECT_URI}#state=0.a&iss=https%3A%2F%2Fappleid.apple.com"
    refused = host("POST", "oidc/apple/callback", b"state=0.a%00", content_type="application/x-www-form-urlencoded")
    assert refused.status_code == 422


def test_a_hidden_user_does_not_log_in(
    api: Api, user: Any, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    link(user)
    row = Identity.objects.load(issuer="https://id.example.com", subject="the-subject")
    assert row is not None
    assert row.is_shown  # type: ignore[attr-defined]
    row.is_shown = False  # type: ignore[attr-defined]
    monkeypatch.setattr(type(Identity.objects), "load", lambda *_, **__: row)
    assert answer(flow(api, provider)) == (401, "invalid_credentials")
