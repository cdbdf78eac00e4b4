"""The client of the ASGI servers, in its own process: sockets, no HTTP library.

It reads one JSON line for each job from its standard input, and answers with one.
"""

import json
import re
import selectors
import socket
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from benchmarks.peers.contender import Request, Tokens
from benchmarks.peers.contenders import named
from benchmarks.peers.variants import VARIANTS, Variant, as_user

TOKENS_LAST = 120  # seconds; an access token is valid for five minutes
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Visitor:
    """A user who repeats an operation on one connection."""

    def __init__(self, variant: Variant, number: int, port: int) -> None:
        self._variant, self._number, self._port = variant, variant.first_user + number, port
        self._contender: Any = named(variant.contender)
        self._tokens = Tokens("")
        self._repeated = b""  # the request of a GET
        self.began = 0.0

    def connect(self) -> None:
        """Open the connection."""
        self.socket = socket.create_connection(("127.0.0.1", self._port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""

    def send_login(self) -> None:
        """Send the request of a login."""
        self._send(bytes_of(as_user(self._contender.login(), self._number)))

    def log_in(self, body: bytes) -> None:
        """Note the tokens of the response to a login."""
        self._tokens, self._repeated = self._contender.tokens(json.loads(body)), b""

    def send(self) -> None:
        """Send the next request of the operation."""
        if self._variant.operation == "login":
            self.send_login()
        elif self._variant.operation == "refresh":
            self._send(bytes_of(self._contender.refresh(self._tokens)))
        else:
            self._repeated = self._repeated or self._get()
            self._send(self._repeated)

    def finish(self, body: bytes) -> None:
        """Note the tokens of the response to a refresh."""
        if self._variant.operation == "refresh":
            self._tokens = self._contender.tokens({"refresh": self._tokens.refresh, **json.loads(body)})

    def receive(self) -> bytes | None:
        """Return the body of the response, or None if it is incomplete."""
        data = self.socket.recv(65_536)
        if not data:
            raise SystemExit(f"{self._variant.title}: the server has closed a connection.")
        self._received += data
        answer = response_in(self._received)
        if answer is None:
            return None
        self._received = b""
        status, body = answer
        if status >= 300:
            raise SystemExit(f"{self._variant.title}, {self._variant.operation}: {status} {body[:500]!r}")
        return body

    def _get(self) -> bytes:
        request = self._contender.get(self._tokens)
        return bytes_of(replace(request, path=self._variant.path or request.path))

    def _send(self, data: bytes) -> None:
        self.began = time.perf_counter()
        self.socket.sendall(data)


def bytes_of(request: Request) -> bytes:
    """Return a request as HTTP/1.1."""
    headers = {"Host": "127.0.0.1", "User-Agent": "benchmark", **request.headers}
    if request.body is not None:
        headers |= {"Content-Type": request.content_type, "Content-Length": str(len(request.data))}
    lines = [f"{request.method} {request.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + request.data


def response_in(data: bytes) -> tuple[int, bytes] | None:
    """Return the status and the body of a response, or None if it is incomplete."""
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator:
        return None
    status, length = int(head[9:12]), _LENGTH.search(head)
    if length is not None:
        return (status, body) if len(body) >= int(length[1]) else None
    if b"chunked" not in head.lower():
        return status, body
    return (status, _without_chunks(body)) if body.endswith(b"0\r\n\r\n") else None


def _without_chunks(body: bytes) -> bytes:
    found = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        found, body = found + body[: int(size, 16)], body[int(size, 16) + 2 :]
    return found


def run(
    visitors: list[Visitor],
    send: Callable[[Visitor], None],
    finish: Callable[[Visitor, bytes], None],
    may_go_on: Callable[[], bool],
) -> list[float]:
    """Let all visitors send at once, each its next request after a response. Return the seconds of each request."""
    times: list[float] = []
    with selectors.DefaultSelector() as selector:
        for visitor in visitors:
            selector.register(visitor.socket, selectors.EVENT_READ, visitor)
            send(visitor)
        while selector.get_map():
            for key, _ in selector.select():
                visitor = key.data
                body = visitor.receive()
                if body is None:
                    continue
                times.append(time.perf_counter() - visitor.began)
                finish(visitor, body)
                if may_go_on():
                    send(visitor)
                else:
                    selector.unregister(visitor.socket)
    return times


class Load:
    """The visitors of each variant, whose tokens are kept from one turn to the next."""

    def __init__(self) -> None:
        self._visitors: dict[str, tuple[float, list[Visitor]]] = {}
        self._connected: list[Visitor] = []

    def prepare(self, *, variant: str, port: int, connections: int) -> dict[str, Any]:
        """Open the connections, and log in unless the tokens are still valid for a while."""
        since, visitors = self._visitors.get(variant, (0.0, []))
        visitors = visitors or [Visitor(VARIANTS[variant], number, port) for number in range(connections)]
        for visitor in visitors:
            visitor.connect()
        if not since or time.monotonic() - since > TOKENS_LAST:
            since = time.monotonic()
            run(visitors, Visitor.send_login, Visitor.log_in, lambda: False)
        self._visitors[variant] = since, visitors
        self._connected = visitors
        return {}

    def run(self, *, seconds: float = 0, number: int = 0) -> dict[str, Any]:
        """Send requests for some seconds, or until a number is reached, and return the figures."""
        left, began, processor = number, time.perf_counter(), time.process_time()
        ends = began + seconds

        def may_go_on() -> bool:
            nonlocal left
            left -= 1
            return left >= len(self._connected) if number else time.perf_counter() < ends

        times = run(self._connected, Visitor.send, Visitor.finish, may_go_on)
        wall = time.perf_counter() - began
        for visitor in self._connected:
            visitor.socket.close()
        cuts = statistics.quantiles(times, n=100)
        return {
            "requests": len(times),
            "rate": len(times) / wall,
            "p50": cuts[49] * 1000,
            "p99": cuts[98] * 1000,
            "client": (time.process_time() - processor) / wall,
        }


def main() -> None:
    """Do the jobs on standard input."""
    load = Load()
    for line in sys.stdin:
        work, options = json.loads(line)
        print(json.dumps(getattr(load, work)(**options)), flush=True)


if __name__ == "__main__":
    main()
