"""The page with the flow as buttons, and the audit events from RabbitMQ as server-sent events."""

import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render

from broker import Listener, NoBrokerError
from ninja_auth_kit.models import AuditOutbox

PAUSE = 2.0  # seconds between two attempts to connect to the broker, and between two keep-alive comments


def page(request: HttpRequest) -> HttpResponse:
    """Show the page. It loads only its own script."""
    nonce = secrets.token_urlsafe(16)
    context = {"debug": settings.DEBUG, "devices": [("phone", "Phone"), ("laptop", "Laptop")], "nonce": nonce}
    response = render(request, "playground/index.html", context)
    response["Content-Security-Policy"] = (
        f"default-src 'none'; script-src 'self'; style-src 'nonce-{nonce}'; img-src data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    # With Django's same-origin, the window of a provider looks closed to this page as soon as it has left this origin.
    response["Cross-Origin-Opener-Policy"] = "same-origin-allow-popups"
    return response


def provider_done(request: HttpRequest) -> HttpResponse:
    """Show the page to which a provider sends the browser back. Its script passes the parameters on, and closes it."""
    response = render(request, "playground/provider_done.html")
    response["Content-Security-Policy"] = "default-src 'none'; script-src 'self'; base-uri 'none'"
    response["Cross-Origin-Opener-Policy"] = "unsafe-none"  # the window is still that of the page
    response["Referrer-Policy"] = "no-referrer"  # the address has the code
    return response


def events(request: HttpRequest) -> StreamingHttpResponse:
    """Stream the audit events of all users from now on; without a broker, stream the number of events that wait."""
    stream = StreamingHttpResponse(_stream(), content_type="text/event-stream")
    stream["Cache-Control"] = "no-store"
    return stream


def _stream() -> Iterator[str]:
    while True:
        try:
            yield from _heard()
        except NoBrokerError as error:
            yield _message("state", {"broker": None, "reason": str(error), "waiting": AuditOutbox.objects.count()})
            time.sleep(PAUSE)


def _heard() -> Iterator[str]:
    with closing(Listener(os.environ)) as listener:
        yield _message("state", {"broker": listener.address})
        for arrived in listener.events(pause=PAUSE):
            # Send a comment after a pause: it fails if the page has been closed.
            yield _message("audit", {"key": arrived[0], **arrived[1]}) if arrived else ": still here\n\n"


def _message(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"
