"""A project with django-tenants, in which each tenant has users of its own in a schema of its own."""

from typing import Any

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES as _DATABASES
from tests.settings import NINJA_AUTH_KIT as _KIT
from tests.settings import AuthKitSettings

DATABASES: dict[str, Any] = {
    "default": {**_DATABASES["default"], "ENGINE": "django_tenants.postgresql_backend"},
}
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
MIDDLEWARE = ["django_tenants.middleware.main.TenantMainMiddleware"]
SHARED_APPS = ["django_tenants", "tests.tenants.app", "django.contrib.contenttypes"]
TENANT_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "ninja_auth_kit"]
INSTALLED_APPS = [*dict.fromkeys(SHARED_APPS + TENANT_APPS)]
TENANT_MODEL = "tenants_app.Company"
TENANT_DOMAIN_MODEL = "tenants_app.Domain"
ROOT_URLCONF = "tests.tenants.urls"
NINJA_AUTH_KIT: AuthKitSettings = {**_KIT, "TENANT_SETTINGS": "tests.tenants.app.settings_of.tenant_settings"}
