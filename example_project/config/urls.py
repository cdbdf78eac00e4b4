"""The URLs: one line for the kit, and those of this project."""

from django.conf import settings
from django.contrib import admin
from django.urls import include, path

from config.api import api

urlpatterns = [
    path("", include("playground.urls")),
    path("api/auth/", include("ninja_auth_kit.urls")),  # the kit
    path("api/", api.urls),
    path("admin/", admin.site.urls),
]
if settings.DEBUG:
    urlpatterns.append(path("mailbox/", include("mailbox.urls")))
