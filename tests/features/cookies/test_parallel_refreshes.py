"""Cookie mode on real servers: parallel refreshes, WSGI and ASGI."""

import http.client
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.cookies import SimpleCookie
from typing import Any

import pytest

from ninja_auth_kit.models import UserSession
from tests.conftest import EMAIL, PASSWORD
from tests.features.cookies.page import ORIGIN, REFRESH
from tests.servers import AsgiServer, Server

pytestmark = pytest.mark.django_db(transaction=True)

HEADERS = {"X-AuthKit-Transport": "cookie", "Origin": ORIGIN}


def post(server: Server, path: str, body: Any = None, *, cookie: str | None = None) -> tuple[int, Any, str | None]:
    """Send a request in cookie mode, and return the status, the body and the new value of the cookie."""
    headers = {**HEADERS, **({"Cookie": f"{REFRESH}={cookie}"} if cookie else {})}
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        if body is None:
            connection.request("POST", f"/api/auth/{path}", headers=headers)
        else:
            headers["Content-Type"] = "application/json"
            connection.request("POST", f"/api/auth/{path}", json.dumps(body), headers)
        response = connection.getresponse()
        data = response.read()
    finally:
        connection.close()
    cookies: SimpleCookie = SimpleCookie(response.getheader("Set-Cookie", ""))
    return response.status, json.loads(data) if data else None, cookies[REFRESH].value if REFRESH in cookies else None


def login(server: Server) -> str:
    status, _, token = post(server, "login", {"email": EMAIL, "password": PASSWORD})
    assert status == 200
    assert token is not None
    return token


@pytest.mark.race
@pytest.mark.security("COOK-03")
def test_twenty_refreshes_at_once_leave_one_cookie_that_works(servers: Callable[..., Server], user: Any) -> None:
    server = servers(BASE_URL="https://example.com")
    token = login(server)

    for _ in range(10):
        barrier = threading.Barrier(20)

        def refresh(_: int, token: str = token, barrier: threading.Barrier = barrier) -> tuple[int, Any, str | None]:
            barrier.wait()
            return post(server, "refresh", cookie=token)

        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(refresh, range(20)))
        assert {status for status, _, _ in answers} == {200}
        (successor,) = {cookie for _, _, cookie in answers}
        assert successor not in {None, "", token}
        assert {server.request("GET", "/api/auth/me", token=body["access_token"])[0] for _, body, _ in answers} == {
            200
        }
        token = str(successor)

    assert post(server, "refresh", cookie=token)[0] == 200
    assert UserSession.objects.get().is_active


@pytest.mark.parametrize("kind", [Server, AsgiServer])
def test_the_flow_is_the_same_on_servers_of_both_kinds(
    servers: Callable[..., Server], user: Any, kind: type[Server]
) -> None:
    server = servers(kind, BASE_URL="https://example.com")
    first = login(server)

    status, body, second = post(server, "refresh", cookie=first)
    assert (status, "refresh_token" in body) == (200, False)
    assert post(server, "refresh", {}, cookie=second)[0] == 200
    assert post(server, "logout", cookie=second) == (204, None, "")
    assert post(server, "refresh", cookie=second)[::2] == (401, "")
    assert not UserSession.objects.filter(is_active=True).exists()
