"""The kit on the host's API alone, without the include."""

from django.urls import path

from tests.host_app.api import api

urlpatterns = [path("only/", api.urls)]
