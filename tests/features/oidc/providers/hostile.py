"""An OpenID provider that tells the truth, or one lie.

    with Provider(lie="nonce") as provider:
        started = …                                     # at the kit, with a provider configured as `provider.config()`
        answer = provider.authorize(started["authorization_url"], account="ada")
        …                                               # finish at the kit with `answer`

It checks what a provider must check: the client, the redirect URI, PKCE with S256, and that a code is used once.
"""

import base64
import hashlib
import secrets
import time
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from tests.features.oidc.providers.loopback import FAULTS, Answer, Loopback, Request, as_json
from tests.features.oidc.providers.signing import PrivateKey, b64url, public_jwk, public_pem, rsa_key, sign

OTHER = "https://other.example.com"
# Each replaces a claim of the ID token, or removes it.
CLAIM_LIES: dict[str, dict[str, Any]] = {
    "iss": {"iss": OTHER},
    "iss_slash": {"iss": "<issuer>/"},
    "no_iss": {"iss": None},
    "aud": {"aud": "another-client"},
    "no_aud": {"aud": None},
    "aud_without_azp": {"aud": ["<client>", "another-client"]},
    "azp": {"aud": ["<client>", "another-client"], "azp": "another-client"},
    "azp_alone": {"azp": "another-client"},
    "nonce": {"nonce": "another"},
    "no_nonce": {"nonce": None},
    "exp": {"exp": -3600},
    "no_exp": {"exp": None},
    "iat": {"iat": 3600},
    "no_iat": {"iat": None},
    "nbf": {"nbf": 3600},
    "sub": {"sub": ""},
    "no_sub": {"sub": None},
    "long_sub": {"sub": "a" * 256},
    "number_sub": {"sub": 1001},
    "auth_time": {"auth_time": -3600},
    "no_auth_time": {"auth_time": None},
    "future_auth_time": {"auth_time": 3600},
    "text_auth_time": {"auth_time": "now"},
    "email_verified_text": {"email_verified": "true"},
    "email_list": {"email": ["ada@example.com"]},
}
# Each is about the header, the signature or the keys.
KEY_LIES = frozenset(
    {
        "kid",  # a key that is not published
        "no_kid",  # two published keys, and no word which one
        "alg",  # RS512, which is not allowed
        "hs256",  # HMAC with the public key as the secret
        "hs256_secret",  # HMAC with the client secret
        "none",
        "signature",  # of another key
        "unsigned",  # the signature is missing
        "jwk_header",  # the token brings its own key
        "crit",  # an extension that must be understood
        "not_a_token",
        "no_id_token",
        "no_keys",
        "symmetric_key",  # the published key is a secret
    }
)
DISCOVERY_LIES = frozenset({"discovery_issuer", "no_issuer", "http_endpoint", "no_token_endpoint", "number_endpoint"})
CALLBACK_LIES = frozenset({"callback_iss", "no_callback_iss", "state"})
LIES = frozenset(CLAIM_LIES) | KEY_LIES | DISCOVERY_LIES | CALLBACK_LIES | {"userinfo_sub"}
TIMES = frozenset({"exp", "iat", "nbf", "auth_time"})  # seconds from now in `CLAIM_LIES`

DISCOVERY, KEYS, TOKEN, USERINFO = "/.well-known/openid-configuration", "/keys", "/token", "/userinfo"
ACCOUNTS: dict[str, dict[str, Any]] = {
    "ada": {"sub": "1001", "email": "ada@example.com", "email_verified": True, "name": "Ada"},
    "bob": {"sub": "1002", "email": "bob@example.com", "email_verified": False, "name": "Bob"},
    "eve": {"sub": "1003", "email": "ada@example.com", "email_verified": True, "name": "Eve"},  # Ada's address
}


class RefusedByProviderError(Exception):
    """The authorization request is wrong."""


class Provider(Loopback):
    """An OpenID provider on loopback. A lie or a fault can be changed while it runs.

    Attributes:
        lie: one of `LIES`, or None.
        accounts: the claims of each account.
        granted: the parameters of every authorization request.

    Args:
        lie: one of `LIES`, or one of `FAULTS` of the server.
        at: the path of the fault.
        client_secret: None for a public client.
        promises_iss: whether the metadata promises `iss` in the callback (RFC 9207).
        thin: claims that the ID token lacks and the UserInfo endpoint has (OpenID Connect Core section 5.4).
    """

    discovery_path, keys_path, token_path, authorization_path = DISCOVERY, KEYS, TOKEN, "/authorize"

    def __init__(
        self,
        lie: str | None = None,
        *,
        at: str = TOKEN,
        client_secret: str | None = "a-secret-of-the-client/+%",
        promises_iss: bool = True,
        thin: frozenset[str] = frozenset(),
        certificate: tuple[Path, Path] | None = None,
        port: int = 0,
    ) -> None:
        super().__init__(certificate=certificate, port=port)
        assert lie is None or lie in LIES | FAULTS, f"{lie} is not a lie that this provider knows"
        self.lie: str | None = None if lie in FAULTS else lie
        self.fault, self.fault_at = (lie, at) if lie in FAULTS else (None, "")
        self.issuer = self.url
        self.client_id, self.client_secret = "kit-client", client_secret
        self.promises_iss, self.thin = promises_iss, thin
        self._users: dict[str, str] = {}
        self.accounts = {name: dict(claims) for name, claims in ACCOUNTS.items()}
        self.granted: list[dict[str, str]] = []
        self._grants: dict[str, tuple[str, dict[str, str]]] = {}
        self._keys: dict[str, PrivateKey] = {"key-0": rsa_key(0)}
        self._rotations = 0

    def config(self, **changes: Any) -> dict[str, Any]:
        """Return an entry of OIDC["PROVIDERS"]."""
        config = {"issuer": self.issuer, "client_ids": [self.client_id], "client_secret": self.client_secret}
        return {**config, "name": "Test", **changes}

    def rotate_keys(self, *, keep: bool = False) -> None:
        """Sign with a new key from now on, and publish the former one only with `keep`."""
        self._rotations += 1
        kept = self._keys if keep else {}
        self._keys = {**kept, f"key-{self._rotations}": rsa_key(self._rotations)}

    def change_email(self, account: str, email: str, *, verified: bool = True) -> None:
        """Give an account another address."""
        self.accounts[account] |= {"email": email, "email_verified": verified}

    def authorize(self, url: str, *, account: str = "ada", consents: bool = True) -> dict[str, str]:
        """Log in and consent as the owner of an account does in a browser.

        Returns:
            The parameters of the callback.

        Raises:
            RefusedByProviderError: the request is wrong, so the browser would stay at the provider.
        """
        asked = dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))
        if not url.startswith(f"{self.url}{self.authorization_path}?"):
            raise RefusedByProviderError(f"{url} is not the authorization endpoint")
        self.require_valid(asked)
        self.granted.append(asked)
        said = {"state": asked["state"]}
        if self.promises_iss and self.lie != "no_callback_iss":
            said["iss"] = OTHER if self.lie == "callback_iss" else self.issuer
        if self.lie == "state":
            said["state"] = "0." + "A" * 43
        if not consents:
            return {"error": "access_denied", **said}
        code = secrets.token_urlsafe(32)
        self._grants[code] = (account, asked)
        return {"code": code, **said}

    def require_valid(self, asked: dict[str, str]) -> None:
        """Check an authorization request.

        Raises:
            RefusedByProviderError: it is wrong.
        """
        expected = {"client_id": self.client_id, "response_type": "code", "code_challenge_method": "S256"}
        wrong = {name: asked.get(name) for name, value in expected.items() if asked.get(name) != value}
        missing = {"code_challenge", "redirect_uri", "state", "nonce", "scope"} - asked.keys()
        if wrong or missing or "openid" not in asked["scope"].split():
            raise RefusedByProviderError(f"wrong: {wrong}, missing: {missing}, scope: {asked.get('scope')}")

    def id_token(
        self, *, nonce: str | None = None, account: str = "ada", max_age: str | None = None, **claims: Any
    ) -> str:
        """Return an ID token, as a native app gets one. None as a claim removes it."""
        now = int(time.time())
        said = {"iss": self.issuer, "aud": self.client_id, "exp": now + 300, "iat": now, "nonce": nonce}
        said |= {"auth_time": None if max_age is None else now, **self.claims_of(account)}
        for name, value in CLAIM_LIES.get(self.lie or "", {}).items():
            said[name] = now + value if name in TIMES and isinstance(value, int) else self._filled(value)
        said |= claims
        return self._signed({name: value for name, value in said.items() if value is not None})

    def claims_of(self, account: str) -> dict[str, Any]:
        """Return what an ID token says of an account."""
        return {name: value for name, value in self.accounts[account].items() if name not in self.thin}

    def answer(self, request: Request) -> Answer:
        """Answer a request."""
        if (request.method, request.path) == ("GET", self.discovery_path):
            return as_json(self.metadata())
        if (request.method, request.path) == ("GET", self.keys_path):
            return as_json({"keys": self.published()})
        if (request.method, request.path) == ("POST", self.token_path):
            return self._token(request)
        if (request.method, request.path) == ("GET", USERINFO):
            return self._user_info(request)
        if (request.method, request.path) == ("GET", self.authorization_path):
            return self._page(request)
        return as_json({"error": "not_found"}, 404)

    def _page(self, request: Request) -> Answer:
        """Return the login page for a browser, or the way back once an account was chosen."""
        asked = dict(request.query)
        account = asked.pop("account", "")
        url = f"{self.url}{self.authorization_path}?{urlencode(asked)}"
        try:
            self.require_valid(asked)
            if not account:
                links = [
                    f'<p><a href="{escape(f"{url}&account={name}")}">{name}</a>, {claims["email"]}'
                    for name, claims in self.accounts.items()
                ]
                title = "<!doctype html><title>Example ID</title><h1>Who are you?</h1>"
                return Answer((title + "".join(links)).encode(), content_type="text/html; charset=utf-8")
            returned = self.authorize(url, account=account)
        except RefusedByProviderError as error:
            return Answer(str(error).encode(), 400, "text/plain")
        back = asked["redirect_uri"]
        return Answer(status=303, headers={"Location": f"{back}{'&' if '?' in back else '?'}{urlencode(returned)}"})

    def metadata(self) -> dict[str, Any]:
        """Return the discovery document (OpenID Connect Discovery section 3)."""
        found = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.url}{self.authorization_path}",
            "token_endpoint": f"{self.url}{self.token_path}",
            "jwks_uri": f"{self.url}{self.keys_path}",
            "userinfo_endpoint": f"{self.url}{USERINFO}" if self.thin else None,
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": self.promises_iss,
        }
        changes: dict[str, Any] = {
            "discovery_issuer": {"issuer": OTHER},
            "no_issuer": {"issuer": None},
            "http_endpoint": {"token_endpoint": "http://other.example.com/token"},
            "no_token_endpoint": {"token_endpoint": None},
            "number_endpoint": {"token_endpoint": 443},
        }
        found |= changes.get(self.lie or "", {})
        return {name: value for name, value in found.items() if value is not None}

    def _token(self, request: Request) -> Answer:
        if not self.knows_client(request):
            return as_json({"error": "invalid_client"}, 401)
        account, asked = self._grants.pop(request.form.get("code", ""), ("", {}))  # a code is used once
        if (
            not account
            or request.form.get("grant_type") != "authorization_code"
            or not self.is_verified(request.form.get("code_verifier", ""), asked)
            or request.form.get("redirect_uri") != asked["redirect_uri"]
        ):
            return as_json({"error": "invalid_grant"}, 400)
        return as_json(self.tokens(account, asked))

    def tokens(self, account: str, asked: dict[str, str]) -> dict[str, Any]:
        """Return the answer to a right code."""
        said = {"access_token": secrets.token_urlsafe(32), "token_type": "Bearer", "expires_in": 300}
        if self.lie != "no_id_token":
            self._users[str(said["access_token"])] = account
            said["id_token"] = self.id_token(nonce=asked.get("nonce"), account=account, max_age=asked.get("max_age"))
        return said

    def is_verified(self, verifier: str, asked: dict[str, str]) -> bool:
        """Return whether this is the verifier of an authorization request (RFC 7636 section 4.6)."""
        challenge = b64url(hashlib.sha256(verifier.encode()).digest())
        return 43 <= len(verifier) <= 128 and challenge == asked["code_challenge"]

    def _user_info(self, request: Request) -> Answer:
        account = self._users.get(request.headers.get("authorization", "").removeprefix("Bearer "))
        if account is None:
            return as_json({"error": "invalid_token"}, 401)
        other = {"sub": "1002"} if self.lie == "userinfo_sub" else {}
        return as_json({**self.accounts[account], **other})

    def knows_client(self, request: Request) -> bool:
        """Return whether the client has authenticated (RFC 6749 section 2.3.1)."""
        form, basic = request.form, request.headers.get("authorization", "").partition("Basic ")[2]
        if basic:
            found = [unquote(part) for part in base64.b64decode(basic).decode().split(":")]
            return "client_secret" not in form and found == [self.client_id, self.client_secret]
        return (form.get("client_id"), form.get("client_secret")) == (self.client_id, self.client_secret)

    def _filled(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._filled(one) for one in value]
        if not isinstance(value, str):
            return value
        return value.replace("<client>", self.client_id).replace("<issuer>", self.issuer)

    def published(self) -> list[dict[str, Any]]:
        """Return the public keys."""
        if self.lie == "no_keys":
            return []
        if self.lie == "symmetric_key":
            return [{"kty": "oct", "kid": kid, "alg": "HS256", "k": "c2VjcmV0"} for kid in self._keys]
        keys = {**self._keys, "another": rsa_key(99)} if self.lie == "no_kid" else self._keys
        return [public_jwk(key, kid) for kid, key in keys.items()]

    def _signed(self, claims: dict[str, Any]) -> str:
        kid, key = list(self._keys.items())[-1]
        lie, secret = self.lie, (self.client_secret or "").encode()
        if lie == "hs256":
            return sign(claims, public_pem(key), alg="HS256", kid=kid)
        if lie in {"hs256_secret", "symmetric_key"}:
            return sign(claims, secret if lie == "hs256_secret" else b"secret", alg="HS256", kid=kid)
        if lie == "none":
            return sign(claims, None, alg="none", kid=kid)
        if lie == "not_a_token":
            return "not.a.token"
        if lie == "jwk_header":
            return sign(claims, rsa_key(98), alg="RS256", kid=kid, jwk=public_jwk(rsa_key(98), kid))
        token = sign(
            claims,
            rsa_key(98) if lie in {"signature", "kid"} else key,
            alg="RS512" if lie == "alg" else "RS256",
            kid={"kid": "key-98", "no_kid": None}.get(lie or "", kid),
            crit=["unknown"] if lie == "crit" else None,
            unknown=1 if lie == "crit" else None,
        )
        return token.rpartition(".")[0] + "." if lie == "unsigned" else token
