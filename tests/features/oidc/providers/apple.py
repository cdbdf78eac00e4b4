"""Sign in with Apple, as Apple documents it, on loopback.

Sources, all below https://developer.apple.com/documentation/:

- signinwithapplerestapi/request-an-authorization-to-the-sign-in-with-apple-server. : `response_mode` must be
  `form_post` when a scope is asked for; `user` with the name is sent once
- accountorganizationaldatasharing/creating-a-client-secret: the client secret is a JWT with ES256
- signinwithapplerestapi/authenticating-users-with-sign-in-with-apple: the claims; `email_verified` is a string or a
  Boolean value

PKCE, `max_age` and `iss` in the callback are not documented, so this player ignores or omits them.
"""

import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.features.oidc.providers.hostile import Provider, RefusedByProviderError
from tests.features.oidc.providers.loopback import Request
from tests.features.oidc.providers.signing import ec_key

TEAM_ID, KEY_ID = "TEAM123456", "KEY1234567"
LONGEST_SECRET = 15_777_000  # seconds


class Apple(Provider):
    """Apple. The accounts are those of the OpenID provider, with claims in the types of Apple.

    Attributes:
        private_key: the key that the client signs its secrets with, as the .p8 file that Apple lets you download.
        native_client_id: the bundle ID of the app.
        named: the accounts whose name was sent.
    """

    authorization_path, token_path, keys_path = "/auth/authorize", "/auth/token", "/auth/keys"

    def __init__(self, lie: str | None = None, **options: Any) -> None:
        super().__init__(lie, promises_iss=False, **options)
        self.client_id, self.native_client_id = "com.example.web", "com.example.app"
        self._key, self.named = ec_key(50), set[str]()
        self.private_key = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    def require_valid(self, asked: dict[str, str]) -> None:
        """Check an authorization request."""
        scopes = set(asked.get("scope", "").split())
        if asked.get("client_id") != self.client_id or asked.get("response_type") != "code":
            raise RefusedByProviderError("invalid_request")
        if scopes - {"openid", "name", "email"}:
            raise RefusedByProviderError("invalid_scope")
        if scopes & {"name", "email"} and asked.get("response_mode") != "form_post":
            raise RefusedByProviderError("response_mode must be form_post when name or email scope is requested.")

    def authorize(self, url: str, *, account: str = "ada", consents: bool = True) -> dict[str, str]:
        """Return the form that the browser sends to the redirect URI."""
        said = super().authorize(url, account=account, consents=consents)
        if not consents:
            return {"state": said["state"], "error": "user_cancelled_authorize"}
        if account not in self.named and "name" in self.granted[-1].get("scope", "").split():
            self.named.add(account)
            name = {"firstName": self.accounts[account]["name"], "lastName": "Example"}
            said["user"] = json.dumps({"name": name, "email": self.accounts[account]["email"]})
        return said

    def claims_of(self, account: str) -> dict[str, Any]:
        """Return the claims in Apple's types."""
        known = self.accounts[account]
        verified = "true" if known["email_verified"] else "false"
        said = {"sub": known["sub"], "email": known["email"], "email_verified": verified}
        return {**said, "auth_time": int(time.time()), "nonce_supported": True}

    def is_verified(self, verifier: str, asked: dict[str, str]) -> bool:
        """Return True: Apple does not document PKCE."""
        return True

    def knows_client(self, request: Request) -> bool:
        """Return whether the client secret is one that Apple accepts."""
        secret = request.form.get("client_secret", "")
        try:
            if jwt.get_unverified_header(secret).get("kid") != KEY_ID:
                return False
            claims = jwt.decode(
                secret,
                self._key.public_key(),
                algorithms=["ES256"],
                audience=self.issuer,  # https://appleid.apple.com at Apple
                issuer=TEAM_ID,
                options={"require": ["iss", "iat", "exp", "aud", "sub"]},
            )
        except jwt.InvalidTokenError:
            return False
        is_brief = claims["exp"] - claims["iat"] <= LONGEST_SECRET
        return bool(is_brief and claims["sub"] == request.form.get("client_id") == self.client_id)

    def metadata(self) -> dict[str, Any]:
        """Return the discovery document in the words of Apple's."""
        found = super().metadata()
        for name in ("code_challenge_methods_supported", "authorization_response_iss_parameter_supported"):
            del found[name]
        return {
            **found,
            "response_modes_supported": ["query", "fragment", "form_post"],
            "subject_types_supported": ["pairwise"],
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
            "scopes_supported": ["openid", "email", "name"],
        }
