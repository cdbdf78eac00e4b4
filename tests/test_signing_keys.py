"""Asymmetric keys: signing, verification, publication, and forgeries with the public key."""

import base64
import hashlib
import json
import socket
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from django.utils import timezone
from django.views.debug import SafeExceptionReporterFilter
from joserfc.jwk import JWKRegistry
from jwt.algorithms import get_default_algorithms
from pytest_django import DjangoAssertNumQueries, Settings

from ninja_auth_kit.exceptions import InvalidTokenError
from ninja_auth_kit.management.key_plans import JWKS_CACHE
from ninja_auth_kit.models import UserSession
from ninja_auth_kit.tokens import (
    asymmetric,
    check_keys,
    generate_key,
    key_ring,
    read_access_token,
)
from tests.conftest import Api, new_access_token
from tests.keys import ASYMMETRIC_ALGORITHMS, as_pem, entry, kid, pem, private, public_forms, public_pem
from tests.settings import JWT_SECRET_KEY
from tests.test_tokens import HASHES, Forger, decode, encode

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_user_model]
JWKS = ".well-known/jwks.json"
ORDER_OF_P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@pytest.fixture(params=ASYMMETRIC_ALGORITHMS)
def algorithm(request: pytest.FixtureRequest, kit: Callable[..., None]) -> str:
    """Sign with a key of each algorithm in turn."""
    kit(SIGNING_KEYS=[entry(request.param, pem(request.param))])
    return str(request.param)


def refusals(api: Api, tokens: dict[str, str]) -> dict[str, Any]:
    """Return the tokens whose response differs from the response to an invalid token."""
    expected = api.get("me", token="bad").content
    answers = {name: api.get("me", token=token) for name, token in tokens.items()}
    return {
        name: answer for name, answer in answers.items() if (answer.status_code, answer.content) != (401, expected)
    }


def body_of(header: dict[str, Any], claims: dict[str, Any]) -> str:
    return ".".join(encode(json.dumps(part).encode()) for part in (header, claims))


def test_the_active_key_signs_and_its_tokens_get_in(algorithm: str, api: Api, user: Any) -> None:
    pair = api.pair()

    header = Forger(pair["access_token"]).header
    assert header == {"alg": algorithm, "typ": "at+jwt", "kid": kid(pem(algorithm), algorithm)}
    assert api.is_in(pair["access_token"])
    successor = api.post("refresh", {"refresh_token": pair["refresh_token"]}).json()
    assert api.is_in(successor["access_token"])


def test_a_session_check_costs_one_query_and_the_key_is_read_once(
    kit: Callable[..., None],
    api: Api,
    user: Any,
    django_assert_num_queries: DjangoAssertNumQueries,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[bytes] = []
    load = serialization.load_pem_private_key
    monkeypatch.setattr(
        serialization, "load_pem_private_key", lambda data, *rest: (read.append(data), load(data, *rest))[1]
    )
    kit(SIGNING_KEYS=[entry("ES256", as_pem(ec.generate_private_key(ec.SECP256R1())))])
    token = api.pair()["access_token"]

    for _ in range(5):
        with django_assert_num_queries(1):
            assert api.get("/host/sync", token=token).status_code == 200

    assert len(read) == 1


@pytest.mark.parametrize("algorithm", ["RS256", "PS256"])
def test_the_smallest_rsa_key_that_the_standard_allows_is_taken(algorithm: str, kit: Callable[..., None]) -> None:
    smallest = as_pem(rsa.generate_private_key(public_exponent=65_537, key_size=2048))
    kit(SIGNING_KEYS=[entry(algorithm, smallest, "active")])

    check_keys()

    assert key_ring().signing.algorithm == algorithm


@pytest.mark.security("JWT-27")
def test_the_key_id_is_the_rfc_7638_thumbprint(algorithm: str, api: Api) -> None:
    (key,) = api.get(JWKS).json()["keys"]

    assert key["kid"] == JWKRegistry.import_key(key).thumbprint() == kid(pem(algorithm), algorithm)
    assert key["alg"] == algorithm
    assert key["use"] == "sig"


@pytest.mark.security("JWT-27")
def test_the_published_set_has_public_members_and_no_others(algorithm: str, api: Api) -> None:
    answer = api.get(JWKS)

    members = {"ES256": {"crv", "x", "y"}, "EdDSA": {"crv", "x"}, "PS256": {"n", "e"}, "RS256": {"n", "e"}}[algorithm]
    assert answer.status_code == 200
    assert set(answer.json()) == {"keys"}
    assert [set(key) for key in answer.json()["keys"]] == [{"kty", "kid", "alg", "use"} | members]
    numbers = getattr(private(pem(algorithm)), "private_numbers", None)
    if numbers is not None:
        secret = getattr(numbers(), "d", None) or numbers().private_value
        assert encode(secret.to_bytes((secret.bit_length() + 7) // 8)) not in answer.content.decode()
    else:
        assert encode(private(pem(algorithm)).private_bytes_raw()) not in answer.content.decode()


@pytest.mark.security("JWT-27")
def test_without_an_asymmetric_key_there_is_no_set(api: Api, kit: Callable[..., None]) -> None:
    for keys in (None, [], [entry("HS256", JWT_SECRET_KEY[::-1], "verify-only")]):
        kit(SIGNING_KEYS=keys)

        answer = api.get(JWKS)

        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert answer["Content-Type"] == "application/problem+json"
        assert answer["Cache-Control"] == "no-store"


def test_caches_may_store_the_set_for_everyone_and_no_other_response(algorithm: str, api: Api) -> None:
    for answer in (api.get(JWKS), api("HEAD", JWKS), api.get(JWKS, token="bad")):
        assert answer["Cache-Control"] == "public, max-age=300"
        assert "Authorization" not in answer.get("Vary", "")

    for answer in (api.post(JWKS, {}), api.get("me", token="bad"), api.login(), api.get("nowhere")):
        assert answer["Cache-Control"] == "no-store"


def test_a_rotation_waits_longer_than_caches_store_the_set(algorithm: str, api: Api) -> None:
    seconds = int(api.get(JWKS)["Cache-Control"].rpartition("=")[2])

    assert timedelta(seconds=seconds) < JWKS_CACHE


def test_the_set_is_there_for_everybody_by_get_and_head_alone(algorithm: str, api: Api) -> None:
    assert api("HEAD", JWKS).status_code == 200
    assert api("HEAD", JWKS).content == b""
    assert api.get(JWKS, token="bad").status_code == 200
    assert api.post(JWKS, {}).status_code == 405
    assert Api("/host/auth/").get(JWKS).json() == api.get(JWKS).json()


@pytest.mark.security("JWT-27")
def test_a_rotation_overlaps(api: Api, user: Any, kit: Callable[..., None]) -> None:
    old, new = pem("ES256"), pem("ES256", 2)

    def published() -> list[str]:
        return [key["kid"] for key in api.get(JWKS).json()["keys"]]

    kit(SIGNING_KEYS=[entry("ES256", old)])
    first = api.pair()
    kit(SIGNING_KEYS=[entry("ES256", old), entry("ES256", public_pem(new), "verify-only")])
    assert published() == [kid(old, "ES256"), kid(new, "ES256")]
    assert api.is_in(first["access_token"])

    kit(SIGNING_KEYS=[entry("ES256", new), entry("ES256", old, "verify-only")])
    second = api.post("refresh", {"refresh_token": first["refresh_token"]}).json()
    assert Forger(second["access_token"]).header["kid"] == kid(new, "ES256")
    assert api.is_in(first["access_token"])
    assert api.is_in(second["access_token"])
    with time_machine.travel(timezone.now() + timedelta(minutes=5)):
        assert api.get("me", token=first["access_token"]).json()["code"] == "token_expired"

    kit(SIGNING_KEYS=[entry("ES256", new)])
    assert published() == [kid(new, "ES256")]
    assert refusals(api, {"retired": first["access_token"]}) == {}
    assert api.is_in(second["access_token"])
    assert api.post("refresh", {"refresh_token": second["refresh_token"]}).status_code == 200


def test_a_worker_that_knows_the_next_key_takes_what_it_has_signed(
    api: Api, user: Any, kit: Callable[..., None]
) -> None:
    """Accept each key by its own algorithm, even with two algorithms in one set."""
    ahead = [entry("EdDSA", pem("EdDSA")), entry("RS256", pem("RS256"), "verify-only")]
    behind = [entry("EdDSA", pem("EdDSA"), "verify-only"), entry("RS256", pem("RS256"))]
    kit(SIGNING_KEYS=ahead)
    token = api.pair()["access_token"]

    kit(SIGNING_KEYS=behind)
    assert api.is_in(token)
    other = api.pair()["access_token"]
    kit(SIGNING_KEYS=ahead)

    assert Forger(other).header["alg"] == "RS256"
    assert api.is_in(other)


def test_going_to_another_kind_costs_one_refresh_and_logs_nobody_out(
    api: Api, user: Any, kit: Callable[..., None]
) -> None:
    pair = api.pair()
    for keys in ([entry("ES256", pem("ES256"))], [entry("ES256", pem("ES256"), "verify-only")]):
        kit(SIGNING_KEYS=keys)

        assert refusals(api, {"of the other kind": pair["access_token"]}) == {}
        pair = api.post("refresh", {"refresh_token": pair["refresh_token"]}).json()
        assert api.is_in(pair["access_token"])


@pytest.mark.parametrize("name", ["ISSUER", "AUDIENCE"])
def test_another_issuer_or_audience_costs_one_refresh_and_logs_nobody_out(
    name: str, api: Api, user: Any, kit: Callable[..., None]
) -> None:
    pair = api.pair()

    kit(**{name: "https://auth.example.com/api/auth"})

    assert refusals(api, {"of the former one": pair["access_token"]}) == {}
    pair = api.post("refresh", {"refresh_token": pair["refresh_token"]}).json()
    assert api.is_in(pair["access_token"])


@pytest.mark.security("CFG-02", "JWT-04")
def test_keys_of_two_kinds_never_verify_at_once(api: Api, user: Any, kit: Callable[..., None]) -> None:
    former = JWT_SECRET_KEY[::-1]
    listed = entry("HS256", former, "verify-only")
    by_secret = Forger(api.pair()["access_token"])
    kit(SIGNING_KEYS=[entry("ES256", pem("ES256"), "verify-only"), listed])
    assert api.is_in(by_secret.token)
    (staged,) = [key for key in key_ring().keys if key.algorithm == "ES256"]
    assert refusals(api, {"staged": staged.sign(json.dumps(by_secret.claims).encode())}) == {}

    kit(SIGNING_KEYS=[entry("ES256", pem("ES256")), listed])

    of_former = {**by_secret.header, "kid": key_ring().keys[2].kid}
    assert (
        refusals(
            api,
            {
                "of JWT_SECRET_KEY": by_secret.token,
                "of a former one": by_secret.sign(of_former, by_secret.claims, key=former),
                "with the kid of the pair": by_secret.with_header(kid=key_ring().signing.kid, key=JWT_SECRET_KEY),
            },
        )
        == {}
    )
    assert api.is_in(staged.sign(json.dumps(by_secret.claims).encode()))


@pytest.mark.security("JWT-04")
def test_no_form_of_the_public_key_is_a_secret(algorithm: str, api: Api, user: Any) -> None:
    genuine = Forger(api.pair()["access_token"])
    forms = public_forms(algorithm)
    kids = (genuine.header["kid"], key_ring().keys[0].kid)
    tokens = {
        f"{name}, {alg}, {hashed}, {kid}": genuine.sign(
            {**genuine.header, "alg": alg, "kid": kid}, genuine.claims, key=form, alg=hashed
        )
        for name, form in forms.items()
        for kid in kids
        for alg, hashed in [*((alg, alg) for alg in HASHES), (algorithm, "HS256")]
    }

    assert refusals(api, tokens) == {}
    assert len(tokens) > 200
    assert api.is_in(genuine.token)


@pytest.mark.security("JWT-05")
def test_a_key_verifies_with_its_own_algorithm_alone(api: Api, user: Any, kit: Callable[..., None]) -> None:
    key = private(pem("RS256"))

    def pkcs1(body: bytes, digest: Any) -> bytes:
        return key.sign(body, padding.PKCS1v15(), digest)

    def pss(body: bytes, digest: Any) -> bytes:
        return key.sign(body, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)

    kit(SIGNING_KEYS=[entry("RS256", pem("RS256")), entry("ES256", pem("ES256"), "verify-only")])
    genuine = Forger(api.pair()["access_token"])
    other = kid(pem("ES256"), "ES256")
    signatures = {
        "RS384": (pkcs1, hashes.SHA384(), {}),
        "RS512": (pkcs1, hashes.SHA512(), {}),
        "PS256": (pss, hashes.SHA256(), {}),
        "PS384": (pss, hashes.SHA384(), {}),
        "RS256": (pkcs1, hashes.SHA256(), {"kid": other}),
        "ES256": (pkcs1, hashes.SHA256(), {}),
        "none": (pkcs1, hashes.SHA256(), {}),
    }
    tokens = {}
    for alg, (sign, digest, change) in signatures.items():
        for named in (alg, "RS256") if not change else (alg,):
            body = body_of({**genuine.header, "alg": named, **change}, genuine.claims)
            if (named, digest.name, sign) != ("RS256", "sha256", pkcs1) or change:
                tokens[f"{alg}, said to be {named}"] = f"{body}.{encode(sign(body.encode(), digest))}"

    assert refusals(api, tokens) == {}
    assert len(tokens) == 11


@pytest.mark.security("JWT-05", "JWT-14")
def test_a_signature_of_any_length_is_an_answer_and_never_a_failure(algorithm: str, api: Api, user: Any) -> None:
    genuine = Forger(api.pair()["access_token"])
    signature = decode(genuine.segments[2])
    wrong = {
        "of one byte": b"\x00",
        "empty but for zeros": bytes(len(signature)),
        "of ones": b"\xff" * len(signature),
        "shorter": signature[:-1],
        "longer": signature + b"\x00",
        "longer in front": b"\x00" + signature,
        "half": signature[: len(signature) // 2],
        "twice": signature * 2,
        "1 kB": b"\x30" * 1024,
    }

    tokens = {name: ".".join([*genuine.segments[:2], encode(bad)]) for name, bad in wrong.items()}

    assert refusals(api, tokens) == {}


@pytest.mark.security("JWT-06", "JWT-07")
def test_a_kid_chooses_among_the_configured_keys_and_nothing_else(algorithm: str, api: Api, user: Any) -> None:
    genuine = Forger(api.pair()["access_token"])
    stranger = generate_key(algorithm if algorithm in {"ES256", "EdDSA"} else "ES256")
    kids = [stranger.kid, "../../../../dev/null", "' UNION SELECT 'x' --", "\x00", "k" * 3000, "http://127.0.0.1:9/"]
    tokens = {}
    for number, named in enumerate([*kids, 7, ["x"], {}, None, True, genuine.header["kid"].lower(), ""]):
        body = body_of({**genuine.header, "kid": named}, genuine.claims)
        tokens[f"{number}, by a stranger"] = signed(body, stranger.text, stranger.algorithm)
        tokens[f"{number}, by the real key"] = signed(body, pem(algorithm), algorithm)
        tokens[f"{number}, by nothing"] = f"{body}.{encode(hashlib.sha256(b'').digest())}"
    body = body_of(genuine.header, genuine.claims)
    tokens["the real kid, by a stranger"] = signed(body, stranger.text, stranger.algorithm)

    assert refusals(api, tokens) == {}


@pytest.mark.security("JWT-07")
@pytest.mark.parametrize("named", ["../../../../dev/null", "' UNION SELECT 'x' --", "http://127.0.0.1:9/", "\x00"])
def test_a_strange_kid_opens_no_file_no_connection_and_asks_no_database(
    named: str, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    token = Forger(new_access_token(user_id="7", session_id=uuid.uuid4())).with_header(kid=named)
    for place in ("builtins.open", "os.open", "socket.socket", "socket.getaddrinfo"):
        monkeypatch.setattr(place, lambda *_, **__: pytest.fail("the kid was looked up"))

    with django_assert_num_queries(0), pytest.raises(InvalidTokenError):
        read_access_token(token)


def signed(body: str, text: str, algorithm: str) -> str:
    """Sign a body with any header, using PyJWT's algorithm directly."""
    signer = get_default_algorithms()[algorithm]
    return f"{body}.{encode(signer.sign(body.encode(), private(text)))}"


@pytest.mark.security("JWT-08")
def test_keys_that_a_token_brings_along_are_neither_used_nor_fetched(algorithm: str, api: Api, user: Any) -> None:
    genuine = Forger(api.pair()["access_token"])
    attacker = generate_key("ES256")
    jwk = asymmetric.load_key(attacker.text, "ES256").jwk
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/jwks.json"
        headers: dict[str, dict[str, Any]] = {
            "jwk": {"jwk": jwk},
            "jwk, with its kid": {"jwk": jwk, "kid": attacker.kid},
            "jku": {"jku": url, "kid": attacker.kid},
            "x5u": {"x5u": url},
            "x5c": {"x5c": [base64.b64encode(b"certificate").decode()]},
            "kid": {"kid": url},
        }
        tokens = {
            name: signed(body_of({**genuine.header, "alg": "ES256", **more}, genuine.claims), attacker.text, "ES256")
            for name, more in headers.items()
        }

        assert refusals(api, tokens) == {}
        with pytest.raises(TimeoutError):
            listener.accept()


@pytest.mark.security("JWT-14")
def test_the_other_half_of_an_es256_signature_outlives_nothing(api: Api, user: Any, kit: Callable[..., None]) -> None:
    """Revoke the twin (r, n - s) of a signature (r, s) together with it.

    The twin is valid too. An attacker who can compute it already has the token, and gains nothing.
    """
    kit(SIGNING_KEYS=[entry("ES256", pem("ES256"))])
    genuine = Forger(api.pair()["access_token"])
    signature = decode(genuine.segments[2])
    s = ORDER_OF_P256 - int.from_bytes(signature[32:])
    twin = ".".join([*genuine.segments[:2], encode(signature[:32] + s.to_bytes(32))])
    assert twin != genuine.token
    assert read_access_token(twin) == read_access_token(genuine.token)
    assert api.is_in(twin)

    api.post("logout", token=genuine.token)

    assert api.get("me", token=twin).json()["code"] == "session_ended"
    assert api.get("me", token=genuine.token).json()["code"] == "session_ended"
    assert not UserSession.objects.filter(is_active=True).exists()


@pytest.mark.security("CFG-04")
def test_no_key_is_in_what_a_traceback_shows(settings: Settings, kit: Callable[..., None]) -> None:
    settings.DEBUG = True
    kit(SIGNING_KEYS=[entry("ES256", pem("ES256")), entry("HS256", JWT_SECRET_KEY[::-1], "verify-only")])
    ring = key_ring()
    new_access_token(user_id="7", session_id=uuid.uuid4())

    shown = [
        repr(ring),
        str(ring),
        *map(repr, ring.keys),
        repr(generate_key("ES256")),
        repr(asymmetric.load_key(pem("ES256"), "ES256")),
        repr(SafeExceptionReporterFilter().get_safe_settings()),
    ]

    for line in (*pem("ES256").splitlines()[1:-1], JWT_SECRET_KEY, JWT_SECRET_KEY[::-1]):
        assert not any(line in text for text in shown)
    assert ring.signing.kid in repr(ring)
