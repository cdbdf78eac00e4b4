"""Contenders with async views, and with sync views beside them if the package has both."""

from typing import Any

from benchmarks.peers.contender import USERNAME
from benchmarks.peers.contenders import kit, limit, ninja_jwt


class Floor(limit.Floor):
    """Two views without authentication."""

    def urlpatterns(self) -> list[Any]:
        from django.urls import path
        from ninja import NinjaAPI

        api = NinjaAPI(docs_url=None, openapi_url=None)

        @api.get("/who")
        async def who(request: Any) -> Any:
            return {"who": USERNAME}

        @api.get("/who/sync")
        def who_sync(request: Any) -> Any:
            return {"who": USERNAME}

        return [path("api/", api.urls)]


class Kit(kit.Kit):
    """Four guarded views: async and sync, with and without a check of the session."""

    def urlpatterns(self) -> list[Any]:
        from django.urls import include, path
        from ninja import NinjaAPI

        from ninja_auth_kit import JWTAuth

        api = NinjaAPI(docs_url=None, openapi_url=None)

        @api.get("/who", auth=JWTAuth())
        async def who(request: Any) -> Any:
            return {"who": request.auth.username}

        @api.get("/who/sync", auth=JWTAuth())
        def who_sync(request: Any) -> Any:
            return {"who": request.auth.username}

        @api.get("/stateless", auth=JWTAuth(check_session=False))
        async def stateless(request: Any) -> Any:
            return {"who": request.auth_claims.user_id}

        @api.get("/stateless/sync", auth=JWTAuth(check_session=False))
        def stateless_sync(request: Any) -> Any:
            return {"who": request.auth_claims.user_id}

        return [path("api/auth/", include("ninja_auth_kit.urls")), path("api/", api.urls)]


class NinjaJWT(ninja_jwt.NinjaJWT):
    """`AsyncJWTAuth` in an async view."""

    def urlpatterns(self) -> list[Any]:
        from django.urls import path
        from ninja import NinjaAPI
        from ninja_jwt.authentication import AsyncJWTAuth

        api = NinjaAPI(docs_url=None, openapi_url=None, urls_namespace="async")

        @api.get("/who", auth=AsyncJWTAuth())
        async def who(request: Any) -> Any:
            return {"who": str(request.auth)}

        return [path("api/async/", api.urls), *super().urlpatterns()]
