"""django-allauth headless with the app client, without rate limits, with HS256."""

from typing import Any

from benchmarks.peers.contender import EMAIL, PASSWORD, USERNAME, Contender, Request, Tokens, bearer

BASE = "/_allauth/app/v1"


class JWT(Contender):
    """JWT access tokens that are verified without a look-up, which is the default."""

    title = "allauth headless, JWT"
    statements = {"get": (1, 0), "refresh": (3, 2), "logout": (4, 0), "login": (6, 4)}
    purge_command = "clearsessions"
    apps = ("django.contrib.sessions", "allauth", "allauth.account", "allauth.headless")
    settings: dict[str, Any] = {
        "MIDDLEWARE": [
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "allauth.account.middleware.AccountMiddleware",
        ],
        "ACCOUNT_RATE_LIMITS": False,
        "ACCOUNT_EMAIL_VERIFICATION": "none",
        "AUTHENTICATION_BACKENDS": ["allauth.account.auth_backends.AuthenticationBackend"],
        "HEADLESS_ONLY": True,
        "HEADLESS_CLIENTS": ("app",),
        "HEADLESS_TOKEN_STRATEGY": "allauth.headless.tokens.strategies.jwt.JWTTokenStrategy",
        "HEADLESS_JWT_ALGORITHM": "HS256",
    }

    def urlpatterns(self) -> list[Any]:
        from allauth.headless.contrib.ninja.security import jwt_token_auth
        from django.urls import include, path
        from ninja import NinjaAPI

        api = NinjaAPI(docs_url=None, openapi_url=None)

        @api.get("/who", auth=jwt_token_auth)
        def who(request: Any) -> Any:
            return {"who": str(request.user)}

        return [path("_allauth/", include("allauth.headless.urls")), path("api/", api.urls)]

    def prepare(self) -> None:
        from allauth.account.models import EmailAddress
        from django.contrib.auth import get_user_model

        super().prepare()
        user = get_user_model().objects.get()
        EmailAddress.objects.create(user=user, email=EMAIL, verified=True, primary=True)

    def is_done(self, request: Request, status: int) -> bool:
        """Return whether the request succeeded. A successful logout is answered by a 401."""
        return status < 300 or (request.method, status) == ("DELETE", 401)

    def login(self) -> Request:
        return Request("POST", f"{BASE}/auth/login", {"username": USERNAME, "password": PASSWORD})

    def tokens(self, answer: Any) -> Tokens:
        said = answer.get("meta") or answer["data"]
        return Tokens(said["access_token"], said.get("refresh_token") or answer.get("refresh", ""))

    def refresh(self, tokens: Tokens) -> Request | None:
        return Request("POST", f"{BASE}/tokens/refresh", {"refresh_token": tokens.refresh})

    def logout(self, tokens: Tokens) -> Request:
        return Request("DELETE", f"{BASE}/auth/session", headers=bearer(tokens.access))


class Stateful(JWT):
    """JWT access tokens whose session is looked up."""

    title = "allauth headless, JWT, stateful"
    statements = {**JWT.statements, "get": (2, 0), "logout": (7, 0)}
    settings = {**JWT.settings, "HEADLESS_JWT_STATEFUL_VALIDATION_ENABLED": True}
    checks = True


class SessionToken(JWT):
    """Django sessions whose key is sent as a token."""

    title = "allauth headless, session token"
    statements = {"get": (3, 0), "logout": (5, 0), "login": (6, 4)}
    settings = {
        **JWT.settings,
        "HEADLESS_TOKEN_STRATEGY": "allauth.headless.tokens.strategies.sessions.SessionTokenStrategy",
    }
    checks = True

    def urlpatterns(self) -> list[Any]:
        from allauth.headless.contrib.ninja.security import x_session_token_auth
        from django.urls import include, path
        from ninja import NinjaAPI

        api = NinjaAPI(docs_url=None, openapi_url=None)

        @api.get("/who", auth=x_session_token_auth)
        def who(request: Any) -> Any:
            return {"who": str(request.user)}

        return [path("_allauth/", include("allauth.headless.urls")), path("api/", api.urls)]

    def tokens(self, answer: Any) -> Tokens:
        return Tokens(answer["meta"]["session_token"])

    def get(self, tokens: Tokens) -> Request:
        return Request("GET", "/api/who", headers={"X-Session-Token": tokens.access})

    def refresh(self, tokens: Tokens) -> Request | None:
        return None

    def logout(self, tokens: Tokens) -> Request:
        return Request("DELETE", f"{BASE}/auth/session", headers={"X-Session-Token": tokens.access})
