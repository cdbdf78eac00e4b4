"""URLs with the kit in the project's API only, without the include."""

from django.urls import path

from tests.host_app.api import api

urlpatterns = [path("only/", api.urls)]
