"""Single requests of a case to its web server."""

import http.client
import json
from typing import Any

from tests.faults.processes import WebServer
from tests.faults.seed import PASSWORD


def get(web: WebServer, token: str) -> int:
    """Return the status code of a guarded request."""
    return web.request("GET", "/api/auth/me", headers={"Authorization": f"Bearer {token}"})


def post(web: WebServer, path: str, *, token: str | None = None, **body: str) -> tuple[int, dict[str, Any]]:
    """Send a body, and return the status code and the body of the response."""
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=30)
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    try:
        connection.request("POST", f"/api/auth/{path}", json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or "{}")
    finally:
        connection.close()


def sign_in(web: WebServer, email: str, password: str = PASSWORD) -> dict[str, Any]:
    """Log in and return the token pair."""
    status, pair = post(web, "login", email=email, password=password)
    assert status == 200, pair
    return pair
