"""The presets, end to end, with servers that answer as Apple, GitHub, Google and Microsoft document it."""

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from ninja_auth_kit.contrib.oidc.models import Identity
from tests.conftest import Api, events
from tests.features.oidc.conftest import REDIRECT_URI, answer, begin, begin_native, link, query_of, sign_up
from tests.features.oidc.providers.apple import KEY_ID, TEAM_ID, Apple
from tests.features.oidc.providers.github import EMAILS, USER, GitHub
from tests.features.oidc.providers.github import TOKEN as GITHUB_TOKEN
from tests.features.oidc.providers.hostile import Provider
from tests.features.oidc.providers.microsoft import OTHER_TENANT, PERSONAL_TENANT, TENANT, Microsoft
from tests.features.oidc.providers.signing import ec_key

pytestmark = pytest.mark.django_db(transaction=True)

REFUSED = (400, "provider_refused")
NOT_VERIFIED = (403, "email_not_verified")


def flow(api: Api, key: str, provider: Any, account: str = "ada", purpose: str = "login", **kwargs: Any) -> Any:
    """Run a web flow whose provider redirects to the front end, and return its last answer."""
    started = begin(api, key, purpose, **kwargs)
    returned = provider.authorize(started["authorization_url"], account=account)
    return api.post(f"oidc/{key}/finish", {"flow_token": started["flow_token"], **returned}, **kwargs)


# Apple


@pytest.fixture
def apple(on_loopback: Callable[..., None]) -> Iterator[Apple]:
    with Apple() as provider:
        on_loopback(apple=apple_config(provider))
        yield provider


def apple_config(provider: Apple, **changes: Any) -> dict[str, Any]:
    config = {
        "issuer": provider.issuer,
        "client_ids": [provider.client_id, provider.native_client_id],
        "team_id": TEAM_ID,
        "key_id": KEY_ID,
        "private_key": provider.private_key,
    }
    return {**config, **changes}


def through_apple(api: Api, apple: Apple, account: str = "ada", purpose: str = "login", **kwargs: Any) -> Any:
    """Run a flow in which the browser posts Apple's form to the kit, which sends it on to the front end."""
    started = begin(api, "apple", purpose, **kwargs)
    form = apple.authorize(started["authorization_url"], account=account)
    callback = urlsplit(query_of(started)["redirect_uri"])
    assert f"{callback.scheme}://{callback.netloc}" == "http://localhost:8000"  # BASE_URL
    browser = Client(headers={"origin": apple.issuer, "sec-fetch-site": "cross-site"})
    sent_on = browser.post(callback.path, urlencode(form), "application/x-www-form-urlencoded")
    assert sent_on.status_code == 303, sent_on.content
    page, _, fragment = sent_on["Location"].partition("#")
    assert page == REDIRECT_URI
    returned = dict(parse_qsl(fragment))
    assert returned == {"code": form["code"], "state": form["state"], "iss": apple.issuer}
    return api.post("oidc/apple/finish", {"flow_token": started["flow_token"], **returned}, **kwargs)


def test_apple_registers_and_logs_in_and_names_the_user_once(api: Api, apple: Apple) -> None:
    asked = query_of(begin(api, "apple"))
    assert (asked["response_mode"], asked["redirect_uri"]) == (
        "form_post",
        "http://localhost:8000/api/auth/oidc/apple/callback",
    )

    assert sign_up(api, through_apple(api, apple)).status_code == 200
    assert through_apple(api, apple).status_code == 200

    row = Identity.objects.get()
    assert (row.issuer, row.subject, row.email) == (apple.issuer, "1001", "ada@example.com")
    assert get_user_model().objects.get().email == "ada@example.com"


def test_apple_may_send_the_name_to_the_callback(api: Api, apple: Apple, kit: Callable[..., None]) -> None:
    """A project that asks for the name gets the form with it once. The kit does not pass it on."""
    provider = apple_config(apple, scope="openid name email")
    kit(OIDC={"PROVIDERS": {"apple": provider}, "REDIRECT_URIS": [REDIRECT_URI]})

    first = through_apple(api, apple)

    assert sign_up(api, first).status_code == 200
    assert apple.named == {"ada"}


def test_apple_says_that_the_address_of_a_work_account_is_not_verified(api: Api, apple: Apple) -> None:
    assert answer(through_apple(api, apple, "bob")) == NOT_VERIFIED


@pytest.mark.parametrize("change", ["team_id", "key_id", "private_key"])
def test_apple_refuses_a_client_secret_of_another_key_or_team(
    api: Api, apple: Apple, on_loopback: Callable[..., None], change: str
) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    other = ec_key(51).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    value = {"team_id": "TEAM999999", "key_id": "KEY9999999", "private_key": other}[change]
    on_loopback(apple=apple_config(apple, **{change: value}))

    assert answer(through_apple(api, apple)) == REFUSED


def test_an_app_logs_in_with_the_id_token_of_apple(api: Api, apple: Apple) -> None:
    started = begin_native(api, "apple")
    token = apple.id_token(nonce=started["nonce"], aud=apple.native_client_id)

    response = api.post("oidc/apple/id-token", {"flow_token": started["flow_token"], "id_token": token})

    assert sign_up(api, response).status_code == 200


def test_a_user_who_cancels_at_apple_comes_back_to_the_front_end(api: Api, apple: Apple) -> None:
    started = begin(api, "apple")
    form = apple.authorize(started["authorization_url"], consents=False)

    body, kind = urlencode(form), "application/x-www-form-urlencoded"
    sent_on = Client().post("/api/auth/oidc/apple/callback", body, kind)

    assert sent_on["Location"].startswith(f"{REDIRECT_URI}#error=user_cancelled_authorize&state={form['state']}&iss=")


# Google


@pytest.fixture
def google(on_loopback: Callable[..., None]) -> Iterator[Provider]:
    with Provider(promises_iss=False) as provider:
        on_loopback(google=provider.config(name="Google", client_ids=[provider.client_id, "google-ios"]))
        yield provider


def test_google_registers_and_logs_in(api: Api, google: Provider) -> None:
    assert sign_up(api, flow(api, "google", google)).status_code == 200
    assert flow(api, "google", google).status_code == 200
    assert answer(flow(api, "google", google, "eve")) == (409, "account_exists")


def test_an_android_app_is_the_authorized_party_of_a_token_for_the_website(
    api: Api, google: Provider, on_loopback: Callable[..., None]
) -> None:
    def log_in() -> Any:
        started = begin_native(api, "google")
        token = google.id_token(nonce=started["nonce"], aud=google.client_id, azp="google-android")
        return api.post("oidc/google/id-token", {"flow_token": started["flow_token"], "id_token": token})

    assert answer(log_in()) == REFUSED
    on_loopback(google=google.config(client_ids=[google.client_id, "google-ios", "google-android"]))
    assert sign_up(api, log_in()).status_code == 200


@pytest.mark.parametrize(
    ("email", "claims", "expected"),
    [
        ("ada@gmail.com", {}, 200),
        ("ada@example.org", {"hd": "example.org"}, 200),
        ("ada@example.org", {"hd": "example.com"}, 409),
        ("ada@example.org", {}, 409),
        ("ada@notgmail.com", {}, 409),
        ("ada@gmail.com.example.org", {}, 409),
    ],
)
def test_google_links_only_the_addresses_that_it_administers(
    api: Api,
    google: Provider,
    on_loopback: Callable[..., None],
    make_user: Callable[..., Any],
    email: str,
    claims: dict[str, str],
    expected: int,
) -> None:
    on_loopback(google=google.config(name="Google", links_verified_email=True))
    make_user(email)
    google.change_email("ada", email)
    google.accounts["ada"] |= claims

    response = flow(api, "google", google)

    assert response.status_code == expected, response.content
    assert Identity.objects.count() == (1 if expected == 200 else 0)


# Microsoft


@pytest.fixture
def microsoft(on_loopback: Callable[..., None]) -> Iterator[Microsoft]:
    with Microsoft() as provider:
        on_loopback(microsoft=provider.config(name="Microsoft", tenants=[TENANT]))
        yield provider


def test_microsoft_registers_and_logs_in_with_the_issuer_of_the_tenant(api: Api, microsoft: Microsoft) -> None:
    assert sign_up(api, flow(api, "microsoft", microsoft)).status_code == 200
    assert flow(api, "microsoft", microsoft).status_code == 200

    row = Identity.objects.get()
    assert (row.issuer, row.subject) == (f"{microsoft.url}/{TENANT}/v2.0", "pairwise-subject-of-1001")


def test_a_tenant_that_is_not_listed_is_refused(api: Api, microsoft: Microsoft, audited: None) -> None:
    assert answer(flow(api, "microsoft", microsoft, "eve")) == REFUSED

    (refused,) = [event for event in events() if event["type"] == "ninja-auth-kit.identity.refused.v1"]
    assert refused["data"]["reason"] == "wrong_issuer"


def test_a_tenant_cannot_speak_for_another(api: Api, microsoft: Microsoft) -> None:
    """A token of the other tenant that names the listed one, or whose issuer is the listed one."""
    microsoft.accounts["eve"] |= {"tid": TENANT, "iss": f"{microsoft.url}/{OTHER_TENANT}/v2.0"}
    assert answer(flow(api, "microsoft", microsoft, "eve")) == REFUSED
    microsoft.accounts["eve"] |= {"tid": OTHER_TENANT, "iss": f"{microsoft.url}/{TENANT}/v2.0"}
    assert answer(flow(api, "microsoft", microsoft, "eve")) == REFUSED


@pytest.mark.parametrize("claim", [False, None, "0", 0, "yes"])
def test_an_address_that_anybody_may_have_typed_registers_nothing(api: Api, microsoft: Microsoft, claim: Any) -> None:
    """The attack that is known as nOAuth."""
    microsoft.accounts["bob"] |= {"email": "ada@example.com", "xms_edov": claim, "email_verified": True}
    if claim is None:
        del microsoft.accounts["bob"]["xms_edov"]

    assert answer(flow(api, "microsoft", microsoft, "bob")) == NOT_VERIFIED
    assert get_user_model().objects.count() == 0


def test_a_single_tenant_has_its_own_metadata(on_loopback: Callable[..., None], api: Api) -> None:
    with Microsoft() as provider:
        provider.issuer = f"{provider.url}/{TENANT}/v2.0"
        provider.discovery_path = f"/{TENANT}/v2.0/.well-known/openid-configuration"
        template = f"{provider.url}/{{tenantid}}/v2.0"
        on_loopback(microsoft=provider.config(issuer=template, name="Microsoft", tenant=TENANT))

        assert sign_up(api, flow(api, "microsoft", provider)).status_code == 200
        assert answer(flow(api, "microsoft", provider, "eve")) == REFUSED


def test_personal_accounts_have_a_tenant_of_their_own(on_loopback: Callable[..., None], api: Api) -> None:
    with Microsoft() as provider:
        provider.issuer = f"{provider.url}/{PERSONAL_TENANT}/v2.0"
        provider.discovery_path = f"/{PERSONAL_TENANT}/v2.0/.well-known/openid-configuration"
        provider.accounts["ada"]["tid"] = PERSONAL_TENANT
        template = f"{provider.url}/{{tenantid}}/v2.0"
        on_loopback(microsoft=provider.config(issuer=template, name="Microsoft", tenant="consumers"))

        assert sign_up(api, flow(api, "microsoft", provider)).status_code == 200
        assert answer(flow(api, "microsoft", provider, "eve")) == REFUSED


# GitHub


@pytest.fixture
def github(on_loopback: Callable[..., None]) -> Iterator[GitHub]:
    with GitHub() as provider:
        on_loopback(
            github={
                "issuer": f"{provider.url}/login/oauth",
                "api": provider.url,
                "client_ids": [provider.client_id],
                "client_secret": provider.client_secret,
            }
        )
        yield provider


def test_github_registers_and_logs_in_by_the_number_of_the_user(api: Api, github: GitHub) -> None:
    assert sign_up(api, flow(api, "github", github)).status_code == 200
    github.accounts["ada"]["user"]["login"] = "another-name"
    assert flow(api, "github", github).status_code == 200

    row = Identity.objects.get()
    assert (row.issuer, row.subject, row.email) == (f"{github.url}/login/oauth", "1001", "ada@example.com")
    assert [one.path for one in github.requests] == [GITHUB_TOKEN, USER, EMAILS] * 2
    asked = github.granted[0]
    assert (asked["scope"], asked["code_challenge_method"]) == ("user:email", "S256")


def test_a_login_name_that_someone_else_has_taken_finds_no_account(api: Api, github: GitHub, user: Any) -> None:
    link(user, subject="1001", issuer=f"{github.url}/login/oauth", provider="github")
    github.accounts["eve"]["user"]["login"] = "ada"

    assert answer(flow(api, "github", github, "eve")) == (409, "account_exists")


def test_github_says_which_address_is_primary_and_verified(api: Api, github: GitHub) -> None:
    """The public address of the profile is not looked at."""
    github.accounts["bob"]["user"]["email"] = "bob@example.com"

    assert answer(flow(api, "github", github, "bob")) == NOT_VERIFIED
    assert get_user_model().objects.count() == 0


def test_a_code_of_github_counts_once_although_errors_have_status_200(api: Api, github: GitHub) -> None:
    started = begin(api, "github")
    body = {"flow_token": started["flow_token"], **github.authorize(started["authorization_url"])}
    assert sign_up(api, api.post("oidc/github/finish", body)).status_code == 200

    assert answer(api.post("oidc/github/finish", body)) == REFUSED


def test_a_wrong_secret_of_github_is_logged(
    api: Api, github: GitHub, on_loopback: Callable[..., None], caplog: Any
) -> None:
    config = {"issuer": f"{github.url}/login/oauth", "api": github.url, "client_ids": [github.client_id]}
    on_loopback(github={**config, "client_secret": "another"})

    assert answer(flow(api, "github", github)) == REFUSED
    assert "incorrect_client_credentials" in caplog.text


def test_github_confirms_no_step_up_and_has_no_native_flow(api: Api, github: GitHub, user: Any) -> None:
    link(user, subject="1001", issuer=f"{github.url}/login/oauth", provider="github")
    token = api.pair()["access_token"]

    started = api.post("oidc/github/start", {"purpose": "step_up", "redirect_uri": REDIRECT_URI}, token=token)
    assert answer(started) == (403, "wrong_factor")
    assert api.post("oidc/github/start", {"purpose": "login", "native": True}).status_code == 422
    assert "provider" not in api.get("step-up", token=token).json()["methods"]


@pytest.mark.parametrize("path", [GITHUB_TOKEN, USER, EMAILS])
@pytest.mark.parametrize("fault", ["redirecting", "html", "error", "5mb", "down", "list"])
def test_a_broken_github_is_refused_or_unavailable(api: Api, github: GitHub, path: str, fault: str) -> None:
    github.fault, github.fault_at = fault, path

    response = flow(api, "github", github)

    assert answer(response) in {REFUSED, (503, "provider_unavailable"), NOT_VERIFIED}
    assert get_user_model().objects.count() == 0


def test_no_token_of_a_provider_is_stored(api: Api, github: GitHub, audited: None) -> None:
    sign_up(api, flow(api, "github", github))

    (token,) = github.access_tokens
    row = Identity.objects.values().get()
    assert token not in json.dumps(row, default=str)
    assert token not in json.dumps(events())
