"""Login by a provider: which account an identity logs in to, and which it registers."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core import mail
from django.db import IntegrityError

from ninja_auth_kit.contrib.oidc import login
from ninja_auth_kit.contrib.oidc.models import Identity
from ninja_auth_kit.contrib.oidc.testing import FakeProvider
from ninja_auth_kit.models import EmailAddress, SpentTicket, UserSession
from ninja_auth_kit.models.users import has_username
from tests.conftest import EMAIL, PASSWORD, Api, event_names, events
from tests.features.conftest import Enrolled, finish
from tests.features.oidc.conftest import (
    ISSUER,
    SUBJECT,
    answer,
    begin,
    begin_native,
    end,
    flow,
    link,
    sign_up,
)

pytestmark = pytest.mark.django_db(transaction=True)

OTHER = "grace@example.com"


def test_the_list_names_the_providers(api: Api) -> None:
    response = api.get("oidc")
    assert response.json() == [{"id": "example", "name": "Example"}]


@pytest.mark.security("OIDC-05")
def test_a_known_identity_logs_in_whatever_the_address_says_now(
    api: Api, user: Any, provider: FakeProvider, make_user: Callable[..., Any], audited: None
) -> None:
    make_user(OTHER)
    link(user)
    for claims in ({}, {"email": OTHER}, {"email": "new@example.com", "email_verified": False}, {"email": None}):
        response = flow(api, provider, **claims)
        assert response.status_code == 200, response.content
        assert api.get("me", token=response.json()["access_token"]).json()["email"] == EMAIL
    assert Identity.objects.get().last_used_at is not None
    assert event_names()[-1] == "session.logged_in"
    assert events()[-1]["data"]["details"]["methods"] == ["fed"]
    assert response.json()["acr"] == "aal1"


@pytest.mark.security("OIDC-05")
@pytest.mark.parametrize("claims", [{"subject": "another"}, {"subject": SUBJECT.upper()}])
def test_another_subject_is_another_identity(
    api: Api, user: Any, provider: FakeProvider, claims: dict[str, Any]
) -> None:
    link(user)
    assert answer(flow(api, provider, **claims)) == (403, "email_not_verified")


def test_the_same_subject_of_another_issuer_is_another_identity(api: Api, user: Any, provider: FakeProvider) -> None:
    link(user, issuer="https://other.example.com")
    assert answer(flow(api, provider)) == (403, "email_not_verified")


def test_a_new_identity_registers_an_account(api: Api, trusted: FakeProvider, audited: None) -> None:
    response = sign_up(api, flow(api, trusted, email="new@example.com"))

    assert response.status_code == 200, response.content
    user = get_user_model().objects.get()
    assert not user.has_usable_password()
    assert EmailAddress.objects.get().verified_at is not None
    assert Identity.objects.get().user_id == user.pk
    assert event_names()[-4:] == ["user.registered", "email.verified", "identity.linked", "session.logged_in"]
    assert mail.outbox == []
    again = flow(api, trusted)
    assert again.status_code == 200


@pytest.mark.security("OIDC-06")
@pytest.mark.parametrize("value", [False, None, "true", "True", 1, [True], {"a": 1}])
def test_an_address_is_verified_if_the_provider_says_true(api: Api, trusted: FakeProvider, value: Any) -> None:
    assert answer(flow(api, trusted, email_verified=value)) == (403, "email_not_verified")
    assert not get_user_model().objects.exists()


@pytest.mark.security("OIDC-06")
def test_an_unverified_address_reveals_nothing(
    api: Api, user: Any, provider: FakeProvider, use: Callable[..., None]
) -> None:
    answers = {flow(api, provider, email=email).content for email in (EMAIL, "nobody@example.com", "", None)}
    use({"email_trusted": True})
    for email in (EMAIL, "nobody@example.com", "no address", 7, "a\x00@example.com", "\ud800@example.com"):
        answers.add(flow(api, provider, email=email, email_verified=email in ("no address", 7) or None).content)
    assert len(answers) == 1
    assert not Identity.objects.exists()


def test_an_address_of_an_account_is_not_linked(api: Api, user: Any, trusted: FakeProvider, audited: None) -> None:
    assert answer(flow(api, trusted, email="Ada@Example.com")) == (409, "account_exists")
    assert not Identity.objects.exists()
    assert not SpentTicket.objects.exists()
    (refused,) = [one for one in events() if "identity.refused" in one["type"]]
    assert refused["data"]["details"] == {"provider": "example"}
    assert refused["data"]["reason"] == "account_exists"
    assert EMAIL not in str(refused)


def test_without_registration_nothing_is_registered(
    api: Api, trusted: FakeProvider, use: Callable[..., None], kit: Callable[..., None]
) -> None:
    kit(REGISTRATION_OPEN=False)
    assert answer(flow(api, trusted)) == (403, "registration_closed")
    kit(REGISTRATION_OPEN=True)
    use({"email_trusted": True}, registers=False)
    assert answer(flow(api, trusted)) == (403, "registration_closed")


@pytest.mark.security("OIDC-07")
def test_a_registration_that_waits_is_replaced(api: Api, trusted: FakeProvider, make_user: Callable[..., Any]) -> None:
    waiting = make_user(verified=False)
    link(waiting, subject="of-the-stranger")

    response = sign_up(api, flow(api, trusted))

    assert response.status_code == 200, response.content
    user = get_user_model().objects.get()
    assert not user.has_usable_password()
    assert [row.subject for row in Identity.objects.all()] == [SUBJECT]
    assert api.login(EMAIL, PASSWORD).status_code == 401
    assert answer(flow(api, trusted, subject="of-the-stranger")) == (409, "account_exists")


@pytest.mark.security("OIDC-07")
@pytest.mark.parametrize("rights", [{"is_staff": True}, {"is_superuser": True}, {"is_active": False}])
def test_an_unverified_account_with_rights_is_not_replaced(
    api: Api, trusted: FakeProvider, make_user: Callable[..., Any], rights: dict[str, Any]
) -> None:
    waiting = make_user(verified=False, **rights)
    assert answer(flow(api, trusted)) == (409, "account_exists")
    waiting.refresh_from_db()
    assert waiting.check_password(PASSWORD)


def test_a_user_from_elsewhere_is_not_replaced(api: Api, user: Any, trusted: FakeProvider) -> None:
    EmailAddress.objects.all().delete()
    assert answer(flow(api, trusted)) == (409, "account_exists")


def test_a_user_from_elsewhere_with_an_identity_logs_in_if_the_address_is_vouched_for(
    api: Api, user: Any, trusted: FakeProvider, use: Callable[..., None]
) -> None:
    EmailAddress.objects.all().delete()
    link(user)
    for claims in ({"email_verified": False}, {"email": OTHER}):
        assert answer(flow(api, trusted, **claims)) == (403, "email_not_verified")
    assert flow(api, trusted).status_code == 200
    assert EmailAddress.objects.get().verified_at is not None


def test_an_address_that_another_user_verifies_at_the_same_time_is_not_verified_twice(
    api: Api, user: Any, trusted: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise IntegrityError("planted")

    EmailAddress.objects.all().delete()
    link(user)
    monkeypatch.setattr(login, "mark_address_verified", fail)
    assert answer(flow(api, trusted)) == (403, "email_not_verified")
    assert not SpentTicket.objects.exists()


@pytest.mark.parametrize("how", ["disabled", "planted", "moved"])
def test_an_identity_that_must_not_log_in_gets_one_answer(
    api: Api, user: Any, provider: FakeProvider, make_user: Callable[..., Any], how: str
) -> None:
    row = link(user)
    if how == "disabled":
        type(user).objects.update(is_active=False)
    elif how == "planted":
        Identity.objects.update(subject="another")
    else:
        Identity.objects.update(user=make_user(OTHER))
    response = flow(api, provider, subject="another" if how == "planted" else row.subject)
    assert answer(response) == (401, "invalid_credentials")
    assert not UserSession.objects.exists()


@pytest.mark.security("FAC-01")
def test_a_second_factor_is_asked_for(api: Api, enrolled: Enrolled, provider: FakeProvider, clock: Any) -> None:
    link(enrolled.user)
    clock.shift(60)
    response = flow(api, provider)
    assert response.status_code == 202
    assert response.json()["methods"] == ["totp", "recovery_code"]
    assert api.is_in(enrolled.token)
    done = finish(api, response.json()["challenge_token"], enrolled.app.code())
    assert done.json()["acr"] == "aal2"


def test_a_native_app_sends_the_id_token(api: Api, user: Any, provider: FakeProvider) -> None:
    link(user)
    started = begin_native(api)
    assert started["authorization_url"] is None
    token = provider.id_token(started["nonce"], aud="the-app")
    body = {"flow_token": started["flow_token"], "id_token": token}
    assert api.post("oidc/example/id-token", body).status_code == 200
    assert answer(api.post("oidc/example/id-token", body)) == (400, "invalid_challenge")


def test_a_code_counts_once(api: Api, user: Any, provider: FakeProvider) -> None:
    link(user)
    started = begin(api)
    returned = provider.authorize(started["authorization_url"])
    body = {"flow_token": started["flow_token"], **returned}
    assert api.post("oidc/example/finish", body).status_code == 200
    assert answer(api.post("oidc/example/finish", body)) == (400, "provider_refused")
    body |= provider.authorize(started["authorization_url"])
    assert answer(api.post("oidc/example/finish", body)) == (400, "invalid_challenge")


@pytest.mark.skipif(not has_username(), reason="users have no username")
def test_a_taken_username_uses_nothing_up(api: Api, trusted: FakeProvider, make_user: Callable[..., Any]) -> None:
    make_user(OTHER, username="countess")
    first = flow(api, trusted)
    refused = sign_up(api, first, "countess")
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "username_taken")
    assert sign_up(api, first, "ada").status_code == 200
    assert answer(sign_up(api, first, "lovelace")) == (401, "invalid_challenge")
    assert answer(api.post("oidc/signup", {"signup_token": "nakt_x", "username": "ada"})) == (401, "invalid_challenge")


@pytest.mark.parametrize("seconds", [0, 599, 601])
def test_a_flow_token_lives_ten_minutes(api: Api, user: Any, provider: FakeProvider, clock: Any, seconds: int) -> None:
    link(user)
    started = begin(api)
    clock.shift(seconds)
    expected = (200, None) if seconds < 600 else (400, "invalid_challenge")
    assert answer(end(api, provider, started)) == expected


def test_the_rate_limit_holds_before_anything_is_read(
    api: Api, provider: FakeProvider, kit: Callable[..., None]
) -> None:
    kit(THROTTLES={"oidc_network": "2/m"})
    body = {"flow_token": "nakt_x", "code": "x", "state": "0.x"}
    found = [answer(api.post("oidc/example/finish", body)) for _ in range(3)]
    assert found == [(400, "invalid_challenge")] * 2 + [(429, "throttled")]


def test_an_unknown_provider_does_not_exist(api: Api) -> None:
    assert answer(api.post("oidc/nobody/start", {"purpose": "login", "native": True})) == (404, "not_found")
    body = {"flow_token": "nakt_x", "code": "x", "state": "0.x"}
    assert answer(api.post("oidc/nobody/finish", body)) == (404, "not_found")
    assert ISSUER not in api.get("oidc").content.decode()


def test_a_first_login_that_another_one_overtakes_logs_in(
    api: Api, user: Any, trusted: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    link(user)
    real, calls = Identity.objects.load, list[None]()

    def load(**key: str) -> Any:
        calls.append(None)
        return None if len(calls) == 1 else real(**key)  # the other login commits after this query

    monkeypatch.setattr(Identity.objects, "load", load)
    assert flow(api, trusted).status_code == 200
    assert len(calls) == 2
