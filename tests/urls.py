"""URLs that mount the kit in both ways."""

from django.apps import apps
from django.urls import include, path

from tests.host_app.api import api, plain_api

urlpatterns = [
    path("api/auth/", include("ninja_auth_kit.urls")),
    path("host/", api.urls),
    path("plain/", plain_api.urls),
]

if apps.is_installed("ninja_auth_kit.contrib.api_keys"):
    from tests.features.api_keys import routes

    urlpatterns.append(path("notes/", routes.api.urls))
