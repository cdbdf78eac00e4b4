"""Two tenants, their emails and their events. The tests of this folder have a pass of their own: see tox.ini."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core import mail
from django.db import connection
from django.test.utils import setup_databases, teardown_databases
from pytest_django import Settings

from ninja_auth_kit import emails
from ninja_auth_kit.models import AuditOutbox
from tests.audit.conftest import consumer, exchange
from tests.conftest import EMAIL, PASSWORD, Api
from tests.smtp import SMTPServer

__all__ = ["consumer", "exchange"]  # fixtures

# The tests of each layout: where the kit and the users are.
LAYOUTS = {
    "tests.settings_tenants_shared": {"test_shared.py"},
    "tests.settings_tenants_both": {"test_public_too.py"},
}
FILES = {path.name for path in Path(__file__).parent.glob("test_*.py")}
OF_TENANTS = FILES.difference(*LAYOUTS.values()) if hasattr(django_settings, "TENANT_MODEL") else set()
collect_ignore = sorted(FILES - LAYOUTS.get(os.environ["DJANGO_SETTINGS_MODULE"], OF_TENANTS))

TENANTS = ("north", "south")


class TenantApi(Api):
    """A client of the host of one tenant."""

    def __init__(self, schema: str) -> None:
        super().__init__(HTTP_HOST=f"{schema}.example.com")
        self.schema = schema


@pytest.fixture(scope="session")
def companies(django_db_blocker: Any) -> Iterator[dict[str, Any]]:
    """Create the database, and the tenants whose schemas the whole test run uses."""
    with django_db_blocker.unblock():
        databases = setup_databases(verbosity=0, interactive=False)
        yield {name: create_tenant(name) for name in TENANTS}
        teardown_databases(databases, verbosity=0)


def create_tenant(name: str) -> Any:
    """Create a tenant, its schema and its domain."""
    from tests.tenants.app.models import Company, Domain

    connection.set_schema_to_public()
    company = Company(schema_name=name, title=name.title())
    company.save(verbosity=0)
    Domain.objects.create(domain=f"{name}.example.com", tenant=company)
    return company


@pytest.fixture(autouse=True)
def database(companies: dict[str, Any], django_db_blocker: Any) -> Iterator[None]:
    """Open the database, and empty the tables of each schema afterwards.

    The fixtures of pytest-django empty the tables of the schema `public`, and with them the list of the tenants.
    """
    with django_db_blocker.unblock():
        yield
        emails.flush()
        connection.close()
        connection.set_schema_to_public()
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT format('DELETE FROM %%I.%%I', schemaname, tablename) FROM pg_tables "
                "WHERE schemaname = ANY(%s) AND (tablename LIKE 'ninja_auth_kit_%%' OR tablename = 'auth_user') "
                # The same ids in each schema.
                "UNION ALL SELECT format('ALTER SEQUENCE %%I.%%I RESTART', schemaname, sequencename) "
                "FROM pg_sequences WHERE schemaname = ANY(%s) AND sequencename = 'auth_user_id_seq'",
                [["public", *companies]] * 2,
            )
            cursor.execute("; ".join(statement for (statement,) in cursor.fetchall()))


@pytest.fixture
def north() -> TenantApi:
    return TenantApi("north")


@pytest.fixture
def south() -> TenantApi:
    return TenantApi("south")


@pytest.fixture
def smtp(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[SMTPServer]:
    """Send emails in threads to a server, as outside of a test run."""
    monkeypatch.delattr(mail, "outbox")
    server = SMTPServer()
    server.use(settings)
    yield server
    server.stop()


def links(smtp: SMTPServer) -> dict[str, list[str]]:
    """Send what waits, and return the links in the emails, by the host that they open."""
    assert emails.flush()
    found: dict[str, list[str]] = {}
    for message in smtp.messages:
        text = message.replace("=\r\n", "").replace("=3D", "=")
        for host, link in set(re.findall(r"https://([^/]+)/\S*?#token=([\w.~-]+)", text)):
            found.setdefault(host, []).append(link)
    return found


def join(api: TenantApi, smtp: SMTPServer, email: str = EMAIL) -> dict[str, Any]:
    """Register and verify an address at one tenant, and return the token pair of a login."""
    before = links(smtp).get(f"{api.schema}.example.com", [])
    assert api.register(email).status_code == 202
    (token,) = set(links(smtp)[f"{api.schema}.example.com"]) - set(before)
    response = api.post("verify-email", {"token": token, "password": PASSWORD})
    assert response.status_code == 200, response.content
    return api.pair(email)


def in_schema(schema: str) -> Any:
    """Work in the schema of a tenant."""
    from django_tenants.utils import schema_context

    return schema_context(schema)


def outbox_of(schema: str) -> list[str]:
    """Return the payloads of the events that wait in a schema."""
    with in_schema(schema):
        return list(AuditOutbox.objects.order_by("id").values_list("payload", flat=True))
