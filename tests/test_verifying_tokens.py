"""The code of `docs/verifying-tokens.md`, run with the tokens and keys of a real server."""

import re
import threading
import types
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
import time_machine
from django.core.wsgi import get_wsgi_application
from django.utils import timezone
from joserfc.errors import SecurityWarning
from pytest_django import Settings

from ninja_auth_kit.tokens import generate_key
from tests.conftest import Api
from tests.keys import entry, pem, private, public_forms, public_pem
from tests.servers import ROOT
from tests.settings import JWT_SECRET_KEY
from tests.test_signing_keys import body_of, signed
from tests.test_tokens import HEADERS, SHAPES, Forger

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_user_model]
PAGE = (ROOT / "docs" / "verifying-tokens.md").read_text(encoding="utf-8")
ISSUER, AUDIENCE = "https://auth.example.com/api/auth", "https://api.example.com"
Service = types.SimpleNamespace


class QuietHandler(WSGIRequestHandler):
    """A request handler that does not log requests."""

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@pytest.fixture
def issuer() -> Iterator[str]:
    """Serve the kit on a local port with the settings of the test, and return its URL."""
    with make_server("127.0.0.1", 0, get_wsgi_application(), handler_class=QuietHandler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def service(issuer: str, settings: Settings) -> Service:
    """Return the code of the page as a module, which fetches the keys from the test's issuer."""
    settings.NINJA_AUTH_KIT = {**settings.NINJA_AUTH_KIT, **page_settings(pem("ES256"))}
    code = next(block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "def verify" in block)
    assert code.count("https://auth.example.com/api/auth/") == 1
    names: dict[str, Any] = {}
    exec(code.replace("https://auth.example.com/api/auth/", f"{issuer}/api/auth/"), names)  # noqa: S102
    return Service(**names)


def page_settings(key: str) -> dict[str, Any]:
    """Return the settings that the page shows."""
    block = next(block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "SIGNING_KEYS" in block)
    names: dict[str, Any] = {"os": types.SimpleNamespace(environ={"SIGNING_KEY": key})}
    exec(block, names)  # noqa: S102
    return dict(names["NINJA_AUTH_KIT"])


def is_genuine(service: Service, token: str) -> bool:
    try:
        service.verify(token)
    except service.InvalidToken:
        return False
    return True


@pytest.fixture
def forger(service: Service, api: Api, user: Any, monkeypatch: pytest.MonkeyPatch) -> Forger:
    """Return a forger with the real key of this configuration."""
    monkeypatch.setattr("tests.test_tokens.PRIVATE_KEY", private(pem("ES256")))
    return Forger(api.pair()["access_token"])


def test_a_token_of_ours_is_verified_by_the_published_keys_alone(service: Service, forger: Forger, user: Any) -> None:
    claims = service.verify(forger.token)

    assert claims == forger.claims
    assert claims["sub"] == str(user.pk)
    assert (claims["iss"], claims["aud"]) == (ISSUER, AUDIENCE)
    assert is_genuine(service, forger.sign(forger.header, forger.claims))


@pytest.mark.security("JWT-04", "JWT-19", "JWT-20")
def test_what_is_not_meant_for_the_service_is_refused(service: Service, forger: Forger) -> None:
    past = int((timezone.now() - timedelta(hours=1)).timestamp())
    attacker = generate_key("ES256")
    forged = {
        "another audience": forger.with_claims(aud="https://other.example.com"),
        "several audiences": forger.with_claims(aud=[AUDIENCE, "https://other.example.com"]),
        "the audience in a list": forger.with_claims(aud=[AUDIENCE]),
        "no audience": forger.with_claims(drop=("aud",)),
        "another issuer": forger.with_claims(iss="https://evil.example.com"),
        "no issuer": forger.with_claims(drop=("iss",)),
        "expired": forger.with_claims(iat=past - 300, exp=past),
        "an expiry that is no whole number": forger.with_claims(exp=forger.claims["exp"] + 0.5),
        "an expiry that is text": forger.with_claims(exp=str(forger.claims["exp"])),
        "no expiry": forger.with_claims(drop=("exp",)),
        "no subject": forger.with_claims(drop=("sub",)),
        "another type": forger.with_header(typ="JWT"),
        "no type": forger.with_header(drop=("typ",)),
        "no kid": forger.with_header(drop=("kid",)),
        "a forged key": signed(body_of(forger.header, forger.claims), attacker.text, "ES256"),
        "a forged key, by its name": signed(
            body_of({**forger.header, "kid": attacker.kid}, forger.claims), attacker.text, "ES256"
        ),
        "JWT_SECRET_KEY": forger.sign({**forger.header, "alg": "HS256"}, forger.claims, key=JWT_SECRET_KEY),
        "garbage": "garbage",
        "nothing": "",
        "no ASCII": "é.é.é",
    }
    forged |= {
        f"{alg} with {name}": forger.sign({**forger.header, "alg": alg}, forger.claims, key=form, alg=alg)
        for name, form in public_forms("ES256").items()
        for alg in ("HS256", "HS512")
    }

    assert [name for name, token in forged.items() if is_genuine(service, token)] == []
    assert is_genuine(service, forger.token)


@pytest.mark.parametrize("behind", [2, 60])
def test_a_service_whose_clock_is_behind_accepts_a_token_that_was_just_issued(
    service: Service, api: Api, user: Any, behind: int
) -> None:
    with time_machine.travel(timezone.now().replace(microsecond=0), tick=False) as clock:
        token = api.pair()["access_token"]

        clock.shift(timedelta(seconds=-behind))
        assert service.verify(token)["sub"] == str(user.pk)

        clock.shift(timedelta(seconds=-61 + behind))
        assert not is_genuine(service, token)


def test_a_service_whose_clock_is_ahead_accepts_no_token_after_it_has_expired(
    service: Service, api: Api, user: Any
) -> None:
    with time_machine.travel(timezone.now().replace(microsecond=0), tick=False) as clock:
        token = api.pair()["access_token"]
        clock.shift(timedelta(seconds=299))
        assert is_genuine(service, token)

        clock.shift(timedelta(seconds=1))

        assert not is_genuine(service, token)


def test_the_issuer_of_the_page_is_the_url_below_which_the_keys_are(service: Service, issuer: str) -> None:
    path = ISSUER.removeprefix("https://auth.example.com")

    assert service.KEYS.url == f"{issuer}{path}/.well-known/jwks.json"
    with service.urllib.request.urlopen(service.KEYS.url) as response:
        assert response.status == 200


@pytest.mark.security("JWT-02", "JWT-03")
def test_the_corpus_of_the_kit_is_refused_without_a_failure(service: Service, forger: Forger) -> None:
    # The library accepts more spellings, but each requires the signing key or has the same meaning.
    harmless = {"unused bits of the signature", "padding", "more padding", "padding inside"}
    harmless |= {"alg twice", "header UTF-16", "header with a BOM", "over 4 kB"}
    forgeries = [*HEADERS.values(), *SHAPES.values()]
    tokens = {name: forge for group in forgeries for name, forge in group.items()}

    accepted = [name for name, forge in tokens.items() if is_genuine(service, forge(forger))]

    assert set(accepted) <= harmless


def test_the_keys_are_fetched_once_and_again_for_one_that_is_new(
    service: Service, api: Api, user: Any, kit: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []
    urlopen = service.urllib.request.urlopen
    monkeypatch.setattr(service.urllib.request, "urlopen", lambda *a, **k: (fetched.append(a[0]), urlopen(*a, **k))[1])
    clock = [1000.0]
    monkeypatch.setattr(service.time, "monotonic", lambda: clock[0])
    first = api.pair()["access_token"]
    for _ in range(3):
        assert is_genuine(service, first)
    assert len(fetched) == 1

    kit(SIGNING_KEYS=[entry("ES256", pem("ES256", 2)), entry("ES256", public_pem(pem("ES256")), "verify-only")])
    second = api.pair()["access_token"]
    # At most one fetch in ten seconds, even if invalid tokens arrive.
    assert not is_genuine(service, second)
    clock[0] += 10
    assert is_genuine(service, second)
    assert is_genuine(service, first)
    assert len(fetched) == 2

    kit(SIGNING_KEYS=[entry("ES256", pem("ES256", 2))])
    assert is_genuine(service, first)
    clock[0] += 300
    assert not is_genuine(service, first)
    assert is_genuine(service, second)
    assert len(fetched) == 3


@pytest.mark.security("JWT-04")
def test_the_page_asks_for_a_library_that_the_tests_run_with_and_looks_at_the_clock_each_time() -> None:
    assert "pip install 'joserfc>=1.4'" in PAGE
    assert '"joserfc>=1.4"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    # Before 1.3 the registry kept the time of its creation.
    assert PAGE.index("JWTClaimsRegistry(") > PAGE.index("def verify(")


def test_who_has_a_key_does_not_wait_for_a_fetch(
    service: Service, api: Api, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = api.pair()["access_token"]
    clock = [1000.0]
    monkeypatch.setattr(service.time, "monotonic", lambda: clock[0])
    assert is_genuine(service, token)
    kid = Forger(token).header["kid"]

    def from_another_thread(name: str) -> list[Any]:
        got: list[Any] = []
        thread = threading.Thread(target=lambda: got.append(service.KEYS.get(name)), daemon=True)
        thread.start()
        thread.join(0.5)
        return got

    with service.KEYS._lock:  # as if another thread were fetching the keys
        for _ in ("fresh", "to be refreshed"):
            assert [key.kid for key in from_another_thread(kid)] == [kid]
            clock[0] += 300
        assert from_another_thread("unknown") == []


def test_an_issuer_that_is_away_lets_nobody_new_in_and_nobody_fall_out(
    service: Service, api: Api, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = api.pair()["access_token"]
    clock = [1000.0]
    monkeypatch.setattr(service.time, "monotonic", lambda: clock[0])
    url, service.KEYS.url = service.KEYS.url, service.KEYS.url.replace("jwks.json", "none.json")
    assert not is_genuine(service, token)
    service.KEYS.url = url
    clock[0] += 10
    assert is_genuine(service, token)

    service.KEYS.url = "http://127.0.0.1:9/"
    clock[0] += 300

    assert is_genuine(service, token)


def test_the_service_does_not_see_a_session_end_before_the_token_expires(
    service: Service, api: Api, user: Any
) -> None:
    with time_machine.travel(timezone.now(), tick=False) as clock:
        token = api.pair()["access_token"]
        api.post("logout", token=token)
        assert not api.is_in(token)
        assert is_genuine(service, token)

        clock.shift(timedelta(minutes=5))

        assert not is_genuine(service, token)


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "EdDSA"])
@pytest.mark.filterwarnings(f"ignore::{SecurityWarning.__module__}.{SecurityWarning.__name__}")
def test_the_other_algorithms_are_verified_alike(
    service: Service,
    api: Api,
    user: Any,
    kit: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    algorithm: str,
) -> None:
    kit(SIGNING_KEYS=[entry(algorithm, pem(algorithm))])
    clock = [1000.0]
    monkeypatch.setattr(service.time, "monotonic", lambda: clock[0])
    token = api.pair()["access_token"]
    assert not is_genuine(service, token)
    service.ALGORITHMS[:] = [algorithm]
    clock[0] += 300

    assert service.verify(token)["sub"] == str(user.pk)
