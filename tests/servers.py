"""Real servers for race tests: gunicorn with four worker processes on the test database."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

from django.db import connection

from tests.private_broker import free_port

ROOT = Path(__file__).parent.parent


def database_url() -> str:
    """Return the URL of the test database, for use in another process."""
    settings = connection.settings_dict
    name, user, password = (quote(str(settings[key]), safe="") for key in ("NAME", "USER", "PASSWORD"))
    host = str(settings["HOST"])
    if host.startswith("/"):
        return f"postgres://{user}:{password}@/{name}?host={quote(host)}"
    return f"postgres://{user}:{password}@{host}:{settings['PORT'] or 5432}/{name}"


class Server:
    """A server of `tests.urls`.

    Keyword arguments are keys of NINJA_AUTH_KIT. `environment` has variables of the process.
    """

    # Connections are kept longer than a slow machine takes between two requests of a client: a request that meets the
    # end of its connection fails.
    command = (
        *("gunicorn", "--workers", "4", "--worker-class", "gthread", "--threads", "32", "--no-control-socket"),
        *("--keep-alive", "30"),
    )
    application = "tests.wsgi"

    def __init__(self, *, environment: dict[str, str] | None = None, **keys: Any) -> None:
        self.port = free_port()
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "default",
            "DJANGO_SETTINGS_MODULE": "tests.settings_server",
            "TEST_SETTINGS": os.environ.get("DJANGO_SETTINGS_MODULE", "tests.settings"),
            "TEST_KIT": json.dumps(keys),
            "DATABASE_URL": database_url(),
            **(environment or {}),
        }
        self._process: subprocess.Popen[str] | None = None

    def program(self) -> list[str]:
        """Return the command line."""
        return [sys.executable, "-m", *self.command, "--bind", f"127.0.0.1:{self.port}", self.application]

    def start(self) -> None:
        """Start the server and wait until it responds."""
        self._process = subprocess.Popen(
            self.program(), cwd=ROOT, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                self.request("GET", "/api/auth/")
            except OSError:
                time.sleep(0.1)
            else:
                return
        self.stop()
        raise AssertionError(f"The server did not start:\n{self.output}")

    output = ""

    def stop(self) -> str:
        """Stop the server and return its output."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGTERM)
            try:
                self.output, _ = self._process.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self.output, _ = self._process.communicate()
            self._process = None
        return self.output

    def request(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, timeout: float = 60
    ) -> tuple[int, Any]:
        """Send a request on a new connection, and return the status code and the parsed body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        return response.status, json.loads(data) if data else None

    def race(self, *calls: tuple[Any, ...], token: str | None = None) -> list[tuple[int, Any]]:
        """Send all requests at once, and return the responses in the order of the calls.

        Args:
            calls: method, path and body; and a token, if a call has its own.
            token: the token of the others.
        """
        barrier = threading.Barrier(len(calls))

        def one(call: tuple[Any, ...]) -> tuple[int, Any]:
            barrier.wait()
            return self.request(*call[:3], token=call[3] if len(call) > 3 else token)

        with ThreadPoolExecutor(len(calls)) as pool:
            return list(pool.map(one, calls))


class AsgiServer(Server):
    """The same server under ASGI, in one process."""

    def program(self) -> list[str]:
        # Without a line for each request: thousands fill the pipe, which is read at the end.
        port = str(self.port)
        return [sys.executable, "-m", "uvicorn", "--no-access-log", "--port", port, "tests.asgi:application"]
