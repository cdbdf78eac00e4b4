"""All tenants share the users: the tables are in `public`, and a token is valid everywhere."""

import json

import jwt
import pytest
from django.contrib.auth import get_user_model
from django.db import connection

from ninja_auth_kit.audit.relay.loop import configured_relay
from ninja_auth_kit.services import promised_emails
from tests.audit.conftest import Consumer
from tests.conftest import EMAIL
from tests.smtp import SMTPServer
from tests.tenants.conftest import TenantApi, in_schema, join, links


def test_a_user_of_one_tenant_is_a_user_of_all(north: TenantApi, south: TenantApi, smtp: SMTPServer) -> None:
    pair = join(north, smtp)
    assert jwt.decode(pair["access_token"], options={"verify_signature": False})["iss"] == "ninja-auth-kit"
    for path in ("/own/checked", "/own/unchecked"):
        assert north.get(path, token=pair["access_token"]).status_code == 200
        assert south.get(path, token=pair["access_token"]).status_code == 200
    assert south.post("refresh", {"refresh_token": pair["refresh_token"]}).status_code == 200
    for schema in ("public", "north", "south"):
        with in_schema(schema):
            assert [user.email for user in get_user_model().objects.all()] == [EMAIL]


@pytest.mark.broker
def test_a_relay_in_public_serves_all_tenants(north: TenantApi, south: TenantApi, consumer: Consumer) -> None:
    north.register()
    south.register("grace@example.com")
    connection.set_schema_to_public()
    assert configured_relay(using="default").drain() == 2
    assert {event["source"] for event in consumer.events(2)} == {"ninja-auth-kit"}


def test_emails_left_behind_are_sent(north: TenantApi, smtp: SMTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ninja_auth_kit.emails.background._start", lambda run: None)
    north.register()
    connection.set_schema_to_public()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE ninja_auth_kit_promisedemail SET due_at = '2020-01-01'")
    assert promised_emails.send_due() == 1
    assert list(links(smtp)) == ["north.example.com"]


@pytest.mark.broker
@pytest.mark.usefixtures("exchange")
def test_a_failed_login_survives_the_rollback_of_the_request(
    north: TenantApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    assert north.login(password="wrong").status_code == 401
    connection.set_schema_to_public()
    with connection.cursor() as cursor:
        cursor.execute("SELECT payload FROM ninja_auth_kit_auditoutbox")
        ((payload,),) = cursor.fetchall()
    assert json.loads(payload)["source"] == "ninja-auth-kit"
