"""The API of the project: its own routes with `JWTAuth`, and the kit's routes."""

from typing import Any

from django.http import HttpRequest
from ninja import NinjaAPI

import ninja_auth_kit
from ninja_auth_kit import JWTAuth
from ninja_auth_kit.api.jwt_auth import AuthenticatedRequest

api = NinjaAPI(title="Host", urls_namespace="host")
plain_api = NinjaAPI(title="Project without install()", urls_namespace="plain")


@api.get("/sync", auth=JWTAuth())
def sync_route(request: HttpRequest) -> dict[str, Any]:
    return {"auth": str(request.auth.pk), "user": str(request.user.pk)}


@api.get("/async", auth=JWTAuth())
async def async_route(request: HttpRequest) -> dict[str, Any]:
    user = await request.auser()
    return {"auth": str(request.auth.pk), "user": str(user.pk)}


@api.get("/stateless", auth=JWTAuth(check_session=False))
def stateless_route(request: HttpRequest) -> dict[str, Any]:
    return {"ok": True}


@api.get("/stateless-user", auth=JWTAuth(check_session=False))
def stateless_user_route(request: HttpRequest) -> dict[str, Any]:
    return {"user": str(request.user.pk)}


@api.get("/stateless-async", auth=JWTAuth(check_session=False))
async def stateless_async_route(request: HttpRequest) -> dict[str, Any]:
    user = await request.auser()
    return {"user": str(user.pk)}


@api.get("/claims", auth=JWTAuth())
def claims_route(request: AuthenticatedRequest) -> dict[str, Any]:
    return dict(request.auth_claims.extra)


@api.get("/stateless-claims", auth=JWTAuth(check_session=False))
def stateless_claims_route(request: AuthenticatedRequest) -> dict[str, Any]:
    return dict(request.auth_claims.extra)


@plain_api.get("/guarded", auth=JWTAuth())
def guarded_route(request: HttpRequest) -> dict[str, Any]:
    return {"user": str(request.user.pk)}


ninja_auth_kit.install(api, "/auth")
