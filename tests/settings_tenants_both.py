"""A project with django-tenants, in which each tenant has users of its own, and so has the schema `public`."""

from tests.settings_tenants import *  # noqa: F403
from tests.settings_tenants import SHARED_APPS as _SHARED_APPS

SHARED_APPS = [*_SHARED_APPS, "django.contrib.auth", "ninja_auth_kit"]
