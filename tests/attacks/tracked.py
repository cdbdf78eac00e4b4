"""A process with the SDK of Sentry: it sends itself requests, and prints what the SDK would have sent.

It reads JSON from the standard input, `{"runs": [[interface, options, atomic_requests]], "requests": [...]}`.
A request is `[name, method, path, headers, body, whether the database is away]`.
It writes a list with one object for each run: the statuses of the answers, and what was sent.
"""

import http.client
import json
import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import sentry_sdk
import uvicorn
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from tests.private_broker import free_port

application = get_wsgi_application()


def fail(request: HttpRequest) -> HttpResponse:
    """Fail as a view of a project would, which shows what the SDK sends."""
    raise RuntimeError("A view of the project has a defect.")


urlpatterns = [path("control", fail), path("", include("tests.urls"))]
settings.ROOT_URLCONF = sys.modules[__name__]


class Collector(Transport):
    """Keep what would be sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[str] = []
        self.traces = 0

    def capture_envelope(self, envelope: Envelope) -> None:
        self.sent.append(envelope.serialize().decode())
        self.traces += envelope.get_transaction_event() is not None


class Quiet(WSGIRequestHandler):
    """A handler without an access log."""

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def served(interface: str, port: int) -> Iterator[None]:
    """Serve the project on a port."""
    if interface == "wsgi":
        server = make_server("127.0.0.1", port, application, handler_class=Quiet)
        run, stop = server.serve_forever, server.shutdown
    else:
        asgi = uvicorn.Server(uvicorn.Config(get_asgi_application(), port=port, log_config=None, lifespan="off"))
        run, stop = asgi.run, lambda: setattr(asgi, "should_exit", True)
    thread = threading.Thread(target=run)
    thread.start()
    if interface != "wsgi":
        until(lambda: asgi.started)
    yield
    stop()
    thread.join()
    if interface == "wsgi":
        server.server_close()


def until(is_done: Any) -> None:
    """Wait for a condition, at most 30 seconds."""
    deadline = time.monotonic() + 30
    while not is_done():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.01)


def ask(port: int, method: str, path: str, headers: dict[str, str], body: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, body.encode(), headers)
    status = connection.getresponse().status
    connection.close()
    return status


def run(interface: str, options: dict[str, Any], is_atomic: bool, requests: list[Any]) -> dict[str, Any]:
    """Send the requests with these options of the SDK."""
    transport, port, answers = Collector(), free_port(), {}
    database = connections.settings["default"]
    genuine, database["ATOMIC_REQUESTS"] = database["PORT"], is_atomic
    sentry_sdk.init("http://key@127.0.0.1:1/1", transport=transport, traces_sample_rate=1.0, **options)
    with served(interface, port):
        for name, method, url, headers, body, is_away in requests:
            database["PORT"] = 1 if is_away else genuine
            answers[name] = ask(port, method, url, headers, body)
            until(lambda: transport.traces == len(answers))
    database["PORT"] = genuine
    return {"answers": answers, "sent": transport.sent}


if __name__ == "__main__":
    logging.getLogger("django.request").propagate = True
    task = json.load(sys.stdin)
    json.dump([run(*one, task["requests"]) for one in task["runs"]], sys.stdout)
