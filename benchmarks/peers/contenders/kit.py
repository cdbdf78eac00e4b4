"""This kit with a broker configured: every event is a row in the outbox."""

from typing import Any

from benchmarks.peers.contender import EMAIL, PASSWORD, Contender, Request, Tokens
from ninja_auth_kit.conf import DEFAULT_THROTTLES


class Kit(Contender):
    """The default, in which `JWTAuth` checks the session on each request."""

    title = "ninja_auth_kit"
    statements = {"get": (1, 0), "refresh": (3, 2), "logout": (3, 2), "login": (8, 2)}
    purge_command = "authkit_prune"
    apps = ("ninja_auth_kit",)
    settings = {
        "JWT_SECRET_KEY": "Zq3vN8wLx2Yc7Rk5Tm9Bp4Hd6Jf1Gs0AeUiOoWyQ-benchmarks",
        "RABBITMQ_HOST": "127.0.0.1",
        "NINJA_AUTH_KIT": {
            "BASE_URL": "https://example.com",
            "AUDIT_EMBEDDED_RELAY": False,
            # The attempts are counted as usual, but the limit is above the rate of the benchmark.
            "THROTTLES": {**DEFAULT_THROTTLES, "hash_network": ("1000000/m",)},
        },
    }
    checks = True
    options: dict[str, Any] = {}

    def urlpatterns(self) -> list[Any]:
        from django.urls import include, path
        from ninja import NinjaAPI

        from ninja_auth_kit import JWTAuth

        api = NinjaAPI(docs_url=None, openapi_url=None)

        @api.get("/who", auth=JWTAuth(**self.options))
        def who(request: Any) -> Any:
            return {"who": request.auth.username} if not self.options else {"who": request.auth_claims.user_id}

        return [path("api/auth/", include("ninja_auth_kit.urls")), path("api/", api.urls)]

    def prepare(self) -> None:
        from django.contrib.auth import get_user_model
        from django.utils import timezone

        from ninja_auth_kit.models import EmailAddress

        super().prepare()
        user = get_user_model().objects.get()
        EmailAddress.objects.create(user=user, email=EMAIL, canonical=EMAIL, verified_at=timezone.now())

    def login(self) -> Request:
        return Request("POST", "/api/auth/login", {"email": EMAIL, "password": PASSWORD})

    def tokens(self, answer: Any) -> Tokens:
        return Tokens(answer["access_token"], answer["refresh_token"])

    def refresh(self, tokens: Tokens) -> Request:
        return Request("POST", "/api/auth/refresh", {"refresh_token": tokens.refresh})

    def logout(self, tokens: Tokens) -> Request:
        return Request("POST", "/api/auth/logout", {"refresh_token": tokens.refresh})


class Stateless(Kit):
    """`JWTAuth(check_session=False)`."""

    title = "ninja_auth_kit, stateless"
    statements = {**Kit.statements, "get": (0, 0)}
    options = {"check_session": False}
    checks = False
