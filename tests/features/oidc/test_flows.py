"""What binds the answer of a provider to its flow: state, nonce, code verifier, session and redirect URI."""

import base64
import hashlib
import json
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import pytest
from django.conf import settings
from django.test import Client

from ninja_auth_kit.contrib.oidc.models import Identity
from ninja_auth_kit.contrib.oidc.testing import FakeProvider
from ninja_auth_kit.models import SpentTicket, UserSession
from tests.conftest import Api
from tests.features.oidc.conftest import (
    APP_URI,
    OWN,
    PRESETS,
    REDIRECT_URI,
    answer,
    begin,
    begin_native,
    end,
    link,
    query_of,
)
from tests.features.oidc.providers.hostile import OTHER, Provider

pytestmark = pytest.mark.django_db(transaction=True)

FORM = "application/x-www-form-urlencoded"
CALLBACK = "/api/auth/oidc/apple/callback"
APPLE = "https://appleid.apple.com"


@pytest.fixture(autouse=True)
def _identity(user: Any) -> None:
    link(user)


@pytest.mark.security("OIDC-01", "OIDC-02")
def test_the_authorization_url_has_state_nonce_and_challenge(api: Api, provider: FakeProvider) -> None:
    first, second = query_of(begin(api)), query_of(begin(api))
    assert {name: first[name] for name in ("response_type", "client_id", "redirect_uri", "scope")} == {
        "response_type": "code",
        "client_id": "the-client",
        "redirect_uri": REDIRECT_URI,
        "scope": "openid email",
    }
    assert first["code_challenge_method"] == "S256"
    for name in ("state", "nonce", "code_challenge"):
        assert first[name] != second[name]
        assert len(first[name]) >= 43
    assert first["state"].startswith("0.")
    assert "max_age" not in first


@pytest.mark.security("OIDC-02")
def test_the_verifier_is_sent_and_fits_the_challenge(api: Api, provider: FakeProvider, monkeypatch: Any) -> None:
    sent: list[Any] = []
    redeem = provider._redeem
    monkeypatch.setattr(provider, "_redeem", lambda request, fields: sent.append(fields) or redeem(request, fields))
    started = begin(api)
    assert end(api, provider, started).status_code == 200
    verifier = sent[0]["code_verifier"]
    digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    assert digest == query_of(started)["code_challenge"]
    assert "client_secret" not in sent[0]
    assert verifier not in str(started)


@pytest.mark.security("OIDC-01")
def test_the_answer_of_another_flow_is_refused(api: Api, provider: FakeProvider) -> None:
    mine, other = begin(api), begin(api)
    theirs = provider.authorize(other["authorization_url"])
    body = {"flow_token": mine["flow_token"], **theirs}
    assert answer(api.post("oidc/example/finish", body)) == (400, "provider_refused")
    # With the state of this flow, and the code of the other: PKCE and the nonce.
    body["state"] = query_of(mine)["state"]
    assert answer(api.post("oidc/example/finish", body)) == (400, "provider_refused")
    assert not UserSession.objects.exists()


@pytest.mark.security("OIDC-01")
@pytest.mark.parametrize("state", ["", "0.", "0", "x", "1.{}", "00.{}", "0.{} ", "²", "0.\u00e9", "0.{}A"])
def test_any_other_state_is_refused(api: Api, provider: FakeProvider, state: str) -> None:
    started = begin(api)
    returned = provider.authorize(started["authorization_url"])
    wrong = state.replace("{}", returned["state"].partition(".")[2])
    body = {"flow_token": started["flow_token"], **returned, "state": wrong}
    assert answer(api.post("oidc/example/finish", body)) == (400, "provider_refused")
    assert api.post("oidc/example/finish", body | returned).status_code == 200


@pytest.mark.security("OIDC-01")
@pytest.mark.parametrize("change", ["last", "middle", "purpose", "provider", "native", "empty"])
def test_any_other_flow_token_is_refused(api: Api, provider: FakeProvider, use: Any, change: str) -> None:
    use({}, google={})
    started = begin(api)
    returned = provider.authorize(started["authorization_url"])
    token, path = started["flow_token"], "oidc/example/finish"
    if change == "last":
        token = token[:-1] + ("A" if token[-1] != "A" else "B")
    elif change == "middle":
        token = token[:40] + ("A" if token[40] != "A" else "B") + token[41:]
    elif change == "purpose":
        token = api.post("login/email-code/request", {"email": "ada@example.com"}).json()["challenge_token"]
    elif change == "provider":
        path = "oidc/google/finish"
    elif change == "native":
        token = begin_native(api)["flow_token"]
    else:
        token = ""
    body = {"flow_token": token, **returned}
    assert answer(api.post(path, body)) == (400, "invalid_challenge")


def test_the_flow_token_of_a_page_takes_no_id_token(api: Api, provider: FakeProvider) -> None:
    started = begin(api)
    body = {"flow_token": started["flow_token"], "id_token": provider.id_token(query_of(started)["nonce"])}
    assert answer(api.post("oidc/example/id-token", body)) == (400, "invalid_challenge")


@pytest.mark.security("OIDC-01")
def test_the_flow_of_a_session_is_finished_by_that_session(
    api: Api, provider: FakeProvider, make_user: Any, kit: Any
) -> None:
    kit(SESSION_LIMIT=None)
    make_user("grace@example.com")
    own, again, other = api.pair(), api.pair(), api.pair("grace@example.com")
    for purpose in ("link", "step_up"):
        started = begin(api, "example", purpose, token=own["access_token"])
        for token in (None, again["access_token"], other["access_token"]):
            response = end(api, provider, started, token=token, subject="new")
            assert answer(response) == (400, "invalid_challenge")
    assert Identity.objects.count() == 1
    assert not SpentTicket.objects.exists()


@pytest.mark.parametrize("purpose", ["link", "step_up"])
def test_a_link_and_a_step_up_need_an_access_token(api: Api, provider: FakeProvider, purpose: str) -> None:
    response = api.post("oidc/example/start", {"purpose": purpose, "redirect_uri": REDIRECT_URI})
    assert answer(response) == (401, "invalid_token")
    assert response["WWW-Authenticate"] == "Bearer"


@pytest.mark.security("OIDC-10")
@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.example.com/",
        REDIRECT_URI + "/",
        REDIRECT_URI + "?x=1",
        REDIRECT_URI.upper(),
        "https://example.com/login/done/../x",
        "//example.com/login/done",
        "javascript:alert(1)",
        "https://example.com",
        "",
        REDIRECT_URI + "#",
    ],
)
def test_the_browser_comes_back_to_a_configured_address_to_the_letter(
    api: Api, provider: FakeProvider, uri: str
) -> None:
    response = api.post("oidc/example/start", {"purpose": "login", "redirect_uri": uri})
    assert (response.status_code, response.json()["errors"][0]["code"]) == (422, "redirect_uri_not_allowed")
    assert b"evil" not in response.content


@pytest.mark.parametrize(
    "body",
    [
        {"purpose": "login"},
        {"purpose": "login", "native": True, "redirect_uri": REDIRECT_URI},
        {"purpose": "login", "native": "true"},
        {"purpose": "login", "native": 1},
        {"purpose": "register", "native": True},
        {"native": True},
        {"purpose": "login", "redirect_uri": 7},
        {"purpose": "login", "redirect_uri": None},
        {"purpose": "login", "native": True, "nonce": "mine"},
        {"purpose": ["login"], "native": True},
    ],
)
def test_any_other_start_is_a_422(api: Api, provider: FakeProvider, body: dict[str, Any]) -> None:
    assert answer(api.post("oidc/example/start", body)) == (422, "validation_error")


def test_a_redirect_uri_that_is_not_configured_any_more_ends_the_flow(
    api: Api, provider: FakeProvider, kit: Any, settings: Any
) -> None:
    started = begin(api)
    oidc = settings.NINJA_AUTH_KIT["OIDC"]
    kit(OIDC={**oidc, "REDIRECT_URIS": [APP_URI]})
    assert answer(end(api, provider, started)) == (400, "invalid_challenge")
    kit(OIDC={**oidc, "REDIRECT_URIS": [REDIRECT_URI, "https://example.com/more"]})
    assert end(api, provider, started).status_code == 200


@pytest.mark.security("OIDC-03")
@pytest.mark.parametrize("lie", ["callback_iss", "no_callback_iss", "state", None])
def test_the_issuer_of_the_callback_is_the_configured_one(api: Api, on_loopback: Any, user: Any, lie: str) -> None:
    with Provider(lie=lie) as hostile:
        on_loopback(test=hostile.config())
        link(user, subject="1001", issuer=hostile.issuer, provider="test")
        started = begin(api, "test")
        returned = hostile.authorize(started["authorization_url"])
        response = api.post("oidc/test/finish", {"flow_token": started["flow_token"], **returned})
    assert answer(response) == ((200, None) if lie is None else (400, "provider_refused"))
    assert ("/token" in hostile.paths()) is (lie is None)  # the code was sent to no one


@pytest.mark.security("OIDC-03")
@pytest.mark.parametrize("issuer", [OTHER, "", "https://id.example.com/", "https://ID.example.com", 7])
def test_an_issuer_is_compared_even_if_the_provider_promises_none(
    api: Api, provider: FakeProvider, issuer: Any
) -> None:
    started = begin(api)
    returned = provider.authorize(started["authorization_url"])
    body = {"flow_token": started["flow_token"], **returned, "iss": issuer}
    expected = (422, "validation_error") if issuer == 7 else (400, "provider_refused")
    assert answer(api.post("oidc/example/finish", body)) == expected
    assert api.post("oidc/example/finish", body | {"iss": "https://id.example.com"}).status_code == 200


# The callback for a provider that posts a form


@pytest.fixture
def apple(kit: Any) -> Client:
    apple = {"client_ids": ["com.example.web"], "team_id": "T", "key_id": "K", "private_key": "x"}
    kit(
        OIDC={"PROVIDERS": {"apple": apple, "google": {"client_ids": ["g"]}}, "REDIRECT_URIS": [REDIRECT_URI, APP_URI]}
    )
    return Client(enforce_csrf_checks=True)


@pytest.mark.security("OIDC-10")
@pytest.mark.parametrize(("number", "uri"), [(0, REDIRECT_URI), (1, APP_URI)])
def test_the_callback_sends_the_browser_to_a_configured_address(apple: Client, number: int, uri: str) -> None:
    form = {"code": "a&b#c", "state": f"{number}.abc", "user": '{"name": {}}', "id_token": "a.b.c"}
    response = apple.generic("POST", CALLBACK, urlencode(form), FORM, headers={"Origin": "https://appleid.apple.com"})
    assert response.status_code == 303
    assert response["Location"] == f"{uri}#code=a%26b%23c&state={number}.abc&iss={quote(APPLE, safe='')}"
    assert response["Cache-Control"] == "no-store"
    assert response.content == b""


def test_the_callback_passes_a_refusal_on(apple: Client) -> None:
    response = apple.generic(
        "POST", CALLBACK, urlencode({"error": "user_cancelled_authorize", "state": "0.abc"}), FORM
    )
    said = {"error": "user_cancelled_authorize", "state": "0.abc", "iss": APPLE}
    assert response["Location"] == f"{REDIRECT_URI}#{urlencode(said)}"


@pytest.mark.security("OIDC-10")
@pytest.mark.parametrize(
    "state", ["", "2.abc", "-1.abc", "0", "0.", "https://evil.example.com.abc", "²", "².abc", "99999999999.a", "0x0.a"]
)
def test_the_callback_refuses_any_other_state(apple: Client, state: str) -> None:
    response = apple.generic("POST", CALLBACK, urlencode({"code": "c", "state": state}), FORM)
    assert answer(response) == (400, "provider_refused")
    assert "Location" not in response


def test_the_state_of_the_callback_cannot_split_the_header(apple: Client) -> None:
    response = apple.generic(
        "POST", CALLBACK, urlencode({"code": "c\r\nX: y", "state": "0.a\r\nSet-Cookie: a=b"}), FORM
    )
    assert response.status_code == 303
    assert "\n" not in response["Location"]
    assert "Set-Cookie" not in response


@pytest.mark.parametrize(
    ("body", "kind", "expected"),
    [
        ("state=0.a&state=0.b", FORM, (400, "malformed_body")),
        ("state=%ff", FORM, (400, "malformed_body")),
        ("&".join(f"a{n}=1" for n in range(200)), FORM, (400, "malformed_body")),
        ("state=0.a", "text/plain", (415, "unsupported_media_type")),
        ("", FORM, (400, "provider_refused")),
        ("state=0.a&code=" + "a" * 70_000, FORM, (413, "body_too_large")),
    ],
)
def test_the_callback_takes_a_form_alone(apple: Client, body: str, kind: str, expected: Any) -> None:
    assert answer(apple.generic("POST", CALLBACK, body, kind)) == expected


def test_no_other_endpoint_takes_a_form(apple: Client) -> None:
    for path in ("oidc/apple/start", "oidc/apple/finish", "login", "oidc/signup"):
        response = apple.generic("POST", f"/api/auth/{path}", "state=0.a", FORM)
        assert answer(response) == (415, "unsupported_media_type")


def test_a_provider_without_a_form_has_no_callback(apple: Client) -> None:
    response = apple.generic("POST", "/api/auth/oidc/google/callback", "state=0.a&code=c", FORM)
    assert answer(response) == (400, "provider_refused")
    response = apple.generic("POST", "/api/auth/oidc/nobody/callback", "state=0.a&code=c", FORM)
    assert answer(response) == (404, "not_found")


# The mix-up attack (RFC 9700 section 4.4)


@pytest.mark.security("OIDC-03", "OIDC-10")
def test_each_provider_has_a_redirect_uri_of_its_own(api: Api, kit: Any) -> None:
    uri = "https://example.com/login/{provider}"
    kit(OIDC={"PROVIDERS": {"example": OWN, "google": PRESETS["google"]}, "REDIRECT_URIS": [uri]})
    with FakeProvider("example"), FakeProvider("google"):
        for provider, other in (("example", "google"), ("google", "example")):
            body = {"purpose": "login", "redirect_uri": f"https://example.com/login/{provider}"}
            started = api.post(f"oidc/{provider}/start", body)
            assert query_of(started.json())["redirect_uri"] == body["redirect_uri"]
            for wrong in (f"https://example.com/login/{other}", uri):
                assert api.post(f"oidc/{provider}/start", body | {"redirect_uri": wrong}).status_code == 422


@pytest.mark.security("OIDC-03")
def test_the_callback_names_the_issuer_so_that_no_other_provider_gets_the_code(apple: Client, api: Api) -> None:
    settings.NINJA_AUTH_KIT["OIDC"]["PROVIDERS"]["example"] = OWN
    with FakeProvider("example") as example:
        started = begin(api)
        form = {"code": "a-code-of-apple", "state": query_of(started)["state"]}
        sent_on = apple.generic("POST", CALLBACK, urlencode(form), FORM)
        said = dict(parse_qsl(sent_on["Location"].partition("#")[2]))
        assert said == {**form, "iss": APPLE}

        response = api.post("oidc/example/finish", {"flow_token": started["flow_token"], **said})

        assert answer(response) == (400, "provider_refused")
        returned = example.authorize(started["authorization_url"])
        assert api.post("oidc/example/finish", {"flow_token": started["flow_token"], **returned}).status_code != 503


@pytest.mark.parametrize("name", ["state", "code", "error"])
def test_the_callback_refuses_what_no_address_can_contain(apple: Client, name: str) -> None:
    body = json.dumps({"state": "0.x", "code": "c", name: "\ud800"})

    assert apple.generic("POST", CALLBACK, body, "application/json").status_code in {400, 422}
