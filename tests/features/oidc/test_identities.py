"""The identities of a user who is logged in: link, list, unlink; and step-up with one."""

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.utils import timezone

from ninja_auth_kit import features
from ninja_auth_kit.contrib.factors.models import Factor
from ninja_auth_kit.contrib.oidc import http_client
from ninja_auth_kit.contrib.oidc.models import Identity
from ninja_auth_kit.contrib.oidc.testing import FakeProvider
from ninja_auth_kit.models import EmailAddress, SpentTicket, UserSession
from tests.conftest import EMAIL, PASSWORD, Api, event_names, events
from tests.features.conftest import Enrolled, enrol
from tests.features.oidc.conftest import (
    ISSUER,
    SUBJECT,
    answer,
    begin,
    end,
    flow,
    link,
    query_of,
)
from tests.features.passkeys.conftest import new_passkey, register

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def token(api: Api, user: Any) -> str:
    return str(api.pair()["access_token"])


def test_a_link_is_an_identity_an_event_and_an_email(
    api: Api, token: str, provider: FakeProvider, audited: None
) -> None:
    response = flow(api, provider, "link", token=token, email="other@example.com", email_verified=False)

    assert response.status_code == 201, response.content
    shown = response.json()
    assert list(shown) == ["id", "provider", "email", "linked_at"]
    assert (shown["provider"], shown["email"]) == ("example", "other@example.com")
    assert api.get("identities", token=token).json() == [shown]
    assert event_names()[-1] == "identity.linked"
    assert events()[-1]["data"]["details"] == {"provider": "example"}
    assert "Example was linked to your account" in str(mail.outbox[-1].body)
    assert mail.outbox[-1].to == [EMAIL]
    assert flow(api, provider).status_code == 200  # a login


def test_a_link_again_changes_nothing(api: Api, token: str, provider: FakeProvider) -> None:
    first = flow(api, provider, "link", token=token)
    again = flow(api, provider, "link", token=token, email="other@example.com")
    assert (again.status_code, again.json()) == (201, first.json())
    assert len(mail.outbox) == 1


def test_an_identity_belongs_to_one_account(
    api: Api, token: str, provider: FakeProvider, make_user: Callable[..., Any], audited: None
) -> None:
    link(make_user("grace@example.com"))
    assert answer(flow(api, provider, "link", token=token)) == (409, "identity_taken")
    assert api.is_in(token)
    assert not SpentTicket.objects.exists()
    assert events()[-1]["data"]["reason"] == "identity_taken"


def test_an_account_has_one_identity_of_an_issuer(api: Api, user: Any, token: str, provider: FakeProvider) -> None:
    link(user, subject="first")
    assert answer(flow(api, provider, "link", token=token)) == (409, "identity_taken")


@pytest.mark.parametrize("endpoint", ["start", "finish", "unlink"])
def test_linking_and_unlinking_need_a_recent_proof(
    api: Api, user: Any, token: str, provider: FakeProvider, clock: Any, kit: Callable[..., None], endpoint: str
) -> None:
    kit(ACCESS_TOKEN_LIFETIME=timedelta(hours=1), STEP_UP_MAX_AGE=timedelta(minutes=2))
    token = api.pair()["access_token"]
    started = begin(api, "example", "link", token=token)
    row = link(user, issuer="https://other.example.com")
    clock.shift(121)
    if endpoint == "start":
        body = {"purpose": "link", "redirect_uri": "https://example.com/login/done"}
        response = api.post("oidc/example/start", body, token=token)
    elif endpoint == "finish":
        response = end(api, provider, started, token=token)
    else:
        response = api.delete(f"identities/{row.pk}", token=token)
    assert answer(response) == (401, "insufficient_user_authentication")
    assert Identity.objects.count() == 1


def test_a_user_with_a_factor_links_after_it_was_proved(api: Api, enrolled: Enrolled, provider: FakeProvider) -> None:
    assert flow(api, provider, "link", token=enrolled.token).status_code == 201
    pending = flow(api, provider)
    assert pending.status_code == 202


def test_an_identity_is_unlinked(api: Api, user: Any, token: str, provider: FakeProvider, audited: None) -> None:
    row = link(user)
    assert api.delete(f"identities/{row.pk}", token=token).status_code == 204
    assert event_names()[-1] == "identity.unlinked"
    assert events()[-1]["data"]["details"] == {"provider": "example"}
    assert "Example was unlinked from your account" in str(mail.outbox[-1].body)
    assert answer(flow(api, provider)) == (403, "email_not_verified")
    assert answer(api.delete(f"identities/{row.pk}", token=token)) == (404, "not_found")


def test_unlinking_ends_the_other_sessions_that_began_at_a_provider(
    api: Api, user: Any, provider: FakeProvider, kit: Callable[..., None], audited: None
) -> None:
    kit(SESSION_LIMIT=None)
    row = link(user)
    stranger = flow(api, provider).json()
    phone, own = api.pair()["access_token"], flow(api, provider).json()["access_token"]

    assert api.delete(f"identities/{row.pk}", token=own).status_code == 204
    assert event_names()[-2:] == ["session.revoked", "identity.unlinked"]

    assert (api.is_in(stranger["access_token"]), api.is_in(phone), api.is_in(own)) == (False, True, True)
    assert api.post("refresh", {"refresh_token": stranger["refresh_token"]}).status_code == 401


def test_a_factor_that_was_added_while_the_provider_was_asked_is_asked_for(
    api: Api, user: Any, token: str, provider: FakeProvider, kit: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    started = begin(api, "example", "link", token=token)
    returned = provider.authorize(started["authorization_url"])
    real = http_client.send

    def send(*args: Any) -> Any:
        Factor.objects.get_or_create(user=user, kind="totp", name="phone", confirmed_at=timezone.now())
        return real(*args)

    monkeypatch.setattr(http_client, "send", send)
    response = api.post("oidc/example/finish", {"flow_token": started["flow_token"], **returned}, token=token)

    assert answer(response) == (401, "insufficient_user_authentication")
    assert not Identity.objects.exists()


def test_the_identity_of_another_user_is_not_there(api: Api, token: str, make_user: Callable[..., Any]) -> None:
    row = link(make_user("grace@example.com"))
    for key in (row.pk, uuid.uuid4()):
        assert answer(api.delete(f"identities/{key}", token=token)) == (404, "not_found")
    assert api.get("identities", token=token).json() == []


# The last way in


@pytest.fixture
def alone(api: Api, user: Any, provider: FakeProvider, without_email_codes: None) -> str:
    """Let the user have no password, and one identity. Return an access token."""
    type(user).objects.update(password="!unusable")
    user.refresh_from_db()
    link(user)
    return str(flow(api, provider).json()["access_token"])


def remove(api: Api, token: str, *, provider: str = "example") -> tuple[int, str | None]:
    return answer(api.delete(f"identities/{Identity.objects.get(provider=provider).pk}", token=token))


@pytest.mark.security("OIDC-11")
def test_the_last_way_in_stays(api: Api, alone: str, audited: None) -> None:
    assert remove(api, alone) == (409, "last_way_in")
    assert Identity.objects.count() == 1
    assert "identity.unlinked" not in event_names()
    assert mail.outbox == []


@pytest.mark.security("OIDC-11")
@pytest.mark.parametrize("how", ["identity", "unconfigured", "planted", "passkey", "code", "password"])
def test_what_counts_as_another_way_in(
    api: Api, user: Any, alone: str, use: Callable[..., None], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "identity":
        use({}, google={})
        link(user, issuer="https://accounts.google.com", provider="google")
    elif how == "unconfigured":
        link(user, issuer="https://gone.example.com", provider="gone")
    elif how == "planted":
        use({}, google={})
        link(user, issuer="https://accounts.google.com", provider="google")
        Identity.objects.filter(provider="google").update(subject="planted")
    elif how == "passkey":
        done = register(api, alone, new_passkey())
        assert done.status_code == 201, done.content
        alone = done.json()["tokens"]["access_token"]
    elif how == "code":
        known = features.Feature(name="codes", has_way_in=lambda user: True)
        monkeypatch.setitem(features._features, "codes", known)
    else:
        api.post("password/change", {"new_password": PASSWORD}, token=alone)
    expected = (409, "last_way_in") if how in ("unconfigured", "planted") else (204, None)
    assert remove(api, alone) == expected


@pytest.mark.security("OIDC-11")
def test_a_passkey_can_go_if_an_identity_is_left(api: Api, user: Any, alone: str) -> None:
    done = register(api, alone, new_passkey()).json()
    token, path = done["tokens"]["access_token"], f"factors/{done['factor']['id']}"
    assert answer(api.delete(path, token=token)) == (204, None)


# Step-up


def test_the_step_up_methods_name_the_provider(api: Api, user: Any, token: str, use: Callable[..., None]) -> None:
    assert api.get("step-up", token=token).json()["methods"] == ["password"]
    row = link(user)
    assert api.get("step-up", token=token).json()["methods"] == ["password", "provider"]
    use({}, github={})
    Identity.objects.filter(pk=row.pk).update(issuer="https://github.com/login/oauth")
    assert api.get("step-up", token=token).json()["methods"] == ["password"]


@pytest.mark.security("OIDC-13")
def test_a_step_up_asks_for_a_new_authentication(
    api: Api, user: Any, provider: FakeProvider, clock: Any, audited: None
) -> None:
    link(user)
    pair = api.pair()
    clock.shift(60)
    started = begin(api, "example", "step_up", token=pair["access_token"])
    assert query_of(started)["max_age"] == "0"
    clock.shift(30)

    response = end(api, provider, started, token=pair["access_token"])

    assert response.status_code == 200, response.content
    assert list(response.json()) == ["access_token", "token_type", "expires_in", "acr"]
    raised = api.get("step-up", token=response.json()["access_token"]).json()
    before = api.get("step-up", token=pair["access_token"]).json()
    assert raised["auth_time"] == before["auth_time"] + 90
    assert raised["acr"] == "aal1"
    assert event_names()[-1] == "session.stepped_up"
    assert events()[-1]["data"]["details"]["method"] == "provider"
    assert UserSession.objects.count() == 1


@pytest.mark.security("OIDC-13")
@pytest.mark.parametrize("auth_time", [None, -1, "now", True, 61])
def test_a_step_up_by_an_older_authentication_is_refused(
    api: Api, user: Any, token: str, provider: FakeProvider, clock: Any, auth_time: Any
) -> None:
    link(user)
    started = begin(api, "example", "step_up", token=token)
    now = int(timezone.now().timestamp())
    value = now + auth_time if type(auth_time) is int else auth_time
    response = end(api, provider, started, token=token, auth_time=value)
    assert answer(response) == (400, "provider_refused")
    assert end(api, provider, started, token=token, auth_time=now).status_code == 200
    assert answer(end(api, provider, started, token=token)) == (400, "invalid_challenge")


def test_a_step_up_by_another_identity_is_refused(
    api: Api, user: Any, token: str, provider: FakeProvider, make_user: Callable[..., Any], audited: None
) -> None:
    link(user)
    link(make_user("grace@example.com"), subject="of-grace")
    for subject in ("of-grace", "of-nobody"):
        assert answer(flow(api, provider, "step_up", token=token, subject=subject)) == (403, "wrong_factor")
    assert event_names()[-2:] == ["session.step_up_failed", "identity.refused"]


def test_the_provider_is_no_step_up_for_a_user_with_a_factor(
    api: Api, user: Any, provider: FakeProvider, clock: Any
) -> None:
    link(user)
    token = api.pair()["access_token"]
    started = begin(api, "example", "step_up", token=token)
    _, confirmed = enrol(api, token)
    token = confirmed.json()["tokens"]["access_token"]
    body = {"purpose": "step_up", "redirect_uri": "https://example.com/login/done"}
    assert answer(api.post("oidc/example/start", body, token=token)) == (403, "wrong_factor")
    assert "provider" not in api.get("step-up", token=token).json()["methods"]
    assert answer(end(api, provider, started, token=token)) == (400, "invalid_challenge")  # of an ended session


def test_github_cannot_confirm_a_step_up(api: Api, token: str, use: Callable[..., None]) -> None:
    use({}, github={})
    body = {"purpose": "step_up", "redirect_uri": "https://example.com/login/done"}
    assert answer(api.post("oidc/github/start", body, token=token)) == (403, "wrong_factor")
    assert api.post("oidc/github/start", {"purpose": "login", "native": True}).status_code == 422


def test_a_refusal_never_ends_the_session(api: Api, user: Any, token: str, provider: FakeProvider) -> None:
    for purpose in ("link", "step_up", "login"):
        for wrong in ({"nonce": "x"}, {"aud": "x"}, {"exp": 1}):
            assert flow(api, provider, purpose, token=token, **wrong).status_code == 400
    assert api.is_in(token)


# Linking by address, if the project wants it


@pytest.mark.parametrize(
    ("preset", "claims", "links"),
    [
        ("google", {"email": "ada@gmail.com"}, True),
        ("google", {"email": "ada@example.com", "hd": "example.com"}, True),
        ("google", {"email": "ada@example.com", "hd": "other.example.com"}, False),
        ("google", {"email": "ada@example.com", "hd": None}, False),
        ("google", {"email": "ada@example.com", "hd": ["example.com"]}, False),
        ("google", {"email": "ada@gmail.com", "email_verified": "true"}, None),
        ("apple", {"email": "ada@icloud.com", "email_verified": "true"}, True),
        ("apple", {"email": "ada@PrivateRelay.AppleID.com", "email_verified": True}, True),
        ("apple", {"email": "ada@example.com", "email_verified": "true"}, False),
        ("apple", {"email": "ada@icloud.com", "email_verified": "false"}, None),
        ("microsoft", {"email": "ada@example.com", "xms_edov": True}, True),
        ("microsoft", {"email": "ada@example.com", "xms_edov": "1"}, True),
        ("microsoft", {"email": "ada@example.com"}, None),
        ("microsoft", {"email": "ada@example.com", "xms_edov": False}, None),
        ("example", {"email": "ada@example.com"}, False),
    ],
)
def test_the_authority_of_an_address_may_link_it(
    api: Api,
    use: Callable[..., None],
    make_user: Callable[..., Any],
    audited: None,
    preset: str,
    claims: dict[str, Any],
    links: bool | None,
) -> None:
    members: dict[str, Any] = {"client_ids": ["c"], "client_secret": "s", "links_verified_email": True}
    if preset == "microsoft":
        members["tenants"] = ["11111111-1111-4111-8111-111111111111"]
    use({"email_trusted": True, "links_verified_email": True}, **({} if preset == "example" else {preset: members}))
    user = make_user(claims["email"])
    with FakeProvider(preset) as fake:
        response = flow(api, fake, **claims)
    if links:
        assert response.status_code == 200, response.content
        assert Identity.objects.get().user_id == user.pk
        assert "identity.linked" in event_names()
        assert mail.outbox[-1].to == [user.email]
        assert user.has_usable_password()
    else:
        assert answer(response) == ((409, "account_exists") if links is False else (403, "email_not_verified"))
        assert not Identity.objects.exists()


@pytest.mark.security("OIDC-07", "FAC-01")
def test_linking_by_address_asks_for_the_second_factor(api: Api, enrolled: Enrolled, use: Callable[..., None]) -> None:
    use({}, google={"links_verified_email": True})
    with FakeProvider("google") as google:
        response = flow(api, google, hd="example.com")
    assert response.status_code == 202
    assert response.json()["status"] == "factor_required"


@pytest.mark.parametrize("state", ["unverified", "elsewhere", "disabled"])
def test_only_a_verified_account_is_linked_by_its_address(
    api: Api, user: Any, use: Callable[..., None], state: str
) -> None:
    use({}, google={"links_verified_email": True})
    if state == "disabled":
        type(user).objects.update(is_active=False)
    elif state == "elsewhere":
        EmailAddress.objects.all().delete()
    else:
        EmailAddress.objects.update(verified_at=None)
        type(user).objects.update(is_staff=True)
    with FakeProvider("google") as google:
        assert answer(flow(api, google, hd="example.com")) == (409, "account_exists")
    assert not Identity.objects.exists()


# Seals, rotation and deletion


def test_seals_are_made_again_under_a_new_root(
    api: Api, user: Any, provider: FakeProvider, kit: Callable[..., None], settings: Any
) -> None:
    rows = [link(user), link(user, issuer="https://other.example.com")]
    former = settings.JWT_SECRET_KEY
    kit(
        JWT_SECRET_KEY="Aq3vN8wLx2Yc7Rk5Tm9Bp4Hd6Jf1Gs0AeUiOoWyQ-tests-only-2",
        SIGNING_KEYS=[{"alg": "HS256", "key": former, "state": "verify-only"}],
    )
    assert flow(api, provider).status_code == 200
    assert Identity.objects.get(pk=rows[0].pk).seal != rows[0].seal
    assert [one.done for one in features.rewrap() if one.rows == "identities"] == [1]
    kit(SIGNING_KEYS=None)
    assert flow(api, provider).status_code == 200
    assert not Identity.objects.of_removed_roots().exists()
    Identity.objects.update(seal=rows[0].seal)
    assert answer(flow(api, provider)) == (401, "invalid_credentials")
    assert [row["user"] for query in features.locked_out() if query.model is Identity for row in query] == [
        user.pk
    ] * 2


def test_identities_are_deleted_with_their_user(api: Api, user: Any, token: str) -> None:
    link(user)
    assert api.delete("me", body={"password": PASSWORD}, token=token).status_code == 204
    assert not Identity.objects.exists()


def test_an_identity_shows_neither_subject_nor_seal(user: Any) -> None:
    row = link(user)
    assert SUBJECT not in f"{row} {row!r}"
    assert ISSUER not in str(row)
