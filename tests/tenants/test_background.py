"""Emails that another process has left behind are sent, whichever tenant they belong to."""

import logging
from collections.abc import Iterator

import pytest
from django.db import connection

from ninja_auth_kit.models import PromisedEmail
from ninja_auth_kit.services import promised_emails
from tests.smtp import SMTPServer
from tests.tenants.conftest import TenantApi, create_tenant, in_schema, links


@pytest.fixture
def left_behind(monkeypatch: pytest.MonkeyPatch, smtp: SMTPServer) -> None:
    """Let each process be stopped before it sends its emails."""
    monkeypatch.setattr("ninja_auth_kit.emails.background._start", lambda run: None)


@pytest.fixture
def east() -> Iterator[str]:
    """Create a tenant for one test."""
    create_tenant("east")
    yield "east"
    connection.set_schema_to_public()
    from tests.tenants.app.models import Company

    Company.objects.get(schema_name="east").delete(force_drop=True)


def make_due(*schemas: str) -> None:
    for schema in schemas:
        with in_schema(schema):
            PromisedEmail.objects.update(due_at="2020-01-01T00:00:00Z")


def waiting(schema: str) -> int:
    with in_schema(schema):
        return PromisedEmail.objects.count()


def send_due() -> int:
    """Do what each web process does every few seconds, in a thread whose connection belongs to no tenant."""
    connection.set_schema_to_public()
    return promised_emails.send_due()


@pytest.mark.usefixtures("left_behind")
def test_emails_of_all_tenants_that_were_left_behind_are_sent(
    north: TenantApi, south: TenantApi, smtp: SMTPServer
) -> None:
    north.register()
    south.register()
    make_due("north", "south")
    assert send_due() == 2
    assert connection.schema_name == "public"
    found = links(smtp)
    assert sorted(found) == ["north.example.com", "south.example.com"]
    assert waiting("north") == waiting("south") == 0
    (token,) = found["south.example.com"]
    assert south.post("verify-email", {"token": token, "password": "correct horse battery staple"}).status_code == 200


@pytest.mark.usefixtures("left_behind")
def test_a_tenant_with_many_emails_does_not_hold_up_another(
    north: TenantApi, south: TenantApi, smtp: SMTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promised_emails, "EMAILS_OF_A_TENANT", 2)
    for number in range(6):
        north.register(f"ada{number}@example.com")
    south.register("grace@example.com")
    make_due("north", "south")
    assert send_due() == 7
    assert smtp.recipients.index("grace@example.com") <= 2


@pytest.mark.usefixtures("left_behind")
def test_a_tenant_whose_schema_is_not_migrated_does_not_stop_the_others(
    north: TenantApi, south: TenantApi, smtp: SMTPServer, east: str, caplog: pytest.LogCaptureFixture
) -> None:
    TenantApi(east).register()
    south.register("grace@example.com")
    make_due("south")
    with connection.cursor() as cursor:
        cursor.execute(f'ALTER TABLE "{east}".ninja_auth_kit_promisedemail RENAME COLUMN due_at TO due')
    with caplog.at_level(logging.WARNING):
        assert send_due() == 1
    assert smtp.recipients == ["grace@example.com"]
    assert "Promised emails of the tenant east wait." in caplog.text


@pytest.mark.usefixtures("left_behind")
def test_a_tenant_whose_schema_was_dropped_does_not_stop_the_others(
    south: TenantApi, smtp: SMTPServer, east: str
) -> None:
    south.register("grace@example.com")
    make_due("south")
    with connection.cursor() as cursor:
        cursor.execute(f'DROP SCHEMA "{east}" CASCADE')
    assert send_due() == 1
    assert smtp.recipients == ["grace@example.com"]


def test_a_job_keeps_its_tenant_whatever_the_request_does_next(north: TenantApi, smtp: SMTPServer) -> None:
    from django.db import transaction

    from ninja_auth_kit import emails

    seen: list[str] = []
    connection.set_schema("north")
    with transaction.atomic():
        emails.after_answer(lambda: seen.append(connection.schema_name), using="default")
        connection.set_schema("south")
    connection.set_schema_to_public()
    assert emails.flush()
    assert seen == ["north"]
