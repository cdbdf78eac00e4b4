"""Routes of a project that API keys may call."""

from typing import Any

from django.http import HttpRequest
from ninja import NinjaAPI

from ninja_auth_kit import JWTAuth
from ninja_auth_kit.contrib.api_keys import APIKeyAuth
from ninja_auth_kit.contrib.api_keys.auth import APIKeyRequest

api = NinjaAPI(title="Notes", urls_namespace="notes")

EITHER = [APIKeyAuth("notes:read"), JWTAuth()]


def seen(request: Any) -> dict[str, Any]:
    """Return what an endpoint sees of the caller."""
    key = request.auth_key
    return {
        "user": str(request.user.pk),
        "auth": None if request.auth is None else str(request.auth.pk),
        "key": None if key is None else str(key.pk),
        "session": None if request.auth_session is None else str(request.auth_session.pk),
    }


@api.get("/read", auth=EITHER)
def read(request: APIKeyRequest) -> dict[str, Any]:
    return seen(request)


@api.get("/read-async", auth=EITHER)
async def read_async(request: Any) -> dict[str, Any]:
    user = await request.auser()
    return {**seen(request), "user": str(user.pk)}


@api.get("/keys-only", auth=APIKeyAuth("notes:read"))
def keys_only(request: HttpRequest) -> dict[str, Any]:
    return seen(request)


@api.get("/write", auth=APIKeyAuth("notes:read", "notes:write"))
def write(request: HttpRequest) -> dict[str, Any]:
    return seen(request)


@api.get("/anyone", auth=[APIKeyAuth("notes:read"), JWTAuth(optional=True)])
def anyone(request: HttpRequest) -> dict[str, Any]:
    return seen(request)
