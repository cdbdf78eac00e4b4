"""django-rest-knox: opaque tokens in the database."""

from typing import Any

from benchmarks.peers.contender import PASSWORD, USERNAME, Contender, Request, Tokens, bearer
from benchmarks.peers.contenders.simplejwt import REST_FRAMEWORK, who_view


class Knox(Contender):
    """A login by password, as the documentation of the package shows."""

    title = "django-rest-knox"
    statements = {"get": (2, 0), "logout": (3, 0), "login": (4, 2)}
    apps = ("rest_framework", "knox")
    settings = {"REST_FRAMEWORK": REST_FRAMEWORK, "REST_KNOX": {"TOKEN_LIMIT_PER_USER": None}}
    checks = True

    def urlpatterns(self) -> list[Any]:
        from django.urls import path
        from knox.auth import TokenAuthentication
        from knox.views import LoginView, LogoutView
        from rest_framework.authtoken.serializers import AuthTokenSerializer
        from rest_framework.permissions import AllowAny

        class PasswordLogin(LoginView):  # type: ignore[misc]
            authentication_classes = ()
            permission_classes = (AllowAny,)

            # The signature of the base class.
            def post(self, request: Any, format: Any = None) -> Any:
                serializer = AuthTokenSerializer(data=request.data)
                serializer.is_valid(raise_exception=True)
                request.user = serializer.validated_data["user"]
                # One session per user, as in the other contenders.
                request.user.auth_token_set.all().delete()
                return super().post(request, format=None)

        return [
            path("api/login", PasswordLogin.as_view()),
            path("api/logout", LogoutView.as_view()),
            path("api/who", who_view(TokenAuthentication)),
        ]

    def login(self) -> Request:
        return Request("POST", "/api/login", {"username": USERNAME, "password": PASSWORD})

    def tokens(self, answer: Any) -> Tokens:
        return Tokens(answer["token"])

    def get(self, tokens: Tokens) -> Request:
        return Request("GET", "/api/who", headers=bearer(tokens.access, "Token"))

    def logout(self, tokens: Tokens) -> Request:
        return Request("POST", "/api/logout", headers=bearer(tokens.access, "Token"))
