"""`FakeProvider` for the tests of your project: it answers in place of a provider, without a network."""

import hashlib
import json
import secrets
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from django.utils import timezone

from ninja_auth_kit.contrib.oidc import http_client, metadata
from ninja_auth_kit.contrib.oidc.exceptions import ProviderUnavailableError
from ninja_auth_kit.contrib.oidc.exchange import client_secret
from ninja_auth_kit.contrib.oidc.http_client import Deadline, ProviderAnswer, ProviderRequest
from ninja_auth_kit.contrib.oidc.providers import find_provider
from ninja_auth_kit.tokens.asymmetric import load_key, new_pem
from ninja_auth_kit.tokens.id_tokens import sign_es256

_LIFETIME = 300  # seconds of an ID token


class FakeProvider:
    """A provider of `OIDC["PROVIDERS"]` that answers in the process of your tests. Use it in a `with` block.

        with FakeProvider("google") as google:
            body = {"purpose": "login", "redirect_uri": "https://example.com/login/done"}
            started = client.post("/api/auth/oidc/google/start", body, "application/json").json()
            answer = google.authorize(started["authorization_url"], email="ada@example.com")
            body = {"flow_token": started["flow_token"], **answer}
            response = client.post("/api/auth/oidc/google/finish", body, "application/json")

    It checks the code verifier, the client secret and the redirect URI as a provider does, and a code counts once. It
    works in this process and not in a server that your tests have started.

    Attributes:
        is_down: set it to True, and the provider does not answer.

    Args:
        provider: the id of the provider.

    Raises:
        ProviderNotFoundError: `OIDC["PROVIDERS"]` does not have it. The error is raised when the block is entered.
    """

    def __init__(self, provider: str) -> None:
        self.id, self._is_down = provider, False
        self._pem = new_pem("ES256")
        self._codes: dict[str, tuple[dict[str, str], dict[str, Any]]] = {}
        self._users: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Self:
        self._provider = find_provider(self.id)
        self._base = f"https://{self.id}.fake.invalid"
        self._others = http_client.send
        http_client.send = self._send
        metadata.forget()
        return self

    def __exit__(self, *_: object) -> None:
        http_client.send = self._others
        metadata.forget()

    @property
    def is_down(self) -> bool:
        """Whether it answers no request."""
        return self._is_down

    @is_down.setter
    def is_down(self, value: bool) -> None:
        self._is_down = value
        metadata.forget()  # what the kit has read of it, and that it has failed

    def authorize(
        self,
        url: str,
        *,
        subject: str = "the-subject",
        email: str = "ada@example.com",
        email_verified: Any = True,
        **claims: Any,
    ) -> dict[str, str]:
        """Log in at the provider, and return the parameters that it adds to the redirect URI.

        Args:
            url: the `authorization_url` of `start`.
            subject: the id of the user; digits, if the provider is GitHub.
            email: the address of the user.
            email_verified: whether the provider has verified it.
            claims: further claims of the ID token. One with the value None is left out.
        """
        query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        said = {"sub": subject, "email": email, "email_verified": email_verified, "nonce": query["nonce"], **claims}
        code = secrets.token_urlsafe(16)
        self._codes[code] = (query, said)
        return {"code": code, "state": query["state"]}

    def id_token(
        self, nonce: str, /, *, subject: str = "the-subject", email: str = "ada@example.com", **claims: Any
    ) -> str:
        """Return an ID token, as a native app gets it.

        Args:
            nonce: that of `start`.
            subject: the id of the user.
            email: the address of the user.
            claims: further claims, or other values for these. One with the value None is left out.
        """
        return self._signed({"sub": subject, "email": email, "email_verified": True, "nonce": nonce, **claims})

    def _signed(self, said: Mapping[str, Any]) -> str:
        now = int(timezone.now().timestamp())
        provider = self._provider
        tenant = {"tid": provider.accepted_tenants[0]} if provider.preset == "microsoft" else {}
        claims = {
            "iss": provider.issuer_of(tenant),
            "aud": provider.client_id,
            "iat": now,
            "exp": now + _LIFETIME,
            "auth_time": now,
            **tenant,
            **said,
        }
        present = {name: value for name, value in claims.items() if value is not None}
        return sign_es256(private_key=self._pem, key_id=load_key(self._pem, "ES256").kid, claims=present)

    def _send(self, request: ProviderRequest, deadline: Deadline) -> ProviderAnswer:
        provider, url = self._provider, request.url
        own = (provider.metadata_url, provider.issuer, self._base, provider.api or self._base)
        if not url.startswith(own):
            return self._others(request, deadline)
        if self._is_down:
            raise ProviderUnavailableError
        status, body = self._answer(request)
        return ProviderAnswer(status, json.dumps(body).encode())

    def _answer(self, request: ProviderRequest) -> tuple[int, Any]:
        provider = self._provider
        if request.fields is not None:
            return self._redeem(request, request.fields)
        if request.bearer is not None:
            user = self._users.get(request.bearer, {})
            is_verified = user.get("email_verified", False)
            emails = [{"email": user.get("email"), "primary": True, "verified": is_verified}]
            return 200, emails if request.url.endswith("/emails") else {"id": int(user.get("sub", 0))}
        if request.url == provider.metadata_url:
            endpoints = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
            return 200, {
                "issuer": provider.metadata_issuer,
                **{name: f"{self._base}/{path}" for name, path in endpoints.items()},
            }
        return 200, {"keys": [load_key(self._pem, "ES256").jwk]}

    def _redeem(self, request: ProviderRequest, fields: Mapping[str, str]) -> tuple[int, Any]:
        query, said = self._codes.pop(fields["code"], ({}, {}))
        digest = hashlib.sha256(fields["code_verifier"].encode()).digest()
        challenge = urlsafe_b64encode(digest).rstrip(b"=").decode()
        if query.get("code_challenge") != challenge or query["redirect_uri"] != fields["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        if not self._knows_client(request, fields):
            return 401, {"error": "invalid_client"}
        if self._provider.is_openid:
            return 200, {"access_token": "none", "token_type": "Bearer", "id_token": self._signed(said)}
        token = secrets.token_urlsafe(16)
        self._users[token] = said
        return 200, {"access_token": token, "token_type": "Bearer"}

    def _knows_client(self, request: ProviderRequest, fields: Mapping[str, str]) -> bool:
        header = request.headers().get("Authorization")
        if header is None:
            sent = (fields["client_id"], fields.get("client_secret"))
        else:
            client_id, _, secret = b64decode(header.removeprefix("Basic ")).decode().partition(":")
            sent = (unquote(client_id), unquote(secret))
        if self._provider.private_key:  # a JWT that is made for each request
            return sent[0] == self._provider.client_id and bool(sent[1])
        return sent == (self._provider.client_id, client_secret(self._provider))
