"""Forged access tokens of every kind, and the parts of which tokens consist.

All forgeries are signed with the real key unless a row says otherwise, so that only the named
defect can cause the rejection. Each is sent to a protected endpoint over HTTP and must get the same
response as every invalid token, once with an HMAC secret and once with a private key.
"""

import base64
import hashlib
import hmac
import json
import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from django.contrib.auth import get_user_model
from django.contrib.auth.password_validation import CommonPasswordValidator
from django.utils import timezone
from jwt.algorithms import ECAlgorithm
from pytest_django import Settings

from ninja_auth_kit.exceptions import InvalidTokenError
from ninja_auth_kit.models import UserSession
from ninja_auth_kit.models.one_time_tokens import one_time_token_digest
from ninja_auth_kit.tokens import (
    RefreshClaims,
    access,
    bucket_id,
    generate_key,
    issue_refresh_token,
    key_ring,
    password_fingerprint,
    pseudonym,
    read_access_token,
    read_refresh_token,
    refresh_token_digest,
)
from ninja_auth_kit.tokens.key_checks import PUBLISHED_KEYS
from tests.conftest import EMAIL, PASSWORD, Api, mailed_token, new_access_token
from tests.settings import JWT_SECRET_KEY as KEY
from tests.settings import SECRET_KEY

pytestmark = [pytest.mark.django_db, pytest.mark.one_user_model]
PEM = generate_key("ES256").text
PRIVATE_KEY = load_pem_private_key(PEM.encode(), None)
HASHES = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


class Forger:
    """A genuine token that can be taken apart and put together differently."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.segments = token.split(".")
        self.header: dict[str, Any] = json.loads(decode(self.segments[0]))
        self.claims: dict[str, Any] = json.loads(decode(self.segments[1]))

    def sign(self, header: Any, payload: Any, *, key: str | bytes | None = None, alg: str | None = None) -> str:
        """Sign with the real key and its algorithm, or by HMAC with another key or hash."""
        parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload)]
        body = ".".join(encode(part) for part in parts)
        if key is None and alg is None and self.header["alg"] == "ES256":
            return f"{body}.{encode(ECAlgorithm(ECAlgorithm.SHA256).sign(body.encode(), PRIVATE_KEY))}"
        secret = key.encode() if isinstance(key, str) else KEY.encode() if key is None else key
        return f"{body}.{encode(hmac.digest(secret, body.encode(), HASHES[alg or 'HS256']))}"

    def with_header(self, *, drop: tuple[str, ...] = (), key: str | bytes | None = None, **change: Any) -> str:
        header = {name: value for name, value in {**self.header, **change}.items() if name not in drop}
        return self.sign(header, self.claims, key=key)

    def with_claims(self, *, drop: tuple[str, ...] = (), **change: Any) -> str:
        claims = {name: value for name, value in {**self.claims, **change}.items() if name not in drop}
        return self.sign(self.header, claims)

    def with_raw_claim(self, name: str, literal: str) -> str:
        """Replace the value of a claim by a JSON literal that `json.dumps` would not write."""
        claims = json.dumps({**self.claims, name: "@"}).replace('"@"', literal)
        return self.sign(self.header, claims.encode())


@pytest.fixture(params=["HS256", "ES256"])
def algorithm(request: pytest.FixtureRequest, kit: Callable[..., None]) -> str:
    if request.param == "ES256":
        kit(SIGNING_KEYS=[{"alg": "ES256", "key": PEM, "state": "active"}])
    return str(request.param)


@pytest.fixture
def forger(api: Api, user: Any) -> Forger:
    return Forger(api.pair()["access_token"])


Forgery = Callable[[Forger], str]

UNSECURED: dict[str, Forgery] = {
    f"alg {alg!r}, signature {kind}": lambda f, alg=alg, kind=kind: (  # type: ignore[misc]
        f"{encode(json.dumps(_with_alg(f.header, alg)).encode())}.{f.segments[1]}"
        + {"empty": ".", "kept": f".{f.segments[2]}", "missing": ""}[kind]
    )
    for alg in ("none", "None", "NONE", "nOnE", "none ", "", None)
    for kind in ("empty", "kept", "missing")
}
# Each is listed under the requirement of docs/security-audit.md that it tests.
HEADERS: dict[str, dict[str, Forgery]] = {}
HEADERS["JWT-02"] = {**UNSECURED, "no alg": lambda f: f.with_header(drop=("alg",))}
HEADERS["JWT-03"] = {
    "alg as a list": lambda f: f.with_header(alg=["HS256"]),
    "alg as an object": lambda f: f.with_header(alg={}),
    "alg as a number": lambda f: f.with_header(alg=1),
    "alg null": lambda f: f.with_header(alg=None),
    "alg true": lambda f: f.with_header(alg=True),
}
HEADERS["JWT-05"] = {
    "HS384 with the right key": lambda f: f.sign({**f.header, "alg": "HS384"}, f.claims, alg="HS384"),
    "HS512 with the right key": lambda f: f.sign({**f.header, "alg": "HS512"}, f.claims, alg="HS512"),
    "says HS384, is HS256": lambda f: f.sign({**f.header, "alg": "HS384"}, f.claims),
    "RS256": lambda f: f.sign({**f.header, "alg": "RS256"}, f.claims),
}
HEADERS["JWT-07"] = {
    "kid unknown": lambda f: f.with_header(kid="deadbeef"),
    "kid missing": lambda f: f.with_header(drop=("kid",)),
    "kid a path": lambda f: f.with_header(kid="../../../../dev/null", key=b""),
    "kid an injection": lambda f: f.with_header(kid="' UNION SELECT 'x' --", key="x"),
    "kid NUL": lambda f: f.with_header(kid="\x00"),
    "kid 10 kB": lambda f: f.with_header(kid="k" * 10_000),
    "kid a number": lambda f: f.with_header(kid=7),
    "kid a list": lambda f: f.with_header(kid=["x"]),
    "kid a URL": lambda f: f.with_header(kid="http://127.0.0.1:9/"),
}
HEADERS["JWT-08"] = {
    "jwk": lambda f: f.with_header(jwk={"kty": "oct", "k": encode(b"attacker")}, key=b"attacker"),
    "jku": lambda f: f.with_header(jku="http://127.0.0.1:9/jwks.json", key=b"attacker"),
    "x5u": lambda f: f.with_header(x5u="http://127.0.0.1:9/cert.pem", key=b"attacker"),
    "x5c": lambda f: f.with_header(x5c=["MIIB"], key=b"attacker"),
}
HEADERS["JWT-09"] = {
    "crit with a name": lambda f: f.with_header(crit=["x"]),
    "crit empty": lambda f: f.with_header(crit=[]),
    "crit a string": lambda f: f.with_header(crit="exp"),
    "b64 false": lambda f: f.with_header(crit=["b64"], b64=False),
    "b64 true": lambda f: f.with_header(b64=True),
    "zip": lambda f: f.with_header(zip="DEF"),
}
HEADERS["JWT-10"] = {
    "typ missing": lambda f: f.with_header(drop=("typ",)),
    "typ JWT": lambda f: f.with_header(typ="JWT"),
    "typ rt+jwt": lambda f: f.with_header(typ="rt+jwt"),
    "typ verify+jwt": lambda f: f.with_header(typ="verify+jwt"),
    "typ in capitals": lambda f: f.with_header(typ="AT+JWT"),
    "typ with its prefix": lambda f: f.with_header(typ="application/at+jwt"),
    "typ a number": lambda f: f.with_header(typ=1),
}
HEADERS["JWT-12"] = {"cty JWT": lambda f: f.with_header(cty="JWT")}
HEADERS["JWT-22"] = {
    "alg twice": lambda f: f.sign(json.dumps(f.header).replace('"alg"', '"alg": "none", "alg"').encode(), f.claims),
}
HEADERS["JWT-23"] = {
    "header an array": lambda f: f.sign([], f.claims),
    "header with a BOM": lambda f: f.sign(b"\xef\xbb\xbf" + json.dumps(f.header).encode(), f.claims),
    "header UTF-16": lambda f: f.sign(json.dumps(f.header).encode("utf-16"), f.claims),
    "header no JSON": lambda f: f.sign(b"{", f.claims),
}
HEADERS["JWT-24"] = {
    "header nested 1000 deep": lambda f: f.sign(b"[" * 1000, f.claims),
    "header nested 100,000 deep": lambda f: f.sign(b"[" * 100_000, f.claims),
    "1 MB of header": lambda f: f.with_header(padding="x" * 1_000_000),
}
KEYS: dict[str, dict[str, Forgery]] = {}
KEYS["JWT-06"] = {
    f"signed with {name}": lambda f, key=key: f.sign(f.header, f.claims, key=key)  # type: ignore[misc]
    for name, key in {
        "nothing": b"",
        "secret": "secret",
        "changeme": "changeme",
        "the key of Django": SECRET_KEY,
        "the key id": "kid",
        "the key without its last letter": KEY[:-1],
        "a derived key": hmac.digest(b"ninja_auth_kit", KEY.encode(), "sha256"),
        **{f"published example {number}": example for number, example in enumerate(sorted(PUBLISHED_KEYS))},
    }.items()
}
SHAPES: dict[str, dict[str, Forgery]] = {}
SHAPES["JWT-01"] = {
    "one bit of the payload": lambda f: ".".join([f.segments[0], _other_bit(f.segments[1]), f.segments[2]]),
    "a changed payload": lambda f: ".".join([f.segments[0], encode(b'{"sub": "999"}'), f.segments[2]]),
    "a changed signature": lambda f: f.token[:-10] + ("A" if f.token[-10] != "A" else "B") + f.token[-9:],
}
SHAPES["JWT-13"] = {
    "no segment": lambda f: "",
    "one segment": lambda f: f.segments[0],
    "two segments": lambda f: ".".join(f.segments[:2]),
    "four segments": lambda f: f.token + ".x",
    "empty segments": lambda f: "..",
    "an empty payload": lambda f: f"{f.segments[0]}..{f.segments[2]}",
    "an empty signature": lambda f: ".".join(f.segments[:2]) + ".",
    "padding": lambda f: f.token + "=",
    "more padding": lambda f: f.token + "==",
    "padding inside": lambda f: f"{f.segments[0]}=.{f.segments[1]}.{f.segments[2]}",
    "a plus": lambda f: f.token[:-3] + "+" + f.token[-2:],
    "a slash": lambda f: f.token[:-3] + "/" + f.token[-2:],
    "a space inside": lambda f: f.token[:20] + " " + f.token[20:],
    "a tab inside": lambda f: f.token[:20] + "\t" + f.token[20:],
    "a line feed after": lambda f: f.token + "\n",
    "a carriage return after": lambda f: f.token + "\r",
    "NUL": lambda f: f.token[:20] + "\x00" + f.token[20:],
    "a percent encoding": lambda f: f.token.replace(".", "%2e"),
    "a letter with an accent": lambda f: f.token[:20] + "\u00e9" + f.token[21:],
    "quotes": lambda f: f'"{f.token}"',
}
SHAPES["JWT-14"] = {"unused bits of the signature": lambda f: f.token[:-1] + _other_unused_bits(f.token[-1])}
SHAPES["JWT-12"] = {
    "five segments, as a JWE": lambda f: f.token + ".x.y",
    "flattened JSON": lambda f: json.dumps(
        {"protected": f.segments[0], "payload": f.segments[1], "signature": f.segments[2]}
    ),
    "general JSON": lambda f: json.dumps(
        {"payload": f.segments[1], "signatures": [{"protected": f.segments[0], "signature": f.segments[2]}]}
    ),
    "nested": lambda f: f.sign({**f.header, "cty": "JWT"}, f.token.encode()),
}
SHAPES["JWT-24"] = {
    "over 4 kB": lambda f: f.with_claims(padding="x" * 4000),
    "1 MB of claims": lambda f: f.with_claims(padding="x" * 1_000_000),
    "100,000 deep": lambda f: f.sign(f.header, b'{"a":' * 100_000),
    "a payload 700 deep": lambda f: f.sign(f.header, b"[" * 700 + b"]" * 700),
}
PAYLOADS: dict[str, dict[str, Forgery]] = {}
PAYLOADS["JWT-23"] = {
    "an array": lambda f: f.sign(f.header, [f.claims]),
    "a string": lambda f: f.sign(f.header, json.dumps("x").encode()),
    "a number": lambda f: f.sign(f.header, b"7"),
    "null": lambda f: f.sign(f.header, b"null"),
    "no JSON": lambda f: f.sign(f.header, b"{"),
    "UTF-16": lambda f: f.sign(f.header, json.dumps(f.claims).encode("utf-16")),
    "UTF-16 without a mark": lambda f: f.sign(f.header, json.dumps(f.claims).encode("utf-16-le")),
    "a byte order mark": lambda f: f.sign(f.header, b"\xef\xbb\xbf" + json.dumps(f.claims).encode()),
    "no UTF-8": lambda f: f.sign(f.header, json.dumps(f.claims).encode() + b"\xff"),
    "NaN somewhere": lambda f: f.with_raw_claim("x", "NaN"),
    "Infinity somewhere": lambda f: f.with_raw_claim("x", "-Infinity"),
}
PAYLOADS["JWT-22"] = {
    "sub twice, ours last": lambda f: f.sign(
        f.header, json.dumps(f.claims).replace('"sub"', '"sub": "1", "sub"').encode()
    ),
    "sub twice, ours first": lambda f: f.sign(f.header, (json.dumps(f.claims)[:-1] + ', "sub": "1"}').encode()),
}
TIMES = {
    "absent": None,
    "null": "null",
    "a string": '"1999999999"',
    "a padded string": '" 1999999999 "',
    "other digits": '"١٩٩٩٩٩٩٩٩٩"',
    "true": "true",
    "a float": "1999999999.0",
    "an array": "[1999999999]",
    "an object": "{}",
    "zero": "0",
    "negative": "-1",
    "1e400": "1e400",
    "NaN": "NaN",
    "Infinity": "Infinity",
    "400 digits": "9" * 400,
    "2,500 digits": "9" * 2500,
    "5,000 digits": "9" * 5000,
}
for _id, _claim in (("JWT-15", "exp"), ("JWT-16", "iat")):
    PAYLOADS[_id] = {
        f"{_claim} {name}": lambda f, claim=_claim, literal=literal: (  # type: ignore[misc]
            f.with_claims(drop=(claim,)) if literal is None else f.with_raw_claim(claim, literal)
        )
        for name, literal in TIMES.items()
    }
PAYLOADS["JWT-16"] |= {
    f"nbf {name}": lambda f, literal=literal: f.with_raw_claim("nbf", literal)  # type: ignore[misc]
    for name, literal in TIMES.items()
    if literal is not None
}
PAYLOADS["JWT-16"] |= {
    "nbf in the future": lambda f: f.with_claims(nbf=f.claims["iat"] + 3600),
    "iat in the future": lambda f: f.with_claims(iat=f.claims["iat"] + 3600, exp=f.claims["exp"] + 3600),
    "iat after exp": lambda f: f.with_claims(iat=f.claims["exp"] + 1),
    "a lifetime over the configured one": lambda f: f.with_claims(exp=f.claims["iat"] + 301),
    "exp is iat": lambda f: f.with_claims(exp=f.claims["iat"]),
}
# A claim of another type than a string, a missing claim and an empty claim violate the profile;
# other values violate the rule of the claim.
PAYLOADS["JWT-18"], PAYLOADS["JWT-19"], PAYLOADS["JWT-20"], PAYLOADS["JWT-21"] = {}, {}, {}, {}
for _claim in ("exp", "iat"):
    PAYLOADS["JWT-18"][f"{_claim} missing"] = lambda f, claim=_claim: f.with_claims(drop=(claim,))  # type: ignore[misc]
for _id, _claim in (("JWT-19", "iss"), ("JWT-20", "aud"), ("JWT-21", "sub"), ("JWT-21", "jti"), ("JWT-21", "sid")):
    PAYLOADS["JWT-18"] |= {
        f"{_claim} absent": lambda f, claim=_claim: f.with_claims(drop=(claim,)),  # type: ignore[misc]
        f"{_claim} null": lambda f, claim=_claim: f.with_claims(**{claim: None}),  # type: ignore[misc]
        f"{_claim} empty": lambda f, claim=_claim: f.with_claims(**{claim: ""}),  # type: ignore[misc]
    }
    PAYLOADS[_id] |= {
        f"{_claim} {name}": lambda f, claim=_claim, value=value: f.with_claims(**{claim: value})  # type: ignore[misc]
        for name, value in {
            "a number": 1,
            "an array": ["ninja-auth-kit"],
            "an empty array": [],
            "an object": {},
            "true": True,
            "NUL": "\x00",
            "a lone surrogate": "\ud800",
            "2 kB": "x" * 2000,
            "10 kB": "x" * 10_000,
        }.items()
        if not (_claim == "jti" and name == "2 kB")
    }
for _id, _claim in (("JWT-19", "iss"), ("JWT-20", "aud")):
    PAYLOADS[_id] |= {
        f"{_claim} {name}": lambda f, claim=_claim, value=value: f.with_claims(**{claim: value})  # type: ignore[misc]
        for name, value in {
            "a prefix": "ninja-auth",
            "longer": "ninja-auth-kit/",
            "in capitals": "Ninja-Auth-Kit",
            "with a space": "ninja-auth-kit ",
            "another": "other",
            "right and another": ["ninja-auth-kit", "other"],
        }.items()
    }
PAYLOADS["JWT-21"] |= {
    "sub of nobody": lambda f: f.with_claims(sub="999999"),
    "sid of no session": lambda f: f.with_claims(sid=str(uuid.uuid4())),
    "sid no UUID": lambda f: f.with_claims(sid="not-a-uuid"),
    "sid in capitals": lambda f: f.with_claims(sid=f.claims["sid"].upper()),
    "sid without dashes": lambda f: f.with_claims(sid=f.claims["sid"].replace("-", "")),
    "sid as a URN": lambda f: f.with_claims(sid="urn:uuid:" + f.claims["sid"]),
    "sid in braces": lambda f: f.with_claims(sid="{" + f.claims["sid"] + "}"),
}


def _other_unused_bits(letter: str) -> str:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return alphabet[alphabet.index(letter) ^ 1]


def _other_bit(segment: str) -> str:
    data = bytearray(decode(segment))
    data[len(data) // 2] ^= 1
    return encode(bytes(data))


def _with_alg(header: dict[str, Any], alg: str | None) -> dict[str, Any]:
    return {name: value for name, value in {**header, "alg": alg}.items() if value is not None}


CORPUS = [
    pytest.param(forge, id=f"{requirement} {name}", marks=pytest.mark.security(requirement))
    for part in (HEADERS, KEYS, SHAPES, PAYLOADS)
    for requirement, forgeries in part.items()
    for name, forge in forgeries.items()
]


# Without `transaction=True`, because hundreds of cases would each empty the tables.
@pytest.mark.django_db
@pytest.mark.security("JWT-26")
@pytest.mark.parametrize("forge", CORPUS)
def test_every_forgery_gets_one_and_the_same_answer(algorithm: str, api: Api, forger: Forger, forge: Forgery) -> None:
    assert forger.header["alg"] == algorithm
    reference = api.get("me", token="bad")
    assert (reference.status_code, reference.json()["code"]) == (401, "invalid_token")
    assert reference["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    assert reference["Content-Type"] == "application/problem+json"
    assert reference["Cache-Control"] == "no-store"
    sessions = list(UserSession.objects.values())

    response = api.get("me", token=forge(forger))

    assert (response.status_code, response.content) == (401, reference.content)
    assert sorted(response.headers.items()) == sorted(reference.headers.items())
    assert list(UserSession.objects.values()) == sessions
    assert api.is_in(forger.token)


@pytest.mark.security("JWT-01")
def test_a_genuine_token_gets_in(algorithm: str, api: Api, forger: Forger) -> None:
    assert api.is_in(forger.token)
    assert api.is_in(forger.sign(forger.header, forger.claims))
    assert forger.header == {"alg": algorithm, "typ": "at+jwt", "kid": forger.header["kid"]}
    assert set(forger.claims) == {"iss", "aud", "sub", "sid", "jti", "iat", "exp", "acr", "amr", "auth_time"}


@pytest.mark.security("JWT-01")
def test_a_token_that_got_in_opens_nothing_for_one_that_looks_like_it(
    algorithm: str, api: Api, forger: Forger
) -> None:
    """Verify the signature of every token that differs from an accepted one.

    The signature of a token that was accepted before is not verified again.
    """
    header, payload, signature = forger.segments
    others = [f"{header}.{payload}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}", f"{header}.{payload}.A"]
    others += [forger.sign(forger.header, {**forger.claims, "sub": "1"}, key=b"guessed"), forger.token[:-1]]
    for _ in range(2):
        assert api.is_in(forger.token)
        assert not any(api.is_in(other) for other in others)


@pytest.mark.security("JWT-27")
def test_a_token_that_got_in_is_refused_once_its_key_or_its_audience_is_gone(
    api: Api, user: Any, kit: Callable[..., None]
) -> None:
    listed = [{"alg": "ES256", "key": PEM, "state": "active"}]
    kit(SIGNING_KEYS=listed)
    token = api.pair()["access_token"]
    assert api.is_in(token)

    kit(SIGNING_KEYS=[])
    assert not api.is_in(token)
    kit(SIGNING_KEYS=listed)
    assert api.is_in(token)
    kit(AUDIENCE="somebody else")
    assert not api.is_in(token)


def test_what_a_route_does_to_the_claims_of_a_token_is_not_there_when_it_comes_again(
    user: Any, forger: Forger
) -> None:
    token = new_access_token(user_id=str(user.pk), session_id=uuid.uuid4(), extra={"roles": ["reader"]})

    for _ in range(2):
        roles = read_access_token(token).extra["roles"]
        assert roles == ["reader"]
        roles.append("admin")


@pytest.mark.security("JWT-06")
def test_no_word_of_a_list_is_the_key(forger: Forger) -> None:
    words = sorted(CommonPasswordValidator().passwords)[:10_000]

    for word in words:
        with pytest.raises(InvalidTokenError):
            read_access_token(forger.sign(forger.header, forger.claims, key=word))

    assert len(words) == 10_000


@pytest.mark.django_db(transaction=True)
@pytest.mark.security("JWT-10", "JWT-11")
def test_no_other_token_of_the_kit_is_an_access_token(api: Api, user: Any) -> None:
    pair = api.pair()
    api.register("new@example.com")
    verification = mailed_token()
    api.post("password/reset", {"email": EMAIL})
    reset = mailed_token()

    for token in (pair["refresh_token"], verification, reset):
        assert api.get("me", token=token).json()["code"] == "invalid_token"
    assert api.post("refresh", {"refresh_token": pair["access_token"]}).json()["code"] == "invalid_token"
    assert UserSession.objects.get().generation == 0
    assert api.post("verify-email", {"token": verification, "password": PASSWORD}).status_code == 200


@pytest.mark.security("JWT-17")
def test_a_token_is_good_until_the_second_it_expires(api: Api, user: Any) -> None:
    with time_machine.travel(timezone.now().replace(microsecond=0), tick=False) as clock:
        token = api.pair()["access_token"]
        clock.shift(timedelta(seconds=299))
        assert api.is_in(token)

        clock.shift(timedelta(seconds=1))

        response = api.get("me", token=token)
        assert (response.status_code, response.json()["code"]) == (401, "token_expired")


@pytest.mark.security("JWT-16")
@pytest.mark.parametrize("claim", ["iat", "nbf"])
def test_the_clock_of_another_host_may_be_a_minute_ahead_and_no_more(api: Api, user: Any, claim: str) -> None:
    with time_machine.travel(timezone.now().replace(microsecond=0), tick=False):
        forger = Forger(api.pair()["access_token"])
        now = forger.claims["iat"]

        assert api.is_in(forger.with_claims(**{claim: now + 60}))
        assert not api.is_in(forger.with_claims(**{claim: now + 61}))


@pytest.mark.security("JWT-16")
def test_servers_with_clocks_apart_accept_the_tokens_of_each_other(api: Api, user: Any) -> None:
    with time_machine.travel(timezone.now().replace(microsecond=0), tick=False) as clock:
        pair = api.pair()

        clock.shift(timedelta(seconds=-45))  # the next request reaches another server
        assert api.is_in(pair["access_token"])
        refreshed = api.post("refresh", {"refresh_token": pair["refresh_token"]}).json()

        clock.shift(timedelta(seconds=90))
        assert api.is_in(refreshed["access_token"])
        again = api.post("refresh", {"refresh_token": refreshed["refresh_token"]}).json()

        clock.shift(timedelta(seconds=-45))
        repeated = api.post("refresh", {"refresh_token": refreshed["refresh_token"]}).json()
        assert repeated["refresh_token"] == again["refresh_token"]
        assert api.post("logout", token=repeated["access_token"]).status_code == 204
        assert not api.is_in(again["access_token"])


@pytest.mark.security("JWT-26")
def test_that_a_token_has_expired_is_told_after_a_genuine_signature_alone(api: Api, forger: Forger) -> None:
    past = {"iat": forger.claims["iat"] - 1000, "exp": forger.claims["exp"] - 1000}
    expired = forger.with_claims(**past)
    forged = forger.sign(forger.header, {**forger.claims, **past}, key=b"guessed")

    assert api.get("me", token=expired).json()["code"] == "token_expired"
    assert api.get("me", token=forged).json()["code"] == "invalid_token"


@pytest.mark.security("JWT-21")
def test_the_subject_and_the_session_belong_together(api: Api, make_user: Callable[..., Any]) -> None:
    make_user()
    make_user("bob@example.com")
    ada, bob = (Forger(api.pair(email)["access_token"]) for email in ("ada@example.com", "bob@example.com"))

    assert not api.is_in(ada.with_claims(sub=bob.claims["sub"]))
    assert not api.is_in(ada.with_claims(sid=bob.claims["sid"]))


@pytest.mark.security("JWT-25")
def test_there_is_one_way_to_send_a_token(api: Api, forger: Forger) -> None:
    token = forger.token
    api.client.cookies["access_token"] = token
    refused = [
        api.get(f"me?access_token={token}"),
        api.get(f"me?authorization=Bearer%20{token}"),
        api("GET", "me", f"access_token={token}".encode(), content_type="application/x-www-form-urlencoded"),
        api("GET", "me", {"access_token": token}),
        api.get("me", HTTP_AUTHORIZATION=token),
        *(
            api.get("me", HTTP_AUTHORIZATION=value)
            for value in (
                "",
                "Bearer",
                "Bearer ",
                f"Bearer\t{token}",
                f"Bearer \t{token}",
                f"Bearer {token} x",
                f"Bearer {token}, Bearer {token}",
                f"Bearer {token},Bearer {token}",  # servers join two headers like this
                f"Token {token}",
                f"JWT {token}",
                f"Basic {token}",
                f"BearerX {token}",
            )
        ),
    ]

    assert {response.status_code for response in refused} == {401}
    assert len({response.content for response in refused}) == 1
    for scheme in ("Bearer", "bearer", "BEARER", "bEaReR"):
        assert api.get("me", HTTP_AUTHORIZATION=f"{scheme} {token}").status_code == 200
    # RFC 9110: one or more spaces (section 11.4), and white space around a field value (section 5.5).
    for value in (f"Bearer  {token}", f"Bearer {token} ", f"\tBearer {token}"):
        assert api.get("me", HTTP_AUTHORIZATION=value).status_code == 200


@pytest.mark.security("JWT-24")
def test_a_token_that_is_too_long_is_not_even_decoded(forger: Forger, monkeypatch: pytest.MonkeyPatch) -> None:
    long = [forge(forger) for part in (HEADERS, SHAPES) for forge in part["JWT-24"].values()]
    monkeypatch.setattr(access, "urlsafe_b64decode", lambda *_: pytest.fail("the token was decoded"))

    for token in (token for token in long if len(token) > access.MAXIMUM_LENGTH):
        with pytest.raises(InvalidTokenError):
            read_access_token(token)

    assert access.MAXIMUM_LENGTH == 4096
    assert len([token for token in long if len(token) > access.MAXIMUM_LENGTH]) >= 4


@pytest.mark.race
@pytest.mark.security("JWT-24")
def test_hostile_tokens_cost_little() -> None:
    """Reject a huge token in less time than a hundred small ones, on a machine of any speed."""
    huge = ["x" * 1_000_000, "." * 1_000_000, f"{'A' * 1_000_000}.A.A", "é" * 1_000_000]

    def duration(token: str) -> float:
        start = time.perf_counter()
        with pytest.raises(InvalidTokenError):
            read_access_token(token)
        return time.perf_counter() - start

    small = min(duration("eyJ.x.x") for _ in range(20))
    assert max(min(duration(token) for _ in range(3)) for token in huge) < 100 * small + 0.05


@pytest.mark.race
@pytest.mark.security("JWT-26")
def test_no_reason_shows_in_the_time_of_the_answer(api: Api, forger: Forger) -> None:
    """Reject forgeries at each step, from the length to the session, in nearly the same time.

    The bound of 5 ms is far above the duration of a step.
    """
    tokens = {
        "garbage": "bad",
        "over 4 kB": SHAPES["JWT-24"]["over 4 kB"](forger),
        "kid unknown": HEADERS["JWT-07"]["kid unknown"](forger),
        "another key": KEYS["JWT-06"]["signed with secret"](forger),
        "another issuer": PAYLOADS["JWT-19"]["iss another"](forger),
        "no such session": PAYLOADS["JWT-21"]["sid of no session"](forger),
    }
    samples: dict[str, list[float]] = {name: [] for name in tokens}
    for _ in range(105):
        for name, token in tokens.items():
            start = time.perf_counter()
            assert api.get("me", token=token).status_code == 401
            samples[name].append(time.perf_counter() - start)

    medians = {name: statistics.median(times[5:]) for name, times in samples.items()}

    assert max(medians.values()) - min(medians.values()) < 0.005, medians


@pytest.mark.security("SES-18")
def test_a_token_lives_as_long_as_the_answer_says_and_a_quarter_of_an_hour_at_most(api: Api, user: Any) -> None:
    pair = api.pair()
    claims = Forger(pair["access_token"]).claims

    assert claims["exp"] - claims["iat"] == pair["expires_in"] <= 15 * 60


def test_what_is_read_is_what_the_token_says(forger: Forger) -> None:
    said = forger.claims

    read = read_access_token(forger.token)

    assert (read.user_id, read.session_id, read.token_id) == (said["sub"], uuid.UUID(said["sid"]), said["jti"])
    assert (read.issued_at, read.expires_at, read.extra) == (said["iat"], said["exp"], {})


@pytest.mark.security("SES-19")
def test_what_is_stored_is_what_the_standard_derivation_gives_so_no_release_forgets_what_another_wrote() -> None:
    def derived(label: str) -> bytes:
        return HKDF(SHA256(), length=32, salt=b"ninja_auth_kit", info=label.encode()).derive(KEY.encode())

    def name(label: str) -> str:
        return derived(f"id of {label}")[:4].hex()

    def mac(label: str, value: bytes) -> bytes:
        return hmac.digest(derived(label), value, "sha256")

    def digest(label: str, value: bytes) -> str:
        return f"v1${name(label)}${mac(label, value).hex()}"

    session_id, typed = uuid.uuid4(), "ada\ud800"
    body = session_id.bytes + bytes([1, 0, 2, 3])
    token = "nakr_" + encode(body + mac("refresh token", body))
    surrogate = b"ada\xed\xa0\x80"
    generation = int.from_bytes(body[16:])
    assert issue_refresh_token(session_id=session_id, generation=generation) == token
    assert read_refresh_token(token) == RefreshClaims(session_id, generation)
    assert refresh_token_digest(token, user_id=7) == digest("refresh token", f"{token} 7".encode())
    assert password_fingerprint("md5$x") == digest("password fingerprint", b"md5$x")
    assert one_time_token_digest(purpose="verify", token="nako_x") == digest("one-time token: verify", b"nako_x")
    assert pseudonym(typed) == f"{name('pseudonym')}:{mac('pseudonym', surrogate)[:16].hex()}"
    assert bucket_id(typed) == uuid.UUID(bytes=mac("throttle bucket", surrogate)[:16])
    assert key_ring().signing.kid == name("access token")


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_other_algorithms_work_with_a_longer_key(settings: Settings, kit: Callable[..., None], algorithm: str) -> None:
    settings.JWT_SECRET_KEY = KEY * 2
    kit(JWT_ALGORITHM=algorithm)
    session_id = uuid.uuid4()

    token = new_access_token(user_id="7", session_id=session_id)

    assert Forger(token).header["alg"] == algorithm
    assert read_access_token(token).session_id == session_id
    kit(JWT_ALGORITHM="HS256")
    with pytest.raises(InvalidTokenError):
        read_access_token(token)


def test_two_services_with_other_names_do_not_take_each_others_tokens(kit: Callable[..., None]) -> None:
    token = new_access_token(user_id="7", session_id=uuid.uuid4())

    for name in ("ISSUER", "AUDIENCE"):
        kit(ISSUER="ninja-auth-kit", AUDIENCE="ninja-auth-kit")
        kit(**{name: "another"})
        with pytest.raises(InvalidTokenError):
            read_access_token(token)


def test_a_client_id_is_added_for_verifiers_and_is_not_checked(
    api: Api, user: Any, kit: Callable[..., None], algorithm: str
) -> None:
    kit(CLIENT_ID="web")
    pair = api.pair()
    kit(CLIENT_ID="app")
    refreshed = api.post("refresh", {"refresh_token": pair["refresh_token"]}).json()
    kit(CLIENT_ID=None)
    without = api.post("refresh", {"refresh_token": refreshed["refresh_token"]}).json()

    tokens = [each["access_token"] for each in (pair, refreshed, without)]
    assert [Forger(token).claims.get("client_id") for token in tokens] == ["web", "app", None]
    assert "client_id" not in Forger(tokens[2]).claims
    assert all(map(api.is_in, tokens))
    assert all(read_access_token(token).extra == {} for token in tokens)


@pytest.mark.security("SES-20")
def test_ten_thousand_tokens_are_all_different() -> None:
    session_id = uuid.uuid4()

    tokens = {new_access_token(user_id="7", session_id=session_id) for _ in range(10_000)}

    assert len(tokens) == 10_000


@pytest.mark.security("SES-19")
def test_nothing_that_stands_in_the_database_opens_anything(api: Api, user: Any) -> None:
    pair = api.pair()
    api.post("refresh", {"refresh_token": pair["refresh_token"]})
    api.login()
    values = set(_every_text())

    for value in values:
        pieces = {value, *value.split("$"), *value.split(":")}
        for piece in pieces:
            assert api.post("refresh", {"refresh_token": piece}).status_code in {401, 422}
            assert api.post("verify-email", {"token": piece, "password": "x"}).status_code in {400, 422}
            assert api.get("me", token=piece.encode("latin-1", "replace").decode("latin-1")).status_code == 401


def _every_text() -> Iterator[str]:
    from django.apps import apps

    for model in (*apps.get_app_config("ninja_auth_kit").get_models(), get_user_model()):
        for row in model._base_manager.values_list():
            yield from (str(value) for value in row if value is not None and value != "")
