"""A project with django-tenants, in which all tenants share the users."""

from tests.settings_tenants import *  # noqa: F403
from tests.settings_tenants import SHARED_APPS as _SHARED_APPS
from tests.settings_tenants import TENANT_APPS as _TENANT_APPS

SHARED_APPS = [*_SHARED_APPS, "django.contrib.auth", "ninja_auth_kit"]
TENANT_APPS = [app for app in _TENANT_APPS if app not in {"django.contrib.auth", "ninja_auth_kit"}]
