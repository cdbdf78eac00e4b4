"""Under ASGI, a process keeps a few connections for the kit's own queries, and each request uses the one it has."""

import json
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from tests.conftest import Api
from tests.servers import AsgiServer, Server

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_user_model]

GUARDED, SYNC = "/host/async", "/host/sync"


def no_state(connection: Any) -> None:
    """Prepare nothing. A project that sets `CONNECTION_STATE` prepares its connections itself."""


def slow_claims(user: Any, session: Any) -> dict[str, Any]:
    """Take a while, as a function that asks another service."""
    time.sleep(3)
    return {}


def connected() -> set[int]:
    """Return the processes of PostgreSQL that serve others than this test."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        )
        return {pid for (pid,) in cursor.fetchall()}


def statuses(server: Server, path: str, token: str, *, times: int) -> set[int]:
    return {server.request("GET", path, token=token)[0] for _ in range(times)}


@pytest.fixture
def token(api: Api, user: Any) -> str:
    found: str = api.pair()["access_token"]
    return found


@pytest.mark.parametrize("path", [GUARDED, "/api/auth/me", "/api/auth/sessions"])
def test_requests_share_a_connection(servers: Callable[..., Server], token: str, path: str) -> None:
    server = servers(AsgiServer)
    assert statuses(server, path, token, times=1) == {200}
    first = connected()

    assert statuses(server, path, token, times=30) == {200}

    assert len(first) == 1
    assert connected() == first


def test_a_refresh_and_a_logout_use_the_connection_too(servers: Callable[..., Server], api: Api, user: Any) -> None:
    server = servers(AsgiServer)
    pair = api.pair()
    seen = set()
    for _ in range(5):
        body = {"refresh_token": pair["refresh_token"]}
        status, pair = server.request("POST", "/api/auth/refresh", body)
        assert status == 200
        seen |= connected()

    assert server.request("POST", "/api/auth/logout", {}, token=pair["access_token"])[0] == 204

    assert connected() == seen
    assert len(seen) == 1


@pytest.mark.parametrize("path", [GUARDED, "/api/auth/me"])
def test_many_requests_at_once_use_no_more_than_the_setting_allows(
    servers: Callable[..., Server], token: str, path: str
) -> None:
    server = servers(AsgiServer, ASGI_CONNECTIONS=2)

    for _ in range(3):
        answers = server.race(*[("GET", path, None)] * 64, token=token)
        assert {status for status, _ in answers} == {200}

    assert 1 <= len(connected()) <= 2


def opened() -> int:
    """Return how many connections to the test database were ever opened. PostgreSQL counts them within a second."""
    time.sleep(1.5)
    with connection.cursor() as cursor:
        cursor.execute("SELECT sessions FROM pg_stat_database WHERE datname = current_database()")
        return int(cursor.fetchone()[0])


@pytest.mark.race
def test_many_refreshes_at_once_open_few_connections(
    servers: Callable[..., Server], api: Api, user: Any, kit: Callable[..., None]
) -> None:
    kit(SESSION_LIMIT=None)
    pairs = [api.pair() for _ in range(40)]
    server = servers(AsgiServer, SESSION_LIMIT=None)
    before = opened()

    calls = [("POST", "/api/auth/refresh", {"refresh_token": pair["refresh_token"]}) for pair in pairs]
    assert {status for status, _ in server.race(*calls)} == {200}

    assert opened() - before <= 8


def test_slow_code_of_the_project_in_a_refresh_leaves_connections_to_the_checks(
    servers: Callable[..., Server], api: Api, user: Any, kit: Callable[..., None]
) -> None:
    kit(SESSION_LIMIT=None)
    pairs = [api.pair() for _ in range(6)]
    server = servers(
        AsgiServer,
        ASGI_CONNECTIONS=2,
        SESSION_LIMIT=None,
        ACCESS_TOKEN_CLAIMS="tests.test_kept_connections.slow_claims",
    )
    calls = [("POST", "/api/auth/refresh", {"refresh_token": pair["refresh_token"]}) for pair in pairs]

    with ThreadPoolExecutor(1) as pool:
        refreshes = pool.submit(server.race, *calls)
        served = 0
        while not refreshes.done():
            assert server.request("GET", GUARDED, token=pairs[0]["access_token"])[0] == 200
            served += 1

    assert {status for status, _ in refreshes.result()} == {200}
    assert served > 5  # if the checks waited for the refreshes, it would be one


def test_a_session_that_ends_is_rejected_on_a_kept_connection(
    servers: Callable[..., Server], api: Api, token: str
) -> None:
    server = servers(AsgiServer)
    assert statuses(server, GUARDED, token, times=3) == {200}
    api.post("logout", token=token)

    assert server.request("GET", GUARDED, token=token)[0] == 401


def test_a_connection_that_the_server_has_closed_is_replaced(servers: Callable[..., Server], token: str) -> None:
    server = servers(AsgiServer)
    assert statuses(server, GUARDED, token, times=2) == {200}
    (lost,) = connected()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [lost])
    until_gone(lost)

    assert statuses(server, GUARDED, token, times=3) == {200}

    (new,) = connected()
    assert new != lost


def until_gone(pid: int) -> None:
    deadline = time.monotonic() + 10
    while pid in connected():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("kit", "database"),
    [
        pytest.param({"ASGI_CONNECTIONS": 0}, {}, id="switched off"),
        pytest.param({"CONNECTION_STATE": "tests.test_kept_connections.no_state"}, {}, id="prepared by the project"),
        pytest.param({}, {"OPTIONS": {"pool": {"min_size": 1, "max_size": 3}}}, id="Django's pool"),
        pytest.param({}, {"ATOMIC_REQUESTS": True}, id="a transaction for each request"),
    ],
)
def test_a_project_that_manages_its_connections_is_served_by_them(
    servers: Callable[..., Server], token: str, kit: dict[str, Any], database: dict[str, Any]
) -> None:
    server = servers(AsgiServer, environment={"TEST_DATABASE": json.dumps(database)}, **kit)

    # Django allows no async view with ATOMIC_REQUESTS.
    for path in ("/api/auth/me", SYNC, *(() if database.get("ATOMIC_REQUESTS") else (GUARDED,))):
        assert statuses(server, path, token, times=5) == {200}
        answers = server.race(*[("GET", path, None)] * 8, token=token)
        assert {status for status, _ in answers} == {200}


def test_clients_that_hang_up_leave_the_connections_to_the_others(servers: Callable[..., Server], token: str) -> None:
    server = servers(AsgiServer, ASGI_CONNECTIONS=2)
    request = f"GET {GUARDED} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    for _ in range(1_000):
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(request)

    assert statuses(server, GUARDED, token, times=10) == {200}
    assert len(connected()) <= 2
