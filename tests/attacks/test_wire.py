"""Shared caches, and bodies as a real server receives them."""

import json
import socket
import tempfile
from collections.abc import Callable
from contextlib import suppress
from typing import IO

import pytest
from django.core.cache import cache
from django.core.handlers.asgi import ASGIRequest
from django.urls import resolve
from pytest_django import Settings

from tests.conftest import Api
from tests.servers import AsgiServer, Server

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.attack]

MAXIMUM = 65_536


@pytest.mark.security("HTTP-06")
def test_a_cache_in_front_never_mixes_users(api: Api, make_user: Callable[..., object], settings: Settings) -> None:
    settings.MIDDLEWARE = [
        "django.middleware.cache.UpdateCacheMiddleware",
        "django.middleware.cache.FetchFromCacheMiddleware",
    ]
    cache.clear()
    people = ["ada@example.com", "grace@example.com"]
    tokens = []
    for email in people:
        make_user(email)
        tokens.append(api.pair(email)["access_token"])

    seen = [api.get("me", token=token).json()["email"] for token in tokens * 2]
    strangers = [api.get(path).status_code for path in ("me", "sessions")]
    api.post("logout", token=tokens[0])

    assert seen == people * 2
    assert strangers == [401, 401]
    assert api.get("me", token=tokens[0]).status_code == 401
    assert "Authorization" in api.get("me", token=tokens[1])["Vary"]


def answer(server: Server, request: bytes) -> tuple[int, bytes]:
    """Send raw bytes and return the status and the complete response."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as wire:
        received = b""
        # A server may close the connection without reading the whole body.
        with suppress(ConnectionError):
            wire.sendall(request)
        with suppress(ConnectionError):
            while piece := wire.recv(65_536):
                received += piece
    return int(received.split(b" ", 2)[1]), received


def login(framing: bytes) -> bytes:
    head = b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
    return head + framing


def chunked(body: bytes) -> bytes:
    pieces = [body[start : start + 8192] for start in range(0, len(body), 8192)]
    framed = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return login(b"Transfer-Encoding: chunked\r\n\r\n") + framed + b"0\r\n\r\n"


def measured(body: bytes) -> bytes:
    return login(b"Content-Length: %d\r\n\r\n" % len(body)) + body


@pytest.mark.security("DOS-01")
@pytest.mark.parametrize("kind", [Server, AsgiServer])
def test_a_body_over_the_limit_is_refused_however_it_is_framed(
    servers: Callable[..., Server], kind: type[Server]
) -> None:
    server = servers(kind)
    wrong = json.dumps({"email": "ada@example.com", "password": "wrong wrong wrong"}).encode()
    fitting, large = wrong.ljust(MAXIMUM), wrong.ljust(MAXIMUM + 1)
    requests = {
        "fitting": (measured(fitting), 401),
        "large": (measured(large), 413),
        "chunked": (chunked(fitting), 401),
        "large and chunked": (chunked(large), 413),
    }
    if kind is AsgiServer:  # otherwise a server may close the connection before its response is read
        requests["huge and chunked"] = chunked(wrong.ljust(4_000_000)), 413
    else:  # under ASGI, Django waits for the whole body before it calls a view
        requests["only promised"] = login(b"Content-Length: 99999999\r\n\r\n"), 413
    answers = {what: answer(server, request) for what, (request, _) in requests.items()}

    assert {what: status for what, (status, _) in answers.items()} == {
        what: status for what, (_, status) in requests.items()
    }
    assert all(b"application/problem+json" in received for _, received in answers.values())
    assert all(b"no-store" in received for _, received in answers.values())


@pytest.mark.security("DOS-01")
def test_a_chunked_body_in_the_file_of_django_is_not_read_whole_if_the_project_has_no_limit(
    settings: Settings,
) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = None
    headers = [(b"content-type", b"application/json"), (b"transfer-encoding", b"chunked")]
    view = resolve("/api/auth/login")
    statuses = {}
    for size in (MAXIMUM, MAXIMUM + 1, 4_000_000):
        with tempfile.TemporaryFile() as file:  # as the handler has written it, before it calls the view
            file.write(b'{"email": "ada@example.com", "password": "wrong wrong wrong"}'.ljust(size))
            file.seek(0)
            watched = _Watched(file)
            scope = {"method": "POST", "path": "/api/auth/login", "query_string": b"", "headers": headers}
            request = ASGIRequest({"type": "http", **scope}, watched)
            statuses[size] = view.func(request, *view.args, **view.kwargs).status_code
            assert watched.taken <= MAXIMUM + 1

    assert statuses == {MAXIMUM: 401, MAXIMUM + 1: 413, 4_000_000: 413}


class _Watched:
    """A file that counts what is read of it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.taken = file, 0

    def read(self, size: int = -1) -> bytes:
        """Return what the file returns."""
        piece = self._file.read(size)
        self.taken += len(piece)
        return piece

    def close(self) -> None:
        """Close the file."""
        self._file.close()
