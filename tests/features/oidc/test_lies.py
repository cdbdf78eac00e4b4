"""A provider that lies, and one that is slow, dead or broken. Both are real servers on this machine."""

import socket
import threading
import time
from base64 import urlsafe_b64encode
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import RSAAlgorithm

from ninja_auth_kit.contrib.oidc import http_client, metadata
from ninja_auth_kit.contrib.oidc.claims import identity_of, usable_email
from ninja_auth_kit.contrib.oidc.exceptions import ProviderUnavailableError
from ninja_auth_kit.contrib.oidc.providers import Provider as Configured
from ninja_auth_kit.contrib.oidc.testing import FakeProvider
from ninja_auth_kit.models import SpentTicket, UserSession
from ninja_auth_kit.tokens.id_tokens import (
    Expected,
    InvalidIdTokenError,
    check_claims,
    parse_id_token,
    verify_id_token,
)
from tests.attacks.conftest import bounded
from tests.certificates import Authority
from tests.conftest import Api, events
from tests.features.oidc.conftest import answer, begin, begin_native, flow, link
from tests.features.oidc.providers.hostile import CLAIM_LIES, DISCOVERY_LIES, KEY_LIES, KEYS, TOKEN, Provider
from tests.features.oidc.providers.hostile import DISCOVERY as DOCUMENT

pytestmark = pytest.mark.django_db(transaction=True)

# Of a step-up alone, or of what is said about the address, which a known identity does not need.
HARMLESS = {"auth_time", "no_auth_time", "future_auth_time", "text_auth_time", "email_verified_text", "email_list"}


def run(api: Api, provider: Any, *, account: str = "ada") -> Any:
    """Run a web flow with a server on this machine, whose id is "test"."""
    started = begin(api, "test")
    returned = provider.authorize(started["authorization_url"], account=account)
    return api.post("oidc/test/finish", {"flow_token": started["flow_token"], **returned})


@pytest.mark.security("OIDC-04")
@pytest.mark.parametrize("lie", sorted(CLAIM_LIES.keys() - HARMLESS) + sorted(KEY_LIES))
def test_every_lie_of_an_id_token_is_one_refusal(
    api: Api, on_loopback: Any, user: Any, audited: None, lie: str
) -> None:
    with Provider(lie=lie) as hostile:
        on_loopback(test=hostile.config(email_trusted=True))
        link(user, subject="1001", issuer=hostile.issuer, provider="test")
        response = run(api, hostile)
        assert answer(response) == (400, "provider_refused")
        assert response.json()["detail"] == "The provider did not confirm who you are. Start again."
        hostile.lie = None
        metadata.forget()
        assert run(api, hostile).status_code == 200
    assert SpentTicket.objects.count() == UserSession.objects.count() == 1
    (refused,) = [one for one in events() if "identity.refused" in one["type"]]
    assert refused["data"]["details"] == {"provider": "test"}


@pytest.mark.parametrize("lie", sorted(HARMLESS - {"email_verified_text", "email_list"}))
def test_a_login_needs_no_time_of_authentication(api: Api, on_loopback: Any, user: Any, lie: str) -> None:
    with Provider(lie=lie) as hostile:
        on_loopback(test=hostile.config())
        link(user, subject="1001", issuer=hostile.issuer, provider="test")
        assert run(api, hostile).status_code == 200


@pytest.mark.security("OIDC-03")
@pytest.mark.parametrize("lie", sorted(DISCOVERY_LIES))
def test_metadata_that_lies_is_not_used(api: Api, on_loopback: Any, lie: str) -> None:
    with Provider(lie=lie) as hostile:
        on_loopback(test=hostile.config())
        body = {"purpose": "login", "redirect_uri": "https://example.com/login/done"}
        assert answer(api.post("oidc/test/start", body)) == (503, "provider_unavailable")
        assert hostile.paths() == [DOCUMENT]


@pytest.mark.security("OIDC-08")
def test_an_id_token_for_another_client_or_an_access_token_proves_nothing(
    api: Api, user: Any, provider: FakeProvider
) -> None:
    link(user)
    started = begin_native(api)
    nonce = started["nonce"]
    wrong = [
        provider.id_token(nonce, aud="another-app"),
        provider.id_token(nonce, aud=["the-app", "another-app"]),
        provider.id_token(nonce, aud=["the-app", "another-app"], azp="the-app"),
        provider.id_token(nonce, azp="another-app"),
        provider.id_token(nonce + "a"),
        provider.id_token(""),
        provider.id_token(nonce, nonce=None),
        provider.id_token(nonce, aud=None),
        "ya29.an-access-token-of-the-provider",
        "",
        "a.b.c",
    ]
    for token in wrong:
        body = {"flow_token": started["flow_token"], "id_token": token}
        assert answer(api.post("oidc/example/id-token", body)) == (400, "provider_refused")
    body["id_token"] = provider.id_token(nonce, aud=["the-app", "another-app"], azp="the-client")
    assert api.post("oidc/example/id-token", body).status_code == 200


@pytest.mark.security("OIDC-08")
def test_the_web_flow_takes_no_id_token_of_the_app(api: Api, user: Any, provider: FakeProvider) -> None:
    link(user)
    assert answer(flow(api, provider, aud="the-app")) == (400, "provider_refused")
    assert answer(flow(api, provider, aud="another")) == (400, "provider_refused")
    assert flow(api, provider).status_code == 200


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": 7},
        {"sub": ["x"]},
        {"sub": "a\x00b"},
        {"sub": "\ud800"},
        {"exp": "9999999999"},
        {"exp": True},
        {"exp": 10**400},
        {"exp": -1},
        {"iat": None},
        {"iat": {"a": 1}},
        {"nbf": "x"},
        {"nonce": 7},
        {"nonce": ["x"]},
        {"nonce": "\ud800"},
        {"aud": 7},
        {"aud": []},
        {"aud": [["the-client"]]},
        {"aud": {"the-client": 1}},
        {"azp": ["the-client"]},
        {"azp": {"a": 1}},
    ],
    ids=str,
)
@pytest.mark.security("OIDC-04")
def test_claims_of_odd_types_are_a_refusal(
    api: Api, user: Any, provider: FakeProvider, claims: dict[str, Any]
) -> None:
    link(user)
    started = begin_native(api)
    token = provider.id_token(started["nonce"], **claims)
    body = {"flow_token": started["flow_token"], "id_token": token}
    if claims == {"iat": None}:
        token = provider._signed({"sub": "the-subject", "nonce": started["nonce"], "iat": None})
    assert answer(api.post("oidc/example/id-token", body | {"id_token": token})) == (400, "provider_refused")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_CLAIMS = st.fixed_dictionaries(
    {},
    optional={
        name: _JSON | st.just(right)
        for name, right in {
            "iss": "https://id.example.com",
            "aud": "the-client",
            "azp": "the-client",
            "sub": "x",
            "nonce": "n",
            "exp": 2**40,
            "iat": 0,
            "nbf": 0,
            "auth_time": 0,
            "tid": "t",
            "email": "ada@example.com",
            "email_verified": True,
            "hd": "example.com",
            "xms_edov": True,
        }.items()
    },
)


@pytest.mark.security("OIDC-04")
@bounded(300)
@given(claims=_CLAIMS, preset=st.sampled_from(["", "google", "apple", "microsoft"]))
def test_any_claims_are_a_refusal_or_an_identity(claims: dict[str, Any], preset: str) -> None:
    issuer = "https://id.example.com/{tenantid}" if preset == "microsoft" else "https://id.example.com"
    one = Configured("p", preset, issuer, ("the-client",), "P", tenant="common", tenants=("t",))
    expected = Expected(one.issuer_of, one.client_ids, one.client_ids, "n", 0)
    try:
        found = identity_of(one, claims, issuer=check_claims(claims, expected))
    except InvalidIdTokenError:
        return
    assert 0 < len(found.subject) <= 255
    assert found.email == usable_email(found.email)


@bounded(300)
@given(text=st.text(alphabet="abcXYZ019-_.=+/ \x00é", max_size=60))
def test_any_text_is_an_id_token_or_malformed(text: str) -> None:
    with suppress(InvalidIdTokenError):
        parse_id_token(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 2}',
        "[" * 100_000,
        '{"kid": ' + "9" * 5000 + "}",
        '{"kid": NaN}',
        "\ufeff{}",
        "[]",
        '{"alg": "RS256", "kid": 7}',
        '{"alg": "RS256", "typ": ["JWT"]}',
        '{"alg": "RS256", "typ": "at+jwt"}',
        '{"alg": "RS256", "typ": "logout+jwt"}',
        '{"alg": "RS256", "crit": ["x"]}',
    ],
    ids=lambda text: text[:30],
)
def test_a_header_that_is_not_one_is_malformed(text: str) -> None:
    header = urlsafe_b64encode(text.encode()).rstrip(b"=").decode()
    with pytest.raises(InvalidIdTokenError):
        parse_id_token(f"{header}.e30.c2ln")


def test_an_unknown_key_is_asked_for_once_a_minute(
    api: Api, on_loopback: Any, user: Any, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "monotonic", time.time)
    with Provider() as hostile:
        on_loopback(test=hostile.config())
        link(user, subject="1001", issuer=hostile.issuer, provider="test")
        assert run(api, hostile).status_code == 200
        clock.shift(61)
        hostile.rotate_keys()
        assert run(api, hostile).status_code == 200
        assert hostile.paths().count(KEYS) == 2
        hostile.rotate_keys()
        for _ in range(3):
            assert answer(run(api, hostile)) == (400, "provider_refused")
        assert hostile.paths().count(KEYS) == 2
        clock.shift(61)
        assert run(api, hostile).status_code == 200
        assert hostile.paths().count(KEYS) == 3
        assert hostile.paths().count(DOCUMENT) == 1
        clock.shift(3600)
        assert run(api, hostile).status_code == 200
        assert (hostile.paths().count(KEYS), hostile.paths().count(DOCUMENT)) == (4, 2)


@pytest.mark.security("OIDC-04")
@pytest.mark.parametrize(
    "changes",
    [{"d": "AQAB"}, {"p": "AQAB", "q": "AQAB"}, {"n": "A" * 1367}, {"e": "A" * 7}, {"n": ["A" * 1367]}],
    ids=["a private key", "its primes", "a huge modulus", "a huge exponent", "no text"],
)
def test_a_key_that_costs_much_to_look_at_is_not_looked_at(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    def from_jwk(jwk: Any) -> None:
        raise AssertionError(jwk)

    monkeypatch.setattr(RSAAlgorithm, "from_jwk", from_jwk)
    header = urlsafe_b64encode(b'{"alg": "RS256", "kid": "k"}').rstrip(b"=").decode()
    token = parse_id_token(f"{header}.e30.c2ln")
    key = {"kty": "RSA", "kid": "k", "n": "A" * 342, "e": "AQAB", **changes}
    expected = Expected(lambda _: "i", ["c"], ["c"], "n")

    with pytest.raises(InvalidIdTokenError, match="unknown_key"):
        verify_id_token(token, keys=[key], algorithms=["RS256"], expected=expected)


@pytest.mark.security("OIDC-09")
def test_while_the_metadata_cannot_be_read_the_former_ones_are_used_for_a_day(
    api: Api, on_loopback: Any, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "monotonic", time.time)
    body = {"purpose": "login", "redirect_uri": "https://example.com/login/done"}

    def start() -> int:
        return int(api.post("oidc/test/start", body).status_code)

    with Provider() as hostile:
        on_loopback(test=hostile.config())
        hostile.fault, hostile.fault_at = "error", DOCUMENT
        assert start() == 503
        hostile.fault = None
        assert start() == 200
        hostile.fault = "error"
        clock.shift(3601)
        assert [start() for _ in range(3)] == [200] * 3
        clock.shift(86_400)
        assert start() == 503
        hostile.fault = None
        assert start() == 200


@pytest.mark.security("OIDC-09")
@pytest.mark.parametrize("fault", ["redirecting", "html", "error", "5mb", "bomb", "down"])
@pytest.mark.parametrize("path", [DOCUMENT, TOKEN, KEYS])
def test_a_broken_provider_is_a_503(api: Api, on_loopback: Any, user: Any, fault: str, path: str) -> None:
    with Provider() as hostile:
        on_loopback(test=hostile.config())
        link(user, subject="1001", issuer=hostile.issuer, provider="test")
        started = begin(api, "test")
        returned = hostile.authorize(started["authorization_url"])
        metadata.forget()
        hostile.fault, hostile.fault_at = fault, path
        body = {"flow_token": started["flow_token"], **returned}
        assert answer(api.post("oidc/test/finish", body)) == (503, "provider_unavailable")
        assert not any("elsewhere" in one for one in hostile.paths())
    assert not SpentTicket.objects.exists()


@pytest.mark.security("OIDC-09")
@pytest.mark.parametrize("fault", ["slow", "dripping", "dripping_headers", "endless"])
def test_a_slow_provider_is_a_503_and_its_connection_is_closed(
    api: Api, on_loopback: Any, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(http_client, "SECONDS", 1.0)
    with Provider(lie=fault, at=DOCUMENT) as hostile:
        on_loopback(test=hostile.config())
        body = {"purpose": "login", "redirect_uri": "https://example.com/login/done"}
        assert answer(api.post("oidc/test/start", body)) == (503, "provider_unavailable")
    until = time.perf_counter() + 5
    while _threads() and time.perf_counter() < until:
        threading.Event().wait(0.05)
    assert not _threads()


@pytest.mark.security("OIDC-09")
def test_after_a_slow_answer_nothing_is_sent_to_the_provider_for_a_while(
    api: Api, on_loopback: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_client, "SECONDS", 0.5)
    monkeypatch.setattr(http_client, "PAUSE", 2.0)
    body = {"purpose": "login", "redirect_uri": "https://example.com/login/done"}
    with Provider(lie="slow", at=DOCUMENT) as hostile:
        on_loopback(test=hostile.config())
        assert answer(api.post("oidc/test/start", body)) == (503, "provider_unavailable")
        paused = time.perf_counter()
        hostile.fault = None
        for _ in range(5):
            assert answer(api.post("oidc/test/start", body)) == (503, "provider_unavailable")
        assert hostile.paths() == [DOCUMENT]
        threading.Event().wait(2.1 - (time.perf_counter() - paused))
        assert api.post("oidc/test/start", body).status_code == 200


def _threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name == "ninja_auth_kit-provider"]


def test_a_server_that_is_away_is_a_503(api: Api, on_loopback: Any) -> None:
    with Provider() as hostile:
        pass
    on_loopback(test=hostile.config())
    body = {"purpose": "login", "redirect_uri": "https://example.com/login/done"}
    assert answer(api.post("oidc/test/start", body)) == (503, "provider_unavailable")


@pytest.mark.security("OIDC-09")
@pytest.mark.race
@pytest.mark.parametrize("fault", ["slow", "dripping", "dripping_headers", "endless"])
def test_a_slow_provider_takes_less_than_ten_seconds_in_all(api: Api, on_loopback: Any, user: Any, fault: str) -> None:
    with Provider() as hostile:
        on_loopback(test=hostile.config())
        link(user, subject="1001", issuer=hostile.issuer, provider="test")
        started = begin(api, "test")
        returned = hostile.authorize(started["authorization_url"])
        metadata.forget()
        hostile.fault, hostile.fault_at = fault, TOKEN
        begun = time.perf_counter()
        response = api.post("oidc/test/finish", {"flow_token": started["flow_token"], **returned})
        taken = time.perf_counter() - begun
    assert answer(response) == (503, "provider_unavailable")
    assert taken < 10, taken


@pytest.mark.security("OIDC-09")
def test_no_transaction_is_open_while_a_provider_is_asked(
    api: Api, user: Any, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    link(user)
    seen: list[bool] = []
    real = http_client.send

    def send(*args: Any) -> Any:
        seen.append(connection.in_atomic_block)
        return real(*args)

    token = api.pair()["access_token"]
    monkeypatch.setattr(http_client, "send", send)
    for purpose in ("login", "link", "step_up"):
        token = flow(api, provider, purpose, token=token).json().get("access_token", token)
    assert len(seen) >= 5
    assert seen == [False] * len(seen)


def test_proxies_of_the_environment_are_not_used(api: Api, on_loopback: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with Provider() as hostile:
        on_loopback(test=hostile.config())
        assert begin(api, "test")["flow_token"]


@pytest.mark.parametrize("authority", ["own", "other", None])
def test_the_certificate_of_a_provider_is_verified(
    api: Api, on_loopback: Any, tmp_path: Path, settings: Any, authority: str | None
) -> None:
    own, other = Authority(tmp_path / "own"), Authority(tmp_path / "other", "another authority")
    with Provider(certificate=own.issue("provider")) as hostile:
        files = {"own": {"ca_file": str(own.cafile)}, "other": {"ca_file": str(other.cafile)}, None: {}}
        on_loopback(test=hostile.config(**files[authority]))
        settings.DEBUG = False  # https needs no exception
        body = {"purpose": "login", "redirect_uri": "https://example.com/login/done"}
        expected = (200, None) if authority == "own" else (503, "provider_unavailable")
        assert answer(api.post("oidc/test/start", body)) == expected
        assert hostile.paths() == ([DOCUMENT] if authority == "own" else [])


@pytest.mark.parametrize("host", ["localhost", "id.example.com"])
def test_the_certificate_must_be_that_of_the_host(
    api: Api, on_loopback: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    look_up = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _, *more: look_up("127.0.0.1", *more))
    authority = Authority(tmp_path)
    with Provider(certificate=authority.issue("provider")) as hostile:
        config = hostile.config(ca_file=authority.cafile)  # a path
        on_loopback(test={**config, "issuer": hostile.issuer.replace("127.0.0.1", host)})
        body = {"purpose": "login", "redirect_uri": "https://example.com/login/done"}
        assert answer(api.post("oidc/test/start", body)) == (503, "provider_unavailable")  # it names another issuer
        assert hostile.paths() == ([DOCUMENT] if host == "localhost" else [])


def test_http_is_for_this_machine_while_debug_is_on(api: Api, on_loopback: Any, settings: Any) -> None:
    with Provider() as hostile:
        on_loopback(test=hostile.config())
        settings.DEBUG = False
        body = {"purpose": "login", "redirect_uri": "https://example.com/login/done"}
        assert answer(api.post("oidc/test/start", body)) == (503, "provider_unavailable")
        assert hostile.paths() == []


@pytest.mark.security("OIDC-04")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'{"error": "invalid_grant"}',
        b'{"id_token": 7}',
        b'{"id_token": null}',
        b'{"id_token": {}}',
    ],
)
def test_an_odd_answer_to_a_code_is_a_refusal(
    api: Api, user: Any, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    link(user)
    started = begin(api)
    real = http_client.send

    def send(request: Any, deadline: Any) -> Any:
        return real(request, deadline) if request.fields is None else http_client.ProviderAnswer(200, body)

    monkeypatch.setattr(http_client, "send", send)
    returned = provider.authorize(started["authorization_url"])
    response = api.post("oidc/example/finish", {"flow_token": started["flow_token"], **returned})
    expected = (400, "provider_refused") if body else (503, "provider_unavailable")
    assert answer(response) == expected


@pytest.mark.parametrize("kid", [None, "another", 7])
def test_keys_of_any_content_are_no_keys(
    api: Api, user: Any, provider: FakeProvider, monkeypatch: Any, kid: Any
) -> None:
    link(user)
    odd: list[Any] = [7, None, {}, {"kty": "RSA", "kid": kid}, {"kty": ["RSA"]}, {"kty": "EC", "crv": "P-256", "x": 1}]
    real = provider._answer

    def answered(request: Any) -> tuple[int, Any]:
        status, body = real(request)
        return status, {"keys": odd} if isinstance(body, dict) and "keys" in body else body

    monkeypatch.setattr(provider, "_answer", answered)
    assert answer(flow(api, provider)) == (400, "provider_refused")


def test_an_error_names_no_query(caplog: pytest.LogCaptureFixture, settings: Any) -> None:
    settings.DEBUG = True
    request = http_client.ProviderRequest("http://127.0.0.1:9/token?secret=x", {"code": "the-code"})
    with pytest.raises(ProviderUnavailableError):
        http_client.send(request, http_client.Deadline())
    assert "127.0.0.1" in caplog.text
    assert "secret" not in caplog.text
    assert "the-code" not in repr(request) + caplog.text
