"""Each tenant sees its own users, sessions, emails and events."""

import json
from typing import Any

import jwt
import pytest
from asgiref.sync import async_to_sync
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth import get_user_model
from django.core.asgi import get_asgi_application
from django.db import connection

from tests.conftest import EMAIL, PASSWORD
from tests.smtp import SMTPServer
from tests.tenants.conftest import TenantApi, in_schema, join, links, outbox_of


def claims(token: str) -> dict[str, Any]:
    return dict(jwt.decode(token, options={"verify_signature": False}))


def test_one_address_can_register_at_two_tenants(north: TenantApi, south: TenantApi, smtp: SMTPServer) -> None:
    first, second = join(north, smtp), join(south, smtp)
    assert north.is_in(first["access_token"])
    assert south.is_in(second["access_token"])
    assert claims(first["access_token"])["sub"] == claims(second["access_token"])["sub"]
    for schema in ("north", "south"):
        with in_schema(schema):
            assert get_user_model().objects.count() == 1


def test_a_link_opens_the_host_of_its_tenant_and_is_valid_only_there(
    north: TenantApi, south: TenantApi, smtp: SMTPServer
) -> None:
    north.register()
    south.register()
    found = links(smtp)
    assert sorted(found) == ["north.example.com", "south.example.com"]
    (token,) = found["north.example.com"]
    assert south.post("verify-email", {"token": token, "password": PASSWORD}).status_code == 400
    assert north.post("verify-email", {"token": token, "password": PASSWORD}).status_code == 200


def test_a_reset_by_email_works_at_its_tenant(north: TenantApi, south: TenantApi, smtp: SMTPServer) -> None:
    join(north, smtp)
    join(south, smtp)
    smtp.messages.clear()
    assert north.post("password/reset", {"email": EMAIL}).status_code == 202
    found = links(smtp)
    assert list(found) == ["north.example.com"]
    assert "North" in smtp.messages[-1]
    (token,) = found["north.example.com"]
    body = {"token": token, "new_password": "another long sentence of mine"}
    assert south.post("password/reset/confirm", body).status_code == 400
    assert north.post("password/reset/confirm", body).status_code == 204
    assert north.login(password="another long sentence of mine").status_code == 200
    assert south.login().status_code == 200


def test_a_token_of_one_tenant_is_refused_by_another(north: TenantApi, south: TenantApi, smtp: SMTPServer) -> None:
    pair = join(north, smtp)
    join(south, smtp)
    access, refresh = pair["access_token"], pair["refresh_token"]
    for path in ("/own/checked", "/own/unchecked"):
        assert north.get(path, token=access).status_code == 200
        assert south.get(path, token=access).status_code == 401
    assert south.post("refresh", {"refresh_token": refresh}).status_code == 401
    assert south.post("logout", {}, token=access).status_code == 204  # as for any token that it does not know
    assert north.get("/own/checked", token=access).status_code == 200
    assert north.post("refresh", {"refresh_token": refresh}).status_code == 200


async def status_under_asgi(path: str, host: str, token: str) -> int:
    """Send a request as a server does: Django's AsyncClient adds its own host to that of the test."""
    headers = [(b"host", host.encode()), (b"authorization", f"Bearer {token}".encode())]
    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": headers}
    server = ApplicationCommunicator(get_asgi_application(), scope)
    await server.send_input({"type": "http.request", "body": b""})
    started = await server.receive_output(timeout=10)
    await server.receive_output(timeout=10)  # the body
    await server.wait()
    return int(started["status"])


def test_an_async_endpoint_accepts_the_tokens_of_its_tenant_only(
    north: TenantApi, south: TenantApi, smtp: SMTPServer
) -> None:
    path, token = "/own/checked-async", join(north, smtp)["access_token"]
    join(south, smtp)
    for tenant, status in (north, 200), (south, 401):
        assert tenant.get(path, token=token).status_code == status
        assert async_to_sync(status_under_asgi)(path, f"{tenant.schema}.example.com", token) == status


def test_a_logout_ends_the_session_of_one_tenant_only(north: TenantApi, south: TenantApi, smtp: SMTPServer) -> None:
    first, second = join(north, smtp), join(south, smtp)
    assert north.post("logout", {}, token=first["access_token"]).status_code == 204
    assert north.get("/own/checked", token=first["access_token"]).status_code == 401
    assert south.get("/own/checked", token=second["access_token"]).status_code == 200
    assert south.post("refresh", {"refresh_token": second["refresh_token"]}).status_code == 200


def test_each_tenant_has_its_own_rate_limits(north: TenantApi, south: TenantApi, smtp: SMTPServer, kit: Any) -> None:
    join(north, smtp)
    join(south, smtp)
    kit(THROTTLES={"login_network": "2/h"})
    assert [north.login(password="wrong").status_code for _ in range(3)] == [401, 401, 429]
    assert [south.login(password="wrong").status_code for _ in range(3)] == [401, 401, 429]


@pytest.mark.parametrize("threshold", [None, 0])
def test_the_tenant_may_change_on_one_connection_with_and_without_prepared_statements(
    north: TenantApi, south: TenantApi, smtp: SMTPServer, monkeypatch: pytest.MonkeyPatch, threshold: int | None
) -> None:
    connection.close()
    options = {**connection.settings_dict["OPTIONS"], "prepare_threshold": threshold}
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)
    first, second = join(north, smtp), join(south, smtp, "grace@example.com")
    for _ in range(8):  # psycopg prepares a statement for the sixth time at the latest
        assert north.get("me", token=first["access_token"]).json()["email"] == EMAIL
        assert south.get("me", token=second["access_token"]).json()["email"] == "grace@example.com"
    connection.close()


@pytest.mark.usefixtures("exchange")
@pytest.mark.broker
def test_a_failed_login_is_recorded_for_its_tenant_though_the_request_is_rolled_back(
    north: TenantApi, south: TenantApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    assert north.login(password="wrong").status_code == 401
    (event,) = map(json.loads, outbox_of("north"))
    assert event["source"] == "ninja-auth-kit/north"
    assert event["data"]["outcome"] == "failure"
    assert outbox_of("south") == []


def test_the_issuer_names_the_tenant(north: TenantApi, south: TenantApi, smtp: SMTPServer) -> None:
    issuers = [claims(join(api, smtp)["access_token"])["iss"] for api in (north, south)]
    assert issuers == ["ninja-auth-kit/north", "ninja-auth-kit/south"]


def test_a_tenant_may_have_an_issuer_of_its_own(
    north: TenantApi, south: TenantApi, smtp: SMTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def own(connection: Any) -> dict[str, str]:
        host = f"https://{connection.schema_name}.example.com"
        return {"BASE_URL": host, "ISSUER": f"{host}/api/auth"}

    monkeypatch.setattr("tests.tenants.app.settings_of.tenant_settings", own)
    access = join(north, smtp)["access_token"]
    assert claims(access)["iss"] == "https://north.example.com/api/auth"
    assert north.is_in(access)
    assert south.get("/own/unchecked", token=access).status_code == 401


@pytest.mark.parametrize(
    ("returned", "complaint"),
    [
        (["BASE_URL"], "must return a dict"),
        ({"JWT_SECRET_KEY": "x"}, "returned the key 'JWT_SECRET_KEY'; it may return AUDIENCE, BASE_URL,"),
        ({"BASE_URL": "north.example.com"}, "returned a value of 'BASE_URL' that must be a scheme and a host"),
    ],
)
def test_wrong_settings_of_a_tenant_are_named(monkeypatch: pytest.MonkeyPatch, returned: Any, complaint: str) -> None:
    from django.core.exceptions import ImproperlyConfigured

    from ninja_auth_kit.conf import settings

    monkeypatch.setattr("tests.tenants.app.settings_of.tenant_settings", lambda connection: returned)
    with pytest.raises(ImproperlyConfigured, match=complaint):
        _ = settings.BASE_URL
