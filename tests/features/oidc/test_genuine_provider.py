"""Whole flows with oidc-provider, which others have written and the OpenID Foundation has certified."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core import mail

from ninja_auth_kit.contrib.oidc.models import Identity
from ninja_auth_kit.models.users import has_username
from ninja_auth_kit.tokens import read_access_token
from tests.conftest import EMAIL, PASSWORD, Api, event_names, events
from tests.features.conftest import enrol
from tests.features.oidc.conftest import REDIRECT_URI, answer, begin, sign_up
from tests.features.oidc.providers.genuine import Provider
from tests.features.oidc.providers.hostile import RefusedByProviderError

pytestmark = pytest.mark.django_db(transaction=True)

REFUSED = (400, "provider_refused")


@pytest.fixture(autouse=True)
def _still() -> None:
    """Let the time go on, because the provider is another process."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    with Provider(tmp_path_factory.mktemp("provider"), redirect_uris=[REDIRECT_URI]) as provider:
        yield provider


@pytest.fixture
def company(running: Provider, on_loopback: Callable[..., None]) -> Provider:
    """Return the provider, which is trusted for addresses, with the addresses that it has at first."""
    running.change_email("ada", "ada@example.com")
    on_loopback(company=running.config(email_trusted=True))
    return running


def end(
    api: Api, company: Provider, started: dict[str, Any], account: str = "ada", *, token: str | None = None
) -> Any:
    """Log in at the provider, and finish a flow."""
    returned = company.authorize(started["authorization_url"], account=account)
    return api.post("oidc/company/finish", {"flow_token": started["flow_token"], **returned}, token=token)


def flow(
    api: Api, company: Provider, account: str = "ada", purpose: str = "login", *, token: str | None = None
) -> Any:
    """Run a flow, and return its last answer."""
    return end(api, company, begin(api, "company", purpose, token=token), account, token=token)


def new_account(api: Api, company: Provider) -> dict[str, Any]:
    """Register Ada by the provider, and return the tokens."""
    response = sign_up(api, flow(api, company))
    assert response.status_code == 200, response.content
    return dict(response.json())


def test_the_first_login_registers_and_the_next_one_finds_the_account(
    api: Api, company: Provider, audited: None
) -> None:
    first = new_account(api, company)

    user = get_user_model().objects.get()
    assert (user.email, user.has_usable_password()) == ("ada@example.com", False)
    me = api.get("me", token=first["access_token"]).json()
    assert (me["email"], me["email_verified"]) == ("ada@example.com", True)
    second = flow(api, company)
    assert second.status_code == 200, second.content
    assert read_access_token(second.json()["access_token"]).authentication.methods == ("fed",)
    assert get_user_model().objects.count() == 1
    assert [name for name in event_names() if name.startswith("identity.")] == ["identity.linked"]
    assert "1001" not in str([event["data"]["details"] for event in events()])


def test_the_account_is_found_whatever_the_address_is_by_then(api: Api, company: Provider) -> None:
    new_account(api, company)

    company.change_email("ada", "countess@example.com", verified=False)

    assert flow(api, company).status_code == 200
    assert get_user_model().objects.get().email == "ada@example.com"


def test_an_unverified_address_registers_nothing(api: Api, company: Provider) -> None:
    assert answer(flow(api, company, "bob")) == (403, "email_not_verified")
    assert get_user_model().objects.count() == 0


def test_an_address_of_an_account_is_not_linked_and_the_session_goes_on(
    api: Api, company: Provider, user: Any
) -> None:
    assert company.accounts["ada"]["email"] == EMAIL
    token = api.pair()["access_token"]

    assert answer(flow(api, company)) == (409, "account_exists")
    assert api.is_in(token)
    assert Identity.objects.count() == 0


def test_an_identity_is_linked_logs_in_and_is_unlinked(api: Api, company: Provider, user: Any) -> None:
    """Bob's address is not verified at the provider, which does not matter for a link."""
    token = api.pair()["access_token"]
    mail.outbox.clear()

    linked = flow(api, company, "bob", "link", token=token)

    assert linked.status_code == 201, linked.content
    assert api.get("identities", token=token).json() == [linked.json()]
    token = flow(api, company, "bob").json()["access_token"]
    assert api.get("me", token=token).json()["email"] == EMAIL
    assert api.delete(f"identities/{linked.json()['id']}", token=token).status_code == 204
    assert answer(flow(api, company, "bob")) == (403, "email_not_verified")
    assert [one.to for one in mail.outbox] == [[EMAIL], [EMAIL]]


def test_an_identity_of_another_account_is_not_linked(
    api: Api, company: Provider, make_user: Callable[..., Any]
) -> None:
    new_account(api, company)
    token = api.pair(make_user("grace@example.com").email)["access_token"]

    assert answer(flow(api, company, "ada", "link", token=token)) == (409, "identity_taken")
    assert flow(api, company, "bob", "link", token=token).status_code == 201
    assert answer(flow(api, company, "eve", "link", token=token)) == (409, "identity_taken")


def test_the_only_way_in_is_not_unlinked(api: Api, company: Provider, without_email_codes: None) -> None:
    token = new_account(api, company)["access_token"]
    (listed,) = api.get("identities", token=token).json()

    assert answer(api.delete(f"identities/{listed['id']}", token=token)) == (409, "last_way_in")
    assert flow(api, company).status_code == 200


def test_a_second_factor_is_asked_for_after_the_provider(api: Api, company: Provider) -> None:
    _, confirmed = enrol(api, new_account(api, company)["access_token"])
    codes = confirmed.json()["recovery_codes"]

    pending = flow(api, company)

    assert (pending.status_code, pending.json()["status"]) == (202, "factor_required")
    body = {"challenge_token": pending.json()["challenge_token"], "code": codes[0]}
    assert api.post("login/recovery-code", body).json()["acr"] == "aal2"


def test_an_address_that_is_at_the_userinfo_endpoint_is_read_there(
    api: Api, on_loopback: Callable[..., None], tmp_path: Path
) -> None:
    with Provider(tmp_path, redirect_uris=[REDIRECT_URI], conforms=True) as provider:
        on_loopback(company=provider.config(email_trusted=True))

        assert answer(flow(api, provider, "bob")) == (403, "email_not_verified")
        new_account(api, provider)
        assert flow(api, provider).status_code == 200

    assert get_user_model().objects.get().email == "ada@example.com"
    assert Identity.objects.get().email == "ada@example.com"


# Step-up


def test_a_step_up_asks_the_user_to_log_in_at_the_provider_again(api: Api, company: Provider) -> None:
    token = new_account(api, company)["access_token"]
    assert "provider" in api.get("step-up", token=token).json()["methods"]
    begun_at = int(time.time())

    stepped_up = flow(api, company, "ada", "step_up", token=token)

    assert stepped_up.status_code == 200, stepped_up.content
    claims = read_access_token(stepped_up.json()["access_token"])
    assert claims.session_id == read_access_token(token).session_id
    assert claims.authentication.time >= begun_at
    assert "refresh_token" not in stepped_up.json()


def test_a_step_up_without_a_new_login_is_refused(api: Api, company: Provider) -> None:
    """The user, or a script in the page, takes `max_age` out of the address."""
    token = new_account(api, company)["access_token"]
    started = begin(api, "company", "step_up", token=token)
    assert "max_age=0" in started["authorization_url"]

    started["authorization_url"] = started["authorization_url"].replace("&max_age=0", "")

    assert answer(end(api, company, started, token=token)) == REFUSED


def test_a_step_up_by_another_user_of_the_provider_is_refused(api: Api, company: Provider) -> None:
    token = new_account(api, company)["access_token"]

    assert answer(flow(api, company, "bob", "step_up", token=token)) == (403, "wrong_factor")


# Attacks


def test_a_code_counts_once(api: Api, company: Provider) -> None:
    new_account(api, company)
    started = begin(api, "company")
    returned = company.authorize(started["authorization_url"])
    body = {"flow_token": started["flow_token"], **returned}
    assert api.post("oidc/company/finish", body).status_code == 200

    assert answer(api.post("oidc/company/finish", body)) == REFUSED
    other = begin(api, "company")
    assert answer(api.post("oidc/company/finish", {**body, "flow_token": other["flow_token"]})) == REFUSED


def test_a_code_that_is_planted_into_another_flow_is_refused_by_the_provider(
    api: Api, company: Provider, audited: None
) -> None:
    """The attacker has an own code, and even the state of the victim's flow. PKCE is what is left."""
    new_account(api, company)
    own, victims = begin(api, "company"), begin(api, "company")
    returned = company.authorize(own["authorization_url"])
    state = company.authorize(victims["authorization_url"])["state"]

    body = {"flow_token": victims["flow_token"], **returned, "state": state}

    assert answer(api.post("oidc/company/finish", body)) == REFUSED
    (refused,) = [event for event in events() if event["type"] == "ninja-auth-kit.identity.refused.v1"]
    assert refused["data"]["reason"] == "code_refused"


def test_a_user_who_cancels_brings_no_code(api: Api, company: Provider) -> None:
    started = begin(api, "company")

    returned = company.authorize(started["authorization_url"], consents=False)

    assert (returned["error"], returned["iss"]) == ("access_denied", company.issuer)
    assert "code" not in returned


def test_a_redirect_uri_that_is_not_registered_stays_at_the_provider(api: Api, company: Provider) -> None:
    url = begin(api, "company")["authorization_url"].replace("example.com%2Flogin", "evil.example.com%2Flogin")

    with pytest.raises(RefusedByProviderError, match="redirect_uri"):
        company.authorize(url)


@pytest.mark.parametrize("change", [{"client_secret": "another"}, {"auth_method": "none"}])
def test_a_wrong_secret_is_refused_and_logged(
    api: Api, company: Provider, on_loopback: Callable[..., None], caplog: Any, change: dict[str, str]
) -> None:
    on_loopback(company=company.config(email_trusted=True, **change))

    assert answer(flow(api, company)) == REFUSED
    assert "refuses the configured client: invalid_client" in caplog.text
    assert company.client_secret not in caplog.text


def test_the_password_of_a_stranger_who_waits_for_the_owner_is_void(api: Api, company: Provider) -> None:
    """The pre-hijack: the stranger has registered the address, and waits until its owner comes by the provider."""
    assert api.register("ada@example.com", username="stranger").status_code == 202

    new_account(api, company)

    assert get_user_model().objects.count() == 1
    assert answer(api.login("ada@example.com", PASSWORD)) == (401, "invalid_credentials")
    if has_username():
        assert get_user_model().objects.get().get_username() != "stranger"
