"""An HTTP server on loopback for the providers of the tests, with the faults that a server can have."""

import gzip
import json
import ssl
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

LONGEST = 20.0  # seconds until a slow answer ends by itself

FAULTS = frozenset(
    {
        "slow",  # answers after a while
        "dripping",  # sends a byte at a time
        "dripping_headers",  # sends a byte of a header at a time
        "endless",  # sends blocks without an end
        "redirecting",  # redirects to the right answer
        "html",  # sends a page with status 200
        "error",  # sends status 500
        "5mb",  # sends a valid JSON object of 5 MB
        "bomb",  # sends a compressed JSON object of 50 MB
        "list",  # sends a JSON array
        "down",  # closes the connection
    }
)


@dataclass(frozen=True)
class Request:
    """A request that a server has received."""

    method: str
    path: str
    query: Mapping[str, str]
    form: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """What a server sends."""

    body: bytes = b""
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


def as_json(value: Any, status: int = 200) -> Answer:
    """Return a JSON answer."""
    return Answer(json.dumps(value).encode(), status)


class Loopback(ABC):
    """A server with threads on 127.0.0.1, from `with` until its end.

    Attributes:
        fault: one of `FAULTS`, or None.
        fault_at: the path that has the fault.
        requests: every request so far, in the order of arrival.

    Args:
        certificate: the files of a certificate and its key, for https.
        port: the port; 0 for one that is free.
    """

    def __init__(self, *, certificate: tuple[Path, Path] | None = None, port: int = 0) -> None:
        self.fault: str | None = None
        self.fault_at = ""
        self.requests: list[Request] = []
        self._is_started, self._closing = False, threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self._server.daemon_threads = True
        self._server.block_on_close = False
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        scheme = "http" if certificate is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._is_started = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop: from now on, connections are refused. Slow answers end at once."""
        if self._closing.is_set():
            return
        self._closing.set()
        if self._is_started:  # otherwise it would wait forever
            self._server.shutdown()
        self._server.server_close()

    def paths(self) -> list[str]:
        """Return the paths of all requests so far."""
        return [request.path for request in self.requests]

    @abstractmethod
    def answer(self, request: Request) -> Answer:
        """Return the answer to a request."""

    def serve(self, request: Request, handler: BaseHTTPRequestHandler) -> None:
        """Answer a request, with the fault if its path has one."""
        if self._closing.is_set():  # a connection from before
            handler.close_connection = True
            return
        self.requests.append(request)
        if self.fault is None or request.path != self.fault_at:
            path = request.path.removesuffix("/elsewhere")
            _send(handler, self.answer(Request(request.method, path, request.query, request.form, request.headers)))
            return
        self._fail(self.fault, request, handler)

    def _fail(self, fault: str, request: Request, handler: BaseHTTPRequestHandler) -> None:
        if fault in {"slow", "dripping", "dripping_headers", "endless"}:
            self._send_slowly(fault, request, handler)
        elif fault == "redirecting":
            handler.send_response_only(307)
            handler.send_header("Location", f"{self.url}{request.path}/elsewhere")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
        elif fault == "html":
            _send(handler, Answer(b"<!doctype html><title>Sign in</title>", content_type="text/html"))
        elif fault == "error":
            _send(handler, as_json({"error": "server_error"}, 500))
        elif fault in {"5mb", "bomb"}:
            _send(handler, self._large(request, is_compressed=fault == "bomb"))
        elif fault == "list":
            _send(handler, as_json([json.loads(self.answer(request).body)]))
        else:
            handler.close_connection = True  # "down": the client sees the end of the stream

    def _send_slowly(self, fault: str, request: Request, handler: BaseHTTPRequestHandler) -> None:
        true = self.answer(request)
        if fault == "slow":
            self._closing.wait(LONGEST)
            _send(handler, true)
            return
        handler.close_connection = True
        handler.send_response_only(200)
        handler.send_header("Content-Type", "application/json")
        if fault == "dripping":
            handler.send_header("Content-Length", str(len(true.body)))
        if fault == "dripping_headers":
            handler.flush_headers()
            handler.wfile.write(b"X-Slow: ")
        else:
            handler.end_headers()
        block, pause = {
            "dripping": (b" ", 0.5),  # JSON may begin with spaces
            "dripping_headers": (b"a", 0.5),
            "endless": (b" " * 65536, 0.0003),
        }[fault]
        end = time.monotonic() + LONGEST
        while time.monotonic() < end and not self._closing.wait(pause):
            handler.wfile.write(block)
            handler.wfile.flush()

    def _large(self, request: Request, *, is_compressed: bool) -> Answer:
        true = self.answer(request)
        padded = true.body[:-1] + b" " * (50_000_000 if is_compressed else 5_000_000) + true.body[-1:]
        if not is_compressed:
            return Answer(padded, true.status)
        return Answer(gzip.compress(padded, 1), true.status, headers={"Content-Encoding": "gzip"})


def _send(handler: BaseHTTPRequestHandler, answer: Answer) -> None:
    handler.send_response_only(answer.status)
    handler.send_header("Content-Type", answer.content_type)
    handler.send_header("Content-Length", str(len(answer.body)))
    for name, value in answer.headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(answer.body)


def _handler(server: Loopback) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = LONGEST  # of an idle connection

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:  # the client has closed the connection, as it should
                self.close_connection = True

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            form = dict(parse_qsl(body, keep_blank_values=True))
            headers = {name.lower(): value for name, value in self.headers.items()}
            query = dict(parse_qsl(parts.query, keep_blank_values=True))
            server.serve(Request(self.command, parts.path, query, form, headers), self)

        do_GET = do_POST = _serve  # noqa: N815  # the names that http.server calls

        def log_message(self, *_: object) -> None:
            pass

    return Handler
