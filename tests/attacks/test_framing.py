"""A body in frames of HTTP/2, which needs no declared length, over a real connection."""

import json
import socket
import sys
from collections.abc import Callable
from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded, StreamReset

from tests.attacks.conftest import started
from tests.attacks.test_wire import answer, chunked
from tests.conftest import EMAIL, PASSWORD, Api
from tests.servers import Server

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.attack, pytest.mark.one_user_model]


class WsgiGranian(Server):
    """A server that speaks HTTP/2 and calls Django by WSGI."""

    def program(self) -> list[str]:
        return [
            sys.executable,
            "-m",
            "granian",
            "--interface",
            "wsgi",
            "--port",
            str(self.port),
            "tests.wsgi:application",
        ]


class Http2:
    """A client that never declares the length of a body."""

    def __init__(self, server: Server) -> None:
        self._wire = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        self._connection = H2Connection(H2Configuration(header_encoding="utf-8"))
        self._connection.initiate_connection()

    def __call__(self, path: str, *pieces: bytes, token: str = "") -> tuple[int, Any]:
        """Send a POST with the pieces of a body, and return the status and the parsed body of the response."""
        stream = self._connection.get_next_available_stream_id()
        headers = [(":method", "POST"), (":path", f"/api/auth/{path}"), (":scheme", "http"), (":authority", "x")]
        headers += [("authorization", f"Bearer {token}")] if token else []
        headers += [("content-type", "application/json")] if pieces else []
        self._connection.send_headers(stream, headers, end_stream=not pieces)
        for number, piece in enumerate(pieces, 1):
            self._send(stream, piece, is_last=number == len(pieces))
        return self._response(stream)

    def _send(self, stream: int, piece: bytes, *, is_last: bool) -> None:
        frames = [piece[start : start + 8192] for start in range(0, len(piece), 8192)] or [b""]
        for frame in frames:
            while self._connection.local_flow_control_window(stream) < len(frame):
                self._receive()
            self._connection.send_data(stream, frame, end_stream=is_last and frame is frames[-1])
            self._wire.sendall(self._connection.data_to_send())

    def _response(self, stream: int) -> tuple[int, Any]:
        status, body = 0, b""
        self._wire.sendall(self._connection.data_to_send())
        while True:
            for event in self._receive():
                if isinstance(event, ResponseReceived):
                    status = int(dict(event.headers)[":status"])
                elif isinstance(event, DataReceived):
                    body += event.data
                elif isinstance(event, StreamEnded | StreamReset):
                    return status, json.loads(body) if body else None

    def _receive(self) -> list[Any]:
        received = self._wire.recv(65_536)
        assert received, "The server has closed the connection."
        events = self._connection.receive_data(received)
        self._wire.sendall(self._connection.data_to_send())
        return events


@pytest.mark.security("DOS-01")
def test_a_body_in_frames_is_read_although_the_server_calls_django_by_wsgi(
    servers: Callable[..., Server], api: Api, user: Any
) -> None:
    server = servers(WsgiGranian)
    send = Http2(server)
    credentials = json.dumps({"email": EMAIL, "password": PASSWORD}).encode()

    status, pair = send("login", credentials[:9], credentials[9:])
    assert status == 200
    assert send("logout", json.dumps({"refresh_token": pair["refresh_token"]}).encode()) == (204, None)
    assert not api.is_in(pair["access_token"])
    for no_body in ((), (b"",)):
        token = started(user).access_token
        assert send("logout", *no_body, token=token) == (204, None)
        assert not api.is_in(token)

    assert send("login", credentials.ljust(65_536))[0] == 200
    assert send("login", credentials.ljust(65_537))[1]["code"] == "body_too_large"
    assert send("login", b"")[1]["code"] == "validation_error"
    assert send("login", credentials[:-1])[1]["code"] == "malformed_body"
    assert answer(server, chunked(credentials))[0] == 200
