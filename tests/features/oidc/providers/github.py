"""GitHub's OAuth and the two API calls that name a user, as GitHub documents them, on loopback.

Sources, below https://docs.github.com/ if they have no host:

- en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps: the flow; the answer is a form unless JSON is accepted
- en/apps/oauth-apps/maintaining-oauth-apps/troubleshooting-oauth-app-access-token-request-errors: with status 200
- https://github.blog/changelog/2025-07-14-pkce-support-for-oauth-and-github-app-authentication: PKCE with S256
- en/rest/users/users and en/rest/users/emails: the two calls
- en/rest/using-the-rest-api/getting-started-with-the-rest-api: `User-Agent` is required
"""

import hashlib
import secrets
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.features.oidc.providers.hostile import ACCOUNTS, RefusedByProviderError
from tests.features.oidc.providers.loopback import Answer, Loopback, Request, as_json
from tests.features.oidc.providers.signing import b64url

AUTHORIZE, TOKEN, USER, EMAILS = "/login/oauth/authorize", "/login/oauth/access_token", "/user", "/user/emails"


class GitHub(Loopback):
    """GitHub, with the website and the API on one address.

    Attributes:
        accounts: the answers of the API for each account: `user` and `emails`.
        access_tokens: those that were issued, by account.
        granted: the parameters of every authorization request.
    """

    def __init__(self) -> None:
        super().__init__()
        self.client_id, self.client_secret = "Iv1.0123456789abcdef", "0123456789abcdef0123456789abcdef01234567"
        self.accounts: dict[str, dict[str, Any]] = {
            name: {
                # The public address is what the user likes to show: null, or one that may be old.
                "user": {
                    "login": name,
                    "id": int(claims["sub"]),
                    "type": "User",
                    "name": claims["name"],
                    "email": None,
                },
                "emails": [
                    _email(f"{name}@users.noreply.github.com", verified=True, primary=False),
                    _email(claims["email"], verified=claims["email_verified"], primary=True),
                ],
            }
            for name, claims in ACCOUNTS.items()
        }
        self.access_tokens: dict[str, str] = {}
        self.granted: list[dict[str, str]] = []
        self._grants: dict[str, tuple[str, dict[str, str]]] = {}

    def change_email(self, account: str, email: str, *, verified: bool = True) -> None:
        """Give an account another primary address."""
        self.accounts[account]["emails"] = [_email(email, verified=verified, primary=True)]

    def authorize(self, url: str, *, account: str = "ada", consents: bool = True) -> dict[str, str]:
        """Return the parameters of the callback, as after a click on "Authorize".

        Raises:
            RefusedByProviderError: the request is wrong.
        """
        asked = dict(parse_qsl(urlsplit(url).query))
        if not url.startswith(f"{self.url}{AUTHORIZE}?") or asked.get("client_id") != self.client_id:
            raise RefusedByProviderError(url)
        self.granted.append(asked)
        if not consents:
            return {"error": "access_denied", "state": asked["state"]}
        code = secrets.token_hex(10)
        self._grants[code] = (account, asked)
        return {"code": code, "state": asked["state"]}

    def answer(self, request: Request) -> Answer:
        """Answer a request."""
        if (request.method, request.path) == ("POST", TOKEN):
            said = self._token(request)
            if request.headers.get("accept") == "application/json":
                return as_json(said)
            return Answer(urlencode(said).encode(), content_type="application/x-www-form-urlencoded; charset=utf-8")
        if request.method == "GET" and request.path in {USER, EMAILS}:
            return self._api(request)
        return as_json({"message": "Not Found"}, 404)

    def _token(self, request: Request) -> dict[str, str]:
        form = request.form
        if (form.get("client_id"), form.get("client_secret")) != (self.client_id, self.client_secret):
            return {"error": "incorrect_client_credentials"}
        account, asked = self._grants.pop(form.get("code", ""), ("", {}))
        if not account:
            return {"error": "bad_verification_code"}
        if form.get("redirect_uri") != asked.get("redirect_uri"):
            return {"error": "redirect_uri_mismatch"}
        challenge = b64url(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if asked.get("code_challenge", challenge) != challenge:
            return {"error": "bad_verification_code"}
        token = f"gho_{secrets.token_hex(18)}"
        self.access_tokens[token] = account
        return {"access_token": token, "scope": asked.get("scope", "").replace(" ", ","), "token_type": "bearer"}

    def _api(self, request: Request) -> Answer:
        if not request.headers.get("user-agent"):
            return Answer(b"Request forbidden by administrative rules.", 403, "text/plain")
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self.access_tokens:
            return as_json({"message": "Bad credentials"}, 401)
        known = self.accounts[self.access_tokens[token]]
        if request.path == USER:
            return as_json(known["user"])
        if "user:email" not in self.granted[-1].get("scope", "").split():
            return as_json({"message": "Not Found"}, 404)
        return as_json(known["emails"])


def _email(address: str, *, verified: bool, primary: bool) -> dict[str, Any]:
    visibility = "private" if primary else None
    return {"email": address, "verified": verified, "primary": primary, "visibility": visibility}
