"""Verifiers of other projects, with tokens and keys of a real server: rows of `docs/verifying-tokens.md`."""

import json
import ssl
import subprocess
import threading
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any
from wsgiref.simple_server import make_server

import jwt
import pika
import pika.exceptions
import pytest
import time_machine
from authlib.oauth2.rfc6750.errors import InvalidTokenError
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
from django.core.wsgi import get_wsgi_application
from django.utils import timezone
from joserfc.jwk import KeySet
from pytest_django import Settings

from ninja_auth_kit.conf import settings as kit_settings
from ninja_auth_kit.tokens import key_ring
from tests.audit.test_tls import certificate
from tests.conftest import new_access_token
from tests.howto import install_from_npm, program
from tests.keys import ASYMMETRIC_ALGORITHMS, entry, pem
from tests.private_broker import PrivateBroker, is_installed
from tests.test_tokens import decode
from tests.test_verifying_tokens import AUDIENCE, PAGE, QuietHandler, issuer

__all__ = ["issuer"]  # fixtures

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_user_model, pytest.mark.one_django]

PACKAGES = {
    "aws-jwt-verify": "5.2.1",
    "express-oauth2-jwt-bearer": "1.10.0",
    "hono": "4.13.19",
    "jose": "6.2.18",
    "jsonwebtoken": "9.0.3",
    "jwks-rsa": "4.1.0",
    "oauth4webapi": "3.8.8",
}
# Reads the issuer, the audience and the tokens, and prints the tokens that each verifier accepts.
VERIFIERS = """
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
const require = createRequire(import.meta.url);
const { issuer, audience, algorithms, tokens } = JSON.parse(readFileSync(0));
const keys = `${issuer}/.well-known/jwks.json`;

const { createRemoteJWKSet, jwtVerify } = await import("jose");
const set = createRemoteJWKSet(new URL(keys));
const jose = (token) => jwtVerify(token, set, { issuer, audience, typ: "at+jwt", algorithms });

const oauth = await import("oauth4webapi");
const server = { issuer, jwks_uri: keys };
const request = (token) => new Request(issuer, { headers: { Authorization: `Bearer ${token}` } });
const insecure = { [oauth.allowInsecureRequests]: true };
const oauth4webapi = (token) => oauth.validateJwtAccessToken(server, request(token), audience, insecure);

const { Hono } = await import("hono");
const { jwk } = await import("hono/jwk");
const hono = (verification) => {
  const app = new Hono();
  app.use(jwk({ jwks_uri: keys, alg: algorithms, verification }));
  app.all("*", (context) => context.text("in"));
  return async (token) => {
    const answer = await app.request(request(token));
    if (answer.status !== 200) throw new Error(answer.status);
  };
};

const { JwtVerifier } = require("aws-jwt-verify");
const { SimpleJwksCache } = require("aws-jwt-verify/jwk");
const fetcher = { fetch: async (uri) => (await fetch(uri)).arrayBuffer() }; // its own takes https only
const aws = JwtVerifier.create({ issuer, audience }, { jwksCache: new SimpleJwksCache({ fetcher }) });

const jsonwebtoken = require("jsonwebtoken");
const client = require("jwks-rsa")({ jwksUri: keys });
const named = ({ kid }, done) =>
  client.getSigningKey(kid).then((key) => done(null, key.getPublicKey()), (error) => done(error));
const rules = { issuer, audience, algorithms: algorithms.filter((name) => name !== "EdDSA") };
const auth0 = (token) =>
  new Promise((resolve, reject) =>
    jsonwebtoken.verify(token, named, rules, (error) => (error ? reject(error) : resolve())),
  );

const { auth } = require("express-oauth2-jwt-bearer");
const bearer = auth({ jwksUri: keys, issuer, audience, strict: true });
const express = (token) => {
  const headers = { authorization: `Bearer ${token}`, host: "localhost" };
  const call = { headers, url: "/", originalUrl: "/", protocol: "http", method: "GET", query: {}, is: () => false };
  return new Promise((resolve, reject) =>
    bearer({ ...call, get: (name) => headers[name.toLowerCase()] }, {}, (error) => error ? reject(error) : resolve()),
  );
};

const verifiers = {
  jose,
  oauth4webapi,
  "hono": hono({ iss: issuer, aud: audience, typ: "at+jwt" }),
  "hono without iat": hono({ iss: issuer, aud: audience, typ: "at+jwt", iat: false }),
  "hono without typ": hono({ iss: issuer, aud: audience, iat: false }),
  "aws-jwt-verify": (token) => aws.verify(token),
  "jsonwebtoken": auth0,
  "express-oauth2-jwt-bearer": express,
};
const accepted = {};
for (const [name, verify] of Object.entries(verifiers)) {
  accepted[name] = [];
  for (const [kind, token] of Object.entries(tokens)) {
    await verify(token).then(() => accepted[name].push(kind), () => {});
  }
}
console.log(JSON.stringify(accepted));
"""


@pytest.fixture
def configure(issuer: str, settings: Settings) -> Callable[..., None]:
    """Return a function that configures the issuer as the page recommends, with other keys of NINJA_AUTH_KIT."""

    def configured(signing: str = "ES256", **keys: Any) -> None:
        settings.NINJA_AUTH_KIT = {
            **settings.NINJA_AUTH_KIT,
            "ISSUER": f"{issuer}/api/auth",
            "AUDIENCE": AUDIENCE,
            "SIGNING_KEYS": [
                entry(name, pem(name), "active" if name == signing else "verify-only")
                for name in ASYMMETRIC_ALGORITHMS
            ],
            "CLIENT_ID": "web",
            **keys,
        }

    configured()
    return configured


def issue(seconds_ahead: int = 0) -> str:
    """Return a token that was issued by a server whose clock is ahead."""
    with time_machine.travel(timezone.now() + timedelta(seconds=seconds_ahead)):
        return new_access_token(user_id="7", session_id=uuid.uuid4())


def of_another_type() -> str:
    """Return a token with the claims of an access token, which the same key has signed as a token of another type."""
    key = key_ring().signing
    payload = decode(issue().split(".")[1])
    return jwt.api_jws.encode(payload, pem("ES256"), "ES256", {"typ": "JWT", "kid": key.kid})


def tokens(configure: Callable[..., None], issuer: str) -> dict[str, str]:
    """Return a token of each kind that verifiers tell apart, and a genuine one of each algorithm."""
    found = {"genuine": issue(), "a minute ahead": issue(60), "of another type": of_another_type()}
    others: dict[str, dict[str, Any]] = {
        "without client_id": {"CLIENT_ID": None},
        "for another audience": {"AUDIENCE": "https://other.example.com"},
        "of another issuer": {"ISSUER": "https://evil.example.com"},
        **{name: {"signing": name} for name in ASYMMETRIC_ALGORITHMS},
    }
    for kind, keys in others.items():
        configure(**keys)
        found[kind] = issue()
    configure()
    found["expired"] = issue(-3600)
    return found


@pytest.mark.demo
def test_verifiers_in_javascript_accept_what_the_page_says(
    configure: Callable[..., None], issuer: str, tmp_path: Path
) -> None:
    install_from_npm(tmp_path / "service", *(f"{name}@{version}" for name, version in PACKAGES.items()))
    script = tmp_path / "service" / "verifiers.mjs"
    script.write_text(VERIFIERS)
    told = {"audience": AUDIENCE, "algorithms": list(ASYMMETRIC_ALGORITHMS), "tokens": tokens(configure, issuer)}
    told["issuer"] = kit_settings.ISSUER

    done = subprocess.run(
        [program("node"), str(script)], input=json.dumps(told), capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 0, done.stderr
    accepted = {name: set(kinds) for name, kinds in json.loads(done.stdout).items()}
    all_four, ahead, nameless = {"genuine", *ASYMMETRIC_ALGORITHMS}, {"a minute ahead"}, {"without client_id"}
    untyped = {"of another type"}
    assert accepted == {
        "jose": all_four | ahead | nameless,
        "oauth4webapi": all_four | ahead,
        "hono": all_four | nameless,
        "hono without iat": all_four | ahead | nameless,
        "hono without typ": untyped,
        "aws-jwt-verify": (all_four | ahead | nameless | untyped) - {"PS256"},
        "jsonwebtoken": (all_four | ahead | nameless | untyped) - {"EdDSA"},
        "express-oauth2-jwt-bearer": all_four | ahead,
    }
    assert [name for name, version in PACKAGES.items() if f"{name} {version}" not in PAGE] == []


def test_authlib_requires_the_client_id_that_a_setting_adds(configure: Callable[..., None], issuer: str) -> None:
    class Validator(JWTBearerTokenValidator):
        def get_jwks(self) -> KeySet:
            with urllib.request.urlopen(f"{issuer}/api/auth/.well-known/jwks.json") as response:
                return KeySet.import_key_set(json.load(response))

    validator = Validator(issuer=f"{issuer}/api/auth", resource_server=AUDIENCE)

    def accepts(token: str) -> bool:
        try:
            validator.validate_token(validator.authenticate_token(token), None, None)
        except InvalidTokenError:
            return False
        return True

    accepted = {kind for kind, token in tokens(configure, issuer).items() if accepts(token)}

    assert accepted == {"genuine", "ES256", "RS256"}


def test_pyjwt_verifies_with_the_url_and_the_leeway_of_the_page(configure: Callable[..., None], issuer: str) -> None:
    client = jwt.PyJWKClient(f"{kit_settings.ISSUER}/.well-known/jwks.json")

    def accepts(token: str, leeway: int) -> bool:
        rules = {"audience": AUDIENCE, "issuer": kit_settings.ISSUER, "leeway": leeway}
        try:
            jwt.decode(token, client.get_signing_key_from_jwt(token), list(ASYMMETRIC_ALGORITHMS), **rules)
        except jwt.InvalidTokenError:
            return False
        return True

    issued = tokens(configure, issuer)
    accepted = {leeway: {kind for kind, token in issued.items() if accepts(token, leeway)} for leeway in (0, 61)}

    assert accepted[0] == {"genuine", "of another type", "without client_id", *ASYMMETRIC_ALGORITHMS}
    assert accepted[61] - accepted[0] == {"a minute ahead"}


@pytest.fixture
def secure_issuer(tmp_path: Path) -> Iterator[str]:
    """Serve the kit by TLS, as RabbitMQ requires of the URL of the keys, and return its URL."""
    (tmp_path / "certificate.pem").write_bytes(certificate("localhost"))
    (tmp_path / "key.pem").write_text(pem("ES256"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    with make_server("127.0.0.1", 0, get_wsgi_application(), handler_class=QuietHandler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"https://localhost:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.private_broker
@pytest.mark.skipif(not is_installed(), reason="RabbitMQ is not installed")
def test_rabbitmq_takes_an_access_token_with_a_scope_for_a_password(
    configure: Callable[..., None], secure_issuer: str
) -> None:
    scope = {"scope": f"{AUDIENCE}.configure:*/*"}
    issued = {"with a scope": scope, "without a scope": {}, "with another scope": {"scope": "configure:*/*"}}
    passwords = {
        kind: new_access_token(user_id="7", session_id=uuid.uuid4(), extra=extra) for kind, extra in issued.items()
    }
    configure(AUDIENCE="https://other.example.com")
    passwords["for another audience"] = new_access_token(user_id="7", session_id=uuid.uuid4(), extra=scope)
    configure()
    broker = PrivateBroker()
    (broker.home / "enabled_plugins").write_text("[rabbitmq_auth_backend_oauth2].\n")
    (broker.home / "rabbitmq.conf").write_text(
        "auth_backends.1 = rabbit_auth_backend_oauth2\n"
        f"auth_oauth2.resource_server_id = {AUDIENCE}\n"
        f"auth_oauth2.jwks_url = {secure_issuer}/api/auth/.well-known/jwks.json\n"
        "auth_oauth2.https.peer_verification = verify_none\n"  # the certificate of the test is of no authority
    )

    def may_declare(password: str) -> bool:
        credentials = pika.PlainCredentials("ignored", password)
        parameters = pika.ConnectionParameters("127.0.0.1", broker.port, credentials=credentials)
        try:
            with closing(pika.BlockingConnection(parameters)) as connection:
                connection.channel().queue_declare("of-the-user")
        except pika.exceptions.AMQPError:
            return False
        return True

    try:
        broker.start()
        allowed = {kind for kind, password in passwords.items() if may_declare(password)}
    finally:
        broker.remove()

    assert allowed == {"with a scope"}
