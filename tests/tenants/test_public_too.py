"""The schema `public` has users, too, as the tenants have."""

import pytest
from django.db import connection

from tests.audit.conftest import Consumer
from tests.smtp import SMTPServer
from tests.tenants.conftest import TenantApi, create_tenant, join
from tests.tenants.test_relay import relay


@pytest.fixture
def public(companies: object) -> TenantApi:
    """Return a client of the host of `public`, which has a tenant, too."""
    from tests.tenants.app.models import Domain

    if not Domain.objects.filter(domain="public.example.com"):
        create_tenant("public")
    return TenantApi("public")


@pytest.mark.broker
def test_the_users_of_public_are_apart_from_those_of_tenants(
    north: TenantApi, public: TenantApi, smtp: SMTPServer, consumer: Consumer
) -> None:
    first = join(north, smtp)
    assert public.register("grace@example.com").status_code == 202
    access = first["access_token"]
    assert public.get("/own/unchecked", token=access).status_code == 401
    assert public.login().status_code == 401
    waiting = relay()
    assert connection.schema_name == "public"
    assert waiting == "Events published: 5.\n"
    sources = {event["source"] for event in consumer.events(5)}
    assert sources == {"ninja-auth-kit", "ninja-auth-kit/north"}
