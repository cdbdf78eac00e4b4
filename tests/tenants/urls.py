"""The URLs of each tenant."""

from django.http import HttpRequest
from django.urls import include, path
from ninja import NinjaAPI

from ninja_auth_kit import JWTAuth

api = NinjaAPI(urls_namespace="own")


@api.get("checked", auth=JWTAuth())
def checked(request: HttpRequest) -> str:
    return str(request.user)


@api.get("unchecked", auth=JWTAuth(check_session=False))
def unchecked(request: HttpRequest) -> str:
    return "accepted"


@api.get("checked-async", auth=JWTAuth())
async def checked_async(request: HttpRequest) -> str:
    return str(request.user)


urlpatterns = [
    path("api/auth/", include("ninja_auth_kit.urls")),
    path("own/", api.urls),
]
