"""The SDK of an error tracker in a real server: neither a report nor a trace has a secret from a body."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.attacks.canaries import Trail, leaks
from tests.attacks.conftest import Operation, genuine_values, operations
from tests.servers import ROOT, database_url

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.security("CFG-04", "AUD-03"),
    pytest.mark.attack,
    pytest.mark.one_user_model,
]

KIT = {
    "REGISTRATION_SCHEMA": "tests.host_app.odd_schemas.FailingRegistration",
    "CREATE_USER": "tests.host_app.user_creation.failing",
}
JSON = {"Content-Type": "application/json"}
MOST = {
    "send_default_pii": True,
    "max_request_body_size": "always",
    "max_value_length": 100_000,
    "attach_stacktrace": True,
    "enable_logs": True,
}
# The interface, the options of the SDK, and ATOMIC_REQUESTS.
RUNS = [["wsgi", {}, False], ["asgi", MOST, True]]


def tracked(runs: list[Any], requests: list[list[Any]], **kit: Any) -> list[dict[str, Any]]:
    """Return what the SDK of Sentry sends for the requests, once for each interface and its options."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "DJANGO_SETTINGS_MODULE": "tests.settings_server",
        "TEST_SETTINGS": os.environ.get("DJANGO_SETTINGS_MODULE", "tests.settings"),
        "TEST_KIT": json.dumps(kit),
        "DATABASE_URL": database_url(),
    }
    process = subprocess.run(
        [sys.executable, "-m", "tests.attacks.tracked"],
        input=json.dumps({"runs": runs, "requests": requests}),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr
    return list(json.loads(process.stdout))


def requests_of(operation: Operation, user: Any, password: str, trail: Trail) -> list[list[Any]]:
    """Return requests of an operation with a secret in each member that can have one, and how they go wrong."""
    genuine = genuine_values(user, operation)
    trail.token(f"access token for {operation}", str(genuine["access_token"]))
    body = {name: genuine[name] for name in operation.members if genuine.get(name)}
    for name in body:
        if "token" in name:
            trail.token(f"{name} for {operation}", str(body[name]))
        if "password" in name:
            body[name] = trail.password(f"{name} for {operation}") if name == "new_password" else password
    body |= {name: user.email for name in body if name == "email"}
    wrong = {**body, "unknown": trail.password(f"unknown to {operation}"), "email": {"more": password}}
    headers = {**JSON, "Authorization": f"Bearer {genuine['access_token']}"}
    return [
        [f"{operation} {kind}", operation.method, operation.path, headers, json.dumps(sent), is_away]
        for kind, sent, is_away in (("away", body, True), ("wrong", wrong, False), ("right", body, False))
    ]


def refused(trail: Trail) -> list[list[Any]]:
    """Return requests that are refused before their body is parsed, or because of it."""
    path, secret = "/api/auth/login", trail.password("in a request that is refused")
    data = json.dumps({"email": "ada@example.com", "password_again": secret})
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    multipart = {"Content-Type": "multipart/form-data; boundary=b"}
    part = f'--b\r\nContent-Disposition: form-data; name="a_member"\r\n\r\n{secret}\r\n--b--\r\n'
    file = part.replace("a_member", 'a_member"; filename="a')
    return [
        ["a form", "POST", path, form, urlencode({"a_member": secret}), False],
        ["a form with parts", "POST", path, multipart, part, False],
        ["a form with a file", "POST", path, multipart, file, False],
        ["broken JSON", "POST", path, JSON, data[:-1], False],
        ["a member twice", "POST", path, JSON, data[:-1] + "," + data[1:], False],
        ["a large body", "POST", path, JSON, data.ljust(70_000), False],
        ["a slash at the end", "POST", f"{path}/", JSON, data, False],
        ["another method", "PUT", path, JSON, data, False],
        ["a body that is not read", "GET", "/api/auth/me", JSON, data, False],
    ]


def test_no_report_and_no_trace_has_a_secret_from_a_body(make_user: Callable[..., Any]) -> None:
    trail, requests = Trail(), []
    for operation in (one for one in operations() if one.members):
        password = trail.password(f"of the user of {operation}")
        user = make_user(f"{operation}@example.com", password)
        requests += requests_of(operation, user, password, trail)
    requests += refused(trail)
    for kind in ("failing", "invalid"):
        body = {"email": f"{kind}@example.com", "password": trail.password(kind)}
        requests.append([kind, "POST", "/api/auth/register", JSON, json.dumps({**body, "username": kind}), False])
    control = {"password_again": Trail().password("of another view")}
    requests.append(["control", "POST", "/control", JSON, json.dumps(control), False])

    results = tracked(RUNS, requests, **KIT)

    assert {200, 202, 204} < set(results[0]["answers"].values())
    for (interface, *_), result in zip(RUNS, results, strict=True):
        answers, sent = result["answers"], "".join(result["sent"])
        away = [status for name, status in answers.items() if name.endswith(" away")]
        assert set(away) == {503}
        assert sent.count('"type":"OperationalError"') >= len(away)
        assert (answers["failing"], answers["invalid"], answers["control"]) == (500, 500, 500)
        assert {answers[request[0]] for request in refused(Trail())} == {400, 401, 404, 405, 413, 415}
        assert "of another view" in sent, "the SDK sends no bodies"
        assert leaks({interface: sent}, trail.secrets) == []
