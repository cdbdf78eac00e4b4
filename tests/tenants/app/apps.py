"""The app of the tenants."""

from django.apps import AppConfig


class TenantsConfig(AppConfig):
    name = "tests.tenants.app"
    label = "tenants_app"
    default_auto_field = "django.db.models.BigAutoField"
