"""URLs that mount the kit in both ways."""

from django.urls import include, path

from tests.host_app.api import api, plain_api

urlpatterns = [
    path("api/auth/", include("ninja_auth_kit.urls")),
    path("host/", api.urls),
    path("plain/", plain_api.urls),
]
