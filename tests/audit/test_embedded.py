"""The embedded relay in a web process, and a web process without it."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections

from ninja_auth_kit.audit.relay import embedded
from ninja_auth_kit.models import AuditOutbox
from tests.audit.conftest import Consumer, address
from tests.conftest import EMAIL, PASSWORD, Api
from tests.servers import ROOT, Server, database_url

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.broker
def test_an_embedded_relay_publishes_from_every_worker_in_order(
    servers: Callable[..., Server], user: Any, consumer: Consumer, exchange: str
) -> None:
    host, port = address()
    environment = {"TEST_RABBITMQ_HOST": host, "TEST_RABBITMQ_PORT": str(port)}
    server = servers(AUDIT_EMBEDDED_RELAY=True, AUDIT_EXCHANGE=exchange, environment=environment)
    credentials = {"email": EMAIL, "password": PASSWORD}

    for _ in range(10):
        assert server.request("POST", "/api/auth/login", credentials)[0] == 200

    events = consumer.events(19)
    names = [event["type"].split(".")[2] for event in events]
    assert names == ["logged_in"] + ["revoked", "logged_in"] * 9
    deadline = time.monotonic() + 10
    while AuditOutbox.objects.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not AuditOutbox.objects.exists()
    assert "Traceback" not in server.stop()


def run_in_a_thread() -> None:
    """Run the relay in another thread, as a web process does, until SystemExit is raised."""

    def run() -> None:
        with pytest.raises(SystemExit):
            embedded._run()

    with ThreadPoolExecutor(1) as threads:
        threads.submit(run).result(timeout=10)


def test_the_relay_has_a_connection_outside_the_pool_of_the_host(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    used: list[Any] = []

    def note(*, using: str, **_: Any) -> None:
        used.append(connections[using].settings_dict)
        raise SystemExit

    monkeypatch.setitem(connections.settings["default"]["OPTIONS"], "pool", True)
    monkeypatch.setattr("ninja_auth_kit.audit.relay.loop.configured_relay", note)

    run_in_a_thread()

    assert "pool" not in used[0]["OPTIONS"]
    assert used[0]["NAME"] == connections.settings["default"]["NAME"]
    assert connections.settings["default"]["OPTIONS"]["pool"] is True


def test_an_error_that_nobody_foresaw_does_not_end_publishing_for_the_life_of_the_process(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[int] = []

    def fail(**_: Any) -> None:
        tries.append(1)
        raise MemoryError("a bug") if len(tries) < 3 else SystemExit

    monkeypatch.setattr(embedded, "PAUSE", 0.01)
    monkeypatch.setattr("ninja_auth_kit.audit.relay.loop.configured_relay", fail)

    run_in_a_thread()

    assert len(tries) == 3
    assert caplog.text.count("The embedded relay failed") == 2


def test_each_request_looks_whether_a_relay_is_wanted_because_a_server_may_fork_after_the_first(
    api: Api, kit: Callable[..., None], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[int] = []
    monkeypatch.setattr(embedded, "start", lambda: starts.append(1))
    settings.RABBITMQ_HOST = "127.0.0.1"

    for wanted in (False, True, True):
        kit(AUDIT_EMBEDDED_RELAY=wanted)
        api.get("me")

    assert len(starts) == 2


SCRIPT = """
import json, os, sys, threading
import django
django.setup()
from django.test import Client
answer = Client().post("/api/auth/login", {"email": "x@example.com", "password": "x"}, content_type="application/json")
print(json.dumps({
    "status": answer.status_code,
    "pika": "pika" in sys.modules,
    "threads": [thread.name for thread in threading.enumerate()],
}))
"""


@pytest.mark.security("AUD-08")
def test_a_web_process_without_an_embedded_relay_never_imports_pika() -> None:
    import os

    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "DJANGO_SETTINGS_MODULE": "tests.settings_server",
        "TEST_SETTINGS": os.environ.get("DJANGO_SETTINGS_MODULE", "tests.settings"),
        "TEST_RABBITMQ_HOST": "127.0.0.1",
        "DATABASE_URL": database_url(),
    }

    result = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )

    answer = json.loads(result.stdout.splitlines()[-1])
    assert answer == {"status": 401, "pika": False, "threads": ["MainThread", "ninja_auth_kit-promised-emails"]}
    assert AuditOutbox.objects.count() == 1
