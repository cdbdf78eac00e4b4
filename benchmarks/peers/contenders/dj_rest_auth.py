"""dj-rest-auth with JWT, based on simplejwt with rotation and blacklist enabled."""

from typing import Any

from benchmarks.peers.contender import PASSWORD, USERNAME, Contender, Request, Tokens
from benchmarks.peers.contenders.simplejwt import REST_FRAMEWORK, SimpleJWT, who_view


class DjRestAuth(Contender):
    """Tokens in the body, without cookies."""

    title = "dj-rest-auth"
    statements = {"get": (1, 0), "refresh": (9, 4), "logout": (5, 2), "login": (2, 0)}
    apps = (*SimpleJWT.apps, "dj_rest_auth")
    settings = {
        **SimpleJWT.settings,
        "REST_FRAMEWORK": {
            **REST_FRAMEWORK,
            "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework_simplejwt.authentication.JWTAuthentication"],
        },
        "REST_AUTH": {"USE_JWT": True, "JWT_AUTH_HTTPONLY": False, "SESSION_LOGIN": False, "TOKEN_MODEL": None},
    }

    def urlpatterns(self) -> list[Any]:
        from dj_rest_auth.jwt_auth import get_refresh_view
        from dj_rest_auth.views import LoginView, LogoutView
        from django.urls import path
        from rest_framework_simplejwt.authentication import JWTAuthentication

        return [
            path("api/login", LoginView.as_view()),
            path("api/logout", LogoutView.as_view()),
            path("api/refresh", get_refresh_view().as_view()),
            path("api/who", who_view(JWTAuthentication)),
        ]

    def login(self) -> Request:
        return Request("POST", "/api/login", {"username": USERNAME, "password": PASSWORD})

    def refresh(self, tokens: Tokens) -> Request:
        return Request("POST", "/api/refresh", {"refresh": tokens.refresh})

    def logout(self, tokens: Tokens) -> Request:
        return Request("POST", "/api/logout", {"refresh": tokens.refresh})
