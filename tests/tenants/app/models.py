"""The tenants and their domains."""

from django.db import models
from django_tenants.models import DomainMixin, TenantMixin


class Company(TenantMixin):
    """A tenant."""

    title = models.CharField(max_length=100)
    auto_drop_schema = True

    class Meta:
        app_label = "tenants_app"


class Domain(DomainMixin):
    """A host name of a tenant."""

    class Meta:
        app_label = "tenants_app"
