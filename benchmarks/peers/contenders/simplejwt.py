"""djangorestframework-simplejwt, with rotation and blacklist enabled."""

from typing import Any

from benchmarks.peers.contender import PASSWORD, USERNAME, Contender, Request, Tokens

REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
}


def who_view(*authenticators: Any) -> Any:
    """Return an authenticated view of Django REST framework."""
    from rest_framework.decorators import api_view, authentication_classes, permission_classes
    from rest_framework.permissions import IsAuthenticated
    from rest_framework.response import Response

    @api_view(["GET"])
    @authentication_classes(authenticators)
    @permission_classes([IsAuthenticated])
    def who(request: Any) -> Any:
        return Response({"who": str(request.user)})

    return who


class SimpleJWT(Contender):
    """`JWTAuthentication`, which loads the user."""

    title = "simplejwt"
    statements = {"get": (1, 0), "refresh": (9, 4), "logout": (5, 2), "login": (3, 0)}
    purge_command = "flushexpiredtokens"
    apps = ("rest_framework", "rest_framework_simplejwt", "rest_framework_simplejwt.token_blacklist")
    settings = {
        "REST_FRAMEWORK": REST_FRAMEWORK,
        "SIMPLE_JWT": {"ROTATE_REFRESH_TOKENS": True, "BLACKLIST_AFTER_ROTATION": True, "UPDATE_LAST_LOGIN": True},
    }
    guard = "JWTAuthentication"

    def urlpatterns(self) -> list[Any]:
        from django.urls import path
        from rest_framework_simplejwt import authentication, views

        return [
            path("api/token", views.TokenObtainPairView.as_view()),
            path("api/token/refresh", views.TokenRefreshView.as_view()),
            path("api/token/blacklist", views.TokenBlacklistView.as_view()),
            path("api/who", who_view(getattr(authentication, self.guard))),
        ]

    def login(self) -> Request:
        return Request("POST", "/api/token", {"username": USERNAME, "password": PASSWORD})

    def refresh(self, tokens: Tokens) -> Request:
        return Request("POST", "/api/token/refresh", {"refresh": tokens.refresh})

    def logout(self, tokens: Tokens) -> Request:
        return Request("POST", "/api/token/blacklist", {"refresh": tokens.refresh})


class Stateless(SimpleJWT):
    """`JWTStatelessUserAuthentication`."""

    title = "simplejwt, stateless"
    statements = {**SimpleJWT.statements, "get": (0, 0)}
    guard = "JWTStatelessUserAuthentication"
