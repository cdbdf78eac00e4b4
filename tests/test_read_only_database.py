"""A database server that accepts no writes: a replica after a failover, or a managed server whose disk is full.

PostgreSQL then reports SQLSTATE 25006, which is no OperationalError, and the connection goes on to answer queries.
"""

import logging
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from psycopg.errors import ReadOnlySqlTransaction

from ninja_auth_kit.audit.events import Event, parse
from ninja_auth_kit.consumer.stores import AwayError, Postgres
from ninja_auth_kit.models import AuditOutbox, UserSession
from tests.conftest import EMAIL, PASSWORD, Api
from tests.servers import database_url

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def kept_connection(transactional_db: None) -> Iterator[None]:
    """Keep the connection between requests, as with CONN_MAX_AGE = None, which is the longest."""
    connection.settings_dict["CONN_MAX_AGE"] = None
    connection.close()
    yield
    connection.settings_dict["CONN_MAX_AGE"] = 0
    connection.close()


def become_read_only() -> None:
    """Let the present connection be one to a server that accepts no writes."""
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")


@pytest.mark.security("SES-21")
@pytest.mark.parametrize("path", ["register", "login", "refresh", "logout", "logout/all", "password/reset"])
def test_each_change_is_a_503_and_the_next_request_gets_another_connection(
    api: Api, user: Any, kept_connection: None, path: str
) -> None:
    pair = api.pair()
    bodies = {"login": {"email": EMAIL, "password": PASSWORD}, "refresh": {"refresh_token": pair["refresh_token"]}}
    body = bodies.get(path, None if path.startswith("logout") else {"email": EMAIL})

    def call() -> Any:
        token = None if path in bodies else pair["access_token"]
        return api.register("grace@example.com") if path == "register" else api.post(path, body, token=token)

    become_read_only()
    first = call()
    second = call()

    assert (first.status_code, first.json()["code"]) == (503, "service_unavailable")
    assert second.status_code == {"register": 202, "login": 200, "refresh": 200, "password/reset": 202}.get(path, 204)


def test_reads_are_answered_by_a_server_that_accepts_no_writes(api: Api, user: Any, kept_connection: None) -> None:
    token = api.pair()["access_token"]

    become_read_only()

    assert api.get("me", token=token).status_code == 200


def test_nothing_is_done_that_was_answered_with_a_503(api: Api, user: Any, kept_connection: None) -> None:
    pair = api.pair()

    become_read_only()
    assert api.post("logout", token=pair["access_token"]).status_code == 503

    assert UserSession.objects.get().is_active
    assert api.post("refresh", {"refresh_token": pair["refresh_token"]}).status_code == 200


def test_the_log_says_what_to_set(
    api: Api, user: Any, kept_connection: None, caplog: pytest.LogCaptureFixture
) -> None:
    api.login()
    become_read_only()
    with pytest.raises(CommandError, match=r"The database is read-only: .*'target_session_attrs': 'read-write'"):
        call_command("authkit_revoke", "--everyone")
    become_read_only()
    with caplog.at_level(logging.ERROR, "ninja_auth_kit"):
        api.login()

    assert "The database is not available." in caplog.text


def test_the_store_of_a_consumer_leaves_a_server_that_accepts_no_writes(api: Api, user: Any, audited: None) -> None:
    """A failover is no failure of the handler: the event must not come nearer to the dead letters."""
    api.login()
    api.login()
    first, second, *_ = (parse(row.payload) for row in AuditOutbox.objects.order_by("id"))
    name = connection.ops.quote_name(connection.settings_dict["NAME"])
    store = Postgres(conninfo(), table="read_only_store")
    store.install()
    try:
        execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        with pytest.raises(AwayError, match="ReadOnlySqlTransaction"), store.once(first):
            pass
        execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        with store.once(first) as (is_new, _cursor):
            assert is_new
        with pytest.raises(ReadOnlySqlTransaction):  # an error of the handler, which counts as one
            handle_wrongly(store, second)
        with store.once(first) as (is_new, _cursor):
            assert not is_new
    finally:
        store.close()
        execute(f"ALTER DATABASE {name} RESET default_transaction_read_only", "DROP TABLE read_only_store")


def handle_wrongly(store: Postgres, event: Event) -> None:
    with store.once(event) as (_is_new, cursor):
        cursor.execute("SET TRANSACTION READ ONLY")
        cursor.execute("CREATE TABLE never (id int)")


def conninfo() -> str:
    return database_url().replace("postgres:", "postgresql:", 1)


def execute(*statements: str) -> None:
    """Run statements on a connection that accepts writes in any case."""
    with psycopg.connect(conninfo(), autocommit=True) as writer:
        for statement in ("SET default_transaction_read_only = off", *statements):
            writer.execute(statement.encode())
