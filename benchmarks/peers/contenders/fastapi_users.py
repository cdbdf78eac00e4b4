"""fastapi-users with SQLAlchemy (async) and asyncpg. It has no refresh."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.peers.contender import EMAIL, PASSWORD, Contender, Request, Tokens
from benchmarks.peers.counting import Count

_count: Count | None = None


class JWT(Contender):
    """The JWT strategy. A logout does not revoke the token."""

    title = "fastapi-users, JWT"
    statements = {"get": (1, 2), "logout": (1, 2), "login": (1, 2)}
    strategy = "jwt"

    def login(self) -> Request:
        return Request("POST", "/login", {"username": EMAIL, "password": PASSWORD}, is_form=True)

    def tokens(self, answer: Any) -> Tokens:
        return Tokens(answer["access_token"])

    def get(self, tokens: Tokens) -> Request:
        return Request("GET", "/who", headers={"Authorization": f"Bearer {tokens.access}"})

    def logout(self, tokens: Tokens) -> Request:
        return Request("POST", "/logout", headers={"Authorization": f"Bearer {tokens.access}"})


class Database(JWT):
    """The database strategy."""

    title = "fastapi-users, database tokens"
    statements = {"get": (2, 2), "logout": (4, 2), "login": (3, 4)}
    strategy = "database"
    checks = True


def start(contender: JWT, *, database_url: str, hasher: str) -> Callable[[Request], tuple[int, bytes]]:
    """Start the application and return a function that sends it a request."""
    from benchmarks.peers.contenders.fastapi_project import make

    loop = asyncio.new_event_loop()
    application, prepare = make(contender.strategy, database_url, hasher, _seen)
    loop.run_until_complete(prepare())

    async def call(request: Request) -> tuple[int, bytes]:
        kind = [(b"content-type", request.content_type.encode())] if request.content_type else []
        sent: list[dict[str, Any]] = []
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.method,
            "path": request.path,
            "raw_path": request.path.encode(),
            "query_string": b"",
            "scheme": "http",
            "server": ("127.0.0.1", 8000),
            "client": ("203.0.113.7", 1),
            "headers": [*kind, *((n.lower().encode(), v.encode()) for n, v in request.headers.items())],
        }
        await application(scope, _received(request.data), lambda message: _sent(sent, message))
        return sent[0]["status"], b"".join(part.get("body", b"") for part in sent[1:])

    return lambda request: loop.run_until_complete(call(request))


def _received(data: bytes) -> Any:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": data, "more_body": False}

    return receive


async def _sent(into: list[dict[str, Any]], message: dict[str, Any]) -> None:
    into.append(message)


def _seen(*, statement: bool) -> None:
    if _count is None:
        return
    if statement:
        _count.statements += 1
    else:
        _count.transactions += 1


@contextmanager
def statements() -> Iterator[Count]:
    """Count the statements of SQLAlchemy's engine."""
    global _count
    _count = Count()
    yield _count
    _count = None
