"""The URLs of the tests, with the admin."""

from django.contrib import admin
from django.urls import path

from tests.urls import urlpatterns as kit

urlpatterns = [*kit, path("admin/", admin.site.urls)]
