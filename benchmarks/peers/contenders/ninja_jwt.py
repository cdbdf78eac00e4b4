"""django-ninja-jwt, with rotation and blacklist enabled."""

from typing import Any

from benchmarks.peers.contender import PASSWORD, USERNAME, Contender, Request, Tokens, bearer


class NinjaJWT(Contender):
    """`JWTAuth`, which loads the user."""

    title = "django-ninja-jwt"
    statements = {"get": (1, 0), "refresh": (5, 4), "logout": (4, 2), "login": (3, 0)}
    purge_command = "flushexpiredtokens"
    apps = ("ninja_extra", "ninja_jwt", "ninja_jwt.token_blacklist")
    settings = {
        "NINJA_JWT": {"ROTATE_REFRESH_TOKENS": True, "BLACKLIST_AFTER_ROTATION": True, "UPDATE_LAST_LOGIN": True}
    }
    guard = "JWTAuth"

    def urlpatterns(self) -> list[Any]:
        from django.urls import path
        from ninja import NinjaAPI
        from ninja_extra.exceptions import APIException
        from ninja_jwt import authentication
        from ninja_jwt.routers.blacklist import blacklist_router
        from ninja_jwt.routers.obtain import obtain_pair_router

        api = NinjaAPI(docs_url=None, openapi_url=None)
        api.add_router("/token", obtain_pair_router)
        api.add_router("/token", blacklist_router)
        api.exception_handler(APIException)(
            lambda request, error: api.create_response(request, str(error.detail), status=error.status_code)
        )

        @api.get("/who", auth=getattr(authentication, self.guard)())
        def who(request: Any) -> Any:
            return {"who": str(request.auth)}

        return [path("api/", api.urls)]

    def login(self) -> Request:
        return Request("POST", "/api/token/pair", {"username": USERNAME, "password": PASSWORD})

    def get(self, tokens: Tokens) -> Request:
        return Request("GET", "/api/who", headers=bearer(tokens.access))

    def refresh(self, tokens: Tokens) -> Request:
        return Request("POST", "/api/token/refresh", {"refresh": tokens.refresh})

    def logout(self, tokens: Tokens) -> Request:
        return Request("POST", "/api/token/blacklist", {"refresh": tokens.refresh})


class Stateless(NinjaJWT):
    """`JWTStatelessUserAuthentication`."""

    title = "django-ninja-jwt, stateless"
    statements = {**NinjaJWT.statements, "get": (0, 0)}
    guard = "JWTStatelessUserAuthentication"
