"""Apple, GitHub and Microsoft as they document themselves, on this machine."""

import json
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.test import Client

from ninja_auth_kit.contrib.oidc.models import Identity
from ninja_auth_kit.contrib.oidc.testing import FakeProvider
from tests.conftest import Api
from tests.features.oidc.conftest import (
    REDIRECT_URI,
    answer,
    begin,
    begin_native,
    flow,
    link,
    query_of,
    sign_up,
)
from tests.features.oidc.providers.apple import KEY_ID, TEAM_ID, Apple
from tests.features.oidc.providers.github import EMAILS, TOKEN, USER, GitHub
from tests.features.oidc.providers.microsoft import OTHER_TENANT, TENANT, Microsoft

pytestmark = pytest.mark.django_db(transaction=True)


def run(api: Api, provider: Any, key: str, **options: Any) -> Any:
    """Run a web flow with a server on this machine."""
    started = begin(api, key)
    returned = provider.authorize(started["authorization_url"], **options)
    return api.post(f"oidc/{key}/finish", {"flow_token": started["flow_token"], **returned})


@pytest.fixture
def apple(on_loopback: Any) -> Any:
    with Apple() as player:
        member = {
            "issuer": player.issuer,
            "client_ids": [player.client_id, player.native_client_id],
            "team_id": TEAM_ID,
            "key_id": KEY_ID,
            "private_key": player.private_key,
        }
        on_loopback(apple=member)
        yield player


def test_apple_posts_a_form_to_the_kit_and_registers(api: Api, apple: Apple) -> None:
    started = begin(api, "apple")
    query = query_of(started)
    assert query["redirect_uri"] == "http://localhost:8000/api/auth/oidc/apple/callback"
    assert query["response_mode"] == "form_post"
    returned = apple.authorize(started["authorization_url"])
    posted = Client(enforce_csrf_checks=True).generic(
        "POST",
        urlsplit(query["redirect_uri"]).path,
        urlencode(returned),
        "application/x-www-form-urlencoded",
    )
    assert posted.status_code == 303
    page, _, fragment = posted["Location"].partition("#")
    assert page == REDIRECT_URI
    body = {name: values[0] for name, values in parse_qs(fragment).items()}

    response = sign_up(api, api.post("oidc/apple/finish", {"flow_token": started["flow_token"], **body}))

    assert response.status_code == 200, response.content
    assert Identity.objects.get().subject == "1001"
    assert answer(run(api, apple, "apple", account="bob")) == (403, "email_not_verified")


def test_an_app_logs_in_with_a_token_of_apple(api: Api, apple: Apple, user: Any) -> None:
    link(user, subject="1001", issuer=apple.issuer, provider="apple")
    started = begin_native(api, "apple")
    token = apple.id_token(nonce=started["nonce"], aud=apple.native_client_id)
    body = {"flow_token": started["flow_token"], "id_token": token}
    assert api.post("oidc/apple/id-token", body).status_code == 200


def test_a_wrong_key_of_apple_is_a_503(api: Api, apple: Apple, settings: Any, kit: Any) -> None:
    started = begin(api, "apple")
    returned = apple.authorize(started["authorization_url"])
    oidc = settings.NINJA_AUTH_KIT["OIDC"]
    kit(OIDC={**oidc, "PROVIDERS": {"apple": {**oidc["PROVIDERS"]["apple"], "private_key": "not a key"}}})
    response = api.post(
        "oidc/apple/finish",
        {"flow_token": started["flow_token"], "code": returned["code"], "state": returned["state"]},
    )
    assert answer(response) == (503, "provider_unavailable")


@pytest.fixture
def github(on_loopback: Any) -> Any:
    with GitHub() as player:
        member = {
            "issuer": f"{player.url}/login/oauth",
            "api": player.url,
            "client_ids": [player.client_id],
            "client_secret": player.client_secret,
        }
        on_loopback(github=member)
        yield player


@pytest.mark.security("OIDC-12", "OIDC-05")
def test_github_is_asked_for_the_user_and_its_token_is_dropped(api: Api, github: GitHub) -> None:
    response = sign_up(api, run(api, github, "github"))

    assert response.status_code == 200, response.content
    assert github.paths() == [TOKEN, USER, EMAILS]
    row = Identity.objects.get()
    assert (row.issuer, row.subject, row.email) == (f"{github.url}/login/oauth", "1001", "ada@example.com")
    (token,) = github.access_tokens
    assert token not in json.dumps([str(vars(one)) for one in Identity.objects.all()]) + response.content.decode()
    # The login name is no key: somebody else can have it by now.
    github.accounts["ada"]["user"]["id"] = 77
    assert answer(run(api, github, "github")) == (409, "account_exists")
    assert answer(run(api, github, "github", account="bob")) == (403, "email_not_verified")


def test_the_secret_for_github_is_not_sent_by_http(api: Api, github: GitHub, settings: Any) -> None:
    started = begin(api, "github")
    returned = github.authorize(started["authorization_url"])
    settings.DEBUG = False
    body = {"flow_token": started["flow_token"], **returned}
    assert answer(api.post("oidc/github/finish", body)) == (503, "provider_unavailable")
    assert github.paths() == []


@pytest.mark.parametrize("key", [None, "1001", 0, -1, True, 1.5, 2**63, 10**30, [1]])
def test_the_id_at_github_is_a_number(api: Api, github: GitHub, key: Any) -> None:
    github.accounts["ada"]["user"]["id"] = key
    assert answer(run(api, github, "github")) == (400, "provider_refused")


@pytest.mark.parametrize(
    "emails",
    [
        None,
        {},
        [],
        [None],
        [{"email": "ada@example.com", "primary": True, "verified": "true"}],
        [{"email": "ada@example.com", "primary": 1, "verified": True}],
        [{"email": "ada@example.com", "primary": False, "verified": True}],
        [{"email": ["ada@example.com"], "primary": True, "verified": True}],
    ],
)
def test_the_address_at_github_is_primary_and_verified(api: Api, github: GitHub, emails: Any) -> None:
    github.accounts["ada"]["emails"] = emails
    assert answer(run(api, github, "github")) == (403, "email_not_verified")


def test_the_code_of_another_flow_is_refused_by_github(api: Api, github: GitHub) -> None:
    mine, other = begin(api, "github"), begin(api, "github")
    theirs = github.authorize(other["authorization_url"])
    body = {"flow_token": mine["flow_token"], "code": theirs["code"], "state": query_of(mine)["state"]}
    assert answer(api.post("oidc/github/finish", body)) == (400, "provider_refused")


@pytest.fixture
def microsoft(on_loopback: Any) -> Any:
    with Microsoft() as player:
        member = {
            "issuer": player.issuer,
            "client_ids": [player.client_id],
            "client_secret": player.client_secret,
            "tenants": [TENANT],
        }
        on_loopback(microsoft=member)
        yield player


@pytest.mark.security("OIDC-03")
def test_only_a_configured_tenant_of_microsoft_logs_in(api: Api, microsoft: Microsoft) -> None:
    response = sign_up(api, run(api, microsoft, "microsoft"))
    assert response.status_code == 200, response.content
    assert Identity.objects.get().issuer == microsoft.issuer.replace("{tenantid}", TENANT)
    assert answer(run(api, microsoft, "microsoft", account="eve")) == (400, "provider_refused")
    assert answer(run(api, microsoft, "microsoft", account="bob")) == (403, "email_not_verified")


@pytest.mark.security("OIDC-03")
@pytest.mark.parametrize(
    "tid", [None, OTHER_TENANT, "common", "{tenantid}", "", 7, [TENANT], TENANT.replace("1", "\uff11")]
)
def test_the_tenant_must_fit_the_issuer(api: Api, microsoft: Microsoft, tid: Any) -> None:
    microsoft.accounts["ada"]["iss"] = microsoft.issuer.replace("{tenantid}", TENANT)
    microsoft.accounts["ada"]["tid"] = tid if tid is not None else TENANT
    if tid is None:
        microsoft.accounts["ada"]["iss"] = microsoft.issuer  # the template itself
    microsoft.claims_of = lambda account: microsoft.accounts[account]  # type: ignore[method-assign]
    assert answer(run(api, microsoft, "microsoft")) == (400, "provider_refused")


@pytest.mark.parametrize(
    ("preset", "members"),
    [
        ("google", {}),
        ("github", {}),
        ("microsoft", {"client_ids": ["c"], "client_secret": "s", "tenant": TENANT}),
        ("microsoft", {"client_ids": ["c"], "client_secret": "s", "tenant": "consumers"}),
    ],
)
def test_the_fake_provider_plays_each_preset(api: Api, use: Any, preset: str, members: dict[str, Any]) -> None:
    use({}, **{preset: members})
    more = {"xms_edov": True} if preset == "microsoft" else {}
    with FakeProvider(preset) as fake:
        assert sign_up(api, flow(api, fake, subject="7", **more)).status_code == 200
        assert flow(api, fake, subject="7").status_code == 200
        fake.is_down = True
        body = {"purpose": "login", "redirect_uri": REDIRECT_URI}
        down = answer(api.post(f"oidc/{preset}/start", body))
        assert down == ((200, None) if preset == "github" else (503, "provider_unavailable"))
        fake.is_down = False
        assert flow(api, fake, subject="7").status_code == 200
