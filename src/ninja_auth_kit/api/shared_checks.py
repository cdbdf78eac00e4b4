"""Checks of sessions that async requests share: one query, in one thread, for all that wait in an event loop.

A thread for each request would take longer than the query. The first request starts a query at once. Those that come
before its answer wait for the next one, so each reads what is committed after the request has arrived.
"""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Coroutine, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import Context, copy_context
from functools import cache, partial
from typing import Any, NamedTuple

from django.db import connections

from ninja_auth_kit.exceptions import ServiceUnavailableError
from ninja_auth_kit.kept_connections import MAX_WAIT, kept_connection, number_for_checks
from ninja_auth_kit.models import UserSession
from ninja_auth_kit.services.sessions import sessions_for
from ninja_auth_kit.tokens import AccessClaims

MOST = 16  # sessions in one query
PATIENCE = 0.02  # seconds; a query that takes longer does not hold up the next one


class _Request(NamedTuple):
    claims: AccessClaims
    answer: "asyncio.Future[UserSession]"
    since: float
    context: Context


class _SharedChecks:
    """The checks of one event loop that load the same fields."""

    def __init__(self, *, with_email: bool, with_level: bool) -> None:
        self._load = partial(_load, with_email=with_email, with_level=with_level)
        self._waiting: list[_Request] = []
        self._queries = 0  # on their way
        self._timer: asyncio.TimerHandle | None = None

    def check(self, claims: AccessClaims) -> "asyncio.Future[UserSession]":
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append(_Request(claims, answer, time.monotonic(), copy_context()))
        if not self._queries:
            self._start()
        return answer

    def _start(self) -> None:
        """Start a query for those who have waited longest, unless all threads are in use."""
        self._waiting = [one for one in self._waiting if not one.answer.done()]  # done: the client has hung up
        threads = _threads(number_for_checks(), os.getpid())
        if self._waiting and threads.are_free.acquire(blocking=False):
            requests, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            # In the context of one of the requests, so that a tracer shows the query there.
            load = partial(requests[0].context.run, self._load, [one.claims for one in requests])
            taken = [threads.are_free]
            work = partial(_work, load, taken)
            try:
                loaded = asyncio.get_running_loop().run_in_executor(threads.pool, work)
            except RuntimeError as error:  # the system starts no thread, or the process ends
                _release(taken)
                _answer(requests, _failures(error, len(requests)))
            else:
                self._queries += 1
                loaded.add_done_callback(partial(self._finish, requests))
        self._set_timer()

    def _finish(self, requests: list[_Request], loaded: "asyncio.Future[list[UserSession | Exception]]") -> None:
        self._queries -= 1
        try:
            results: Sequence[UserSession | Exception] = loaded.result()
        except (Exception, asyncio.CancelledError) as error:
            results = _failures(error, len(requests))
        _answer(requests, results)
        self._start()

    def _set_timer(self) -> None:
        is_needed = self._queries or self._waiting
        if is_needed and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PATIENCE, self._look)
        elif not is_needed and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """Reject those who have waited too long, and start a query if the last one is slow."""
        self._timer = None
        latest = time.monotonic() - MAX_WAIT
        for request in self._waiting:
            if request.since < latest and not request.answer.done():
                request.answer.set_exception(ServiceUnavailableError())
        self._start()


def _answer(requests: list[_Request], results: Sequence[UserSession | Exception]) -> None:
    for request, result in zip(requests, results, strict=True):
        if request.answer.done():
            continue
        if isinstance(result, UserSession):
            request.answer.set_result(result)
        else:
            request.answer.set_exception(result)


def _failures(error: BaseException, number: int) -> list[Exception]:
    """Return an error for each request, because the traceback of an error shows the data of its request."""
    failures: list[Exception] = []
    for _ in range(number):
        failure = RuntimeError("The sessions of several requests could not be checked.")
        failure.__cause__ = error
        failures.append(failure)
    return failures


def _load(claims: Sequence[AccessClaims], *, with_email: bool, with_level: bool) -> list[UserSession | Exception]:
    try:
        with kept_connection():
            return sessions_for(claims, with_email=with_email, with_level=with_level)
    except ServiceUnavailableError:  # no connection has become free
        return [ServiceUnavailableError() for _ in claims]
    finally:
        connections.close_all()  # gives the connection of a pool back; this thread has no kept one any more


class _Threads(NamedTuple):
    """The threads of a process, for all of its event loops. A query that finds none waits in its loop."""

    pool: ThreadPoolExecutor
    are_free: threading.BoundedSemaphore


def _work(
    load: Callable[[], list[UserSession | Exception]], taken: list[threading.BoundedSemaphore]
) -> list[UserSession | Exception]:
    try:
        return load()
    finally:
        _release(taken)  # here, because the event loop may have ended


def _release(taken: list[threading.BoundedSemaphore]) -> None:
    """Release what a query has taken, once: the pool keeps the work for which it has failed to start a thread."""
    with suppress(IndexError):
        taken.pop().release()


@cache
def _threads(number: int, process: int) -> _Threads:  # a thread does not survive a fork
    pool = ThreadPoolExecutor(number, thread_name_prefix="ninja_auth_kit-check")
    return _Threads(pool, threading.BoundedSemaphore(number))


_checks: dict[asyncio.AbstractEventLoop, dict[tuple[bool, bool], _SharedChecks]] = {}


def shared_check(
    claims: AccessClaims, *, with_email: bool = False, with_level: bool = False
) -> "asyncio.Future[UserSession]":
    """Return the valid session of the claims of an access token, checked together with those of other requests.

    Args:
        claims: those of a genuine token.
        with_email: as in `services.sessions.session_for`.
        with_level: as there.

    Returns:
        A future, which has the session or raises what `session_for` raises.
    """
    loop = asyncio.get_running_loop()
    if loop not in _checks:
        for closed in [one for one in _checks if one.is_closed()]:
            del _checks[closed]
    of_loop = _checks.setdefault(loop, {})
    checks = of_loop.get((with_email, with_level))
    if checks is None:
        checks = of_loop[with_email, with_level] = _SharedChecks(with_email=with_email, with_level=with_level)
    return checks.check(claims)


class AwaitedOnly:
    """An awaitable without a truth value, so code that does not await it rejects the request: a coroutine is true."""

    def __init__(self, authenticate: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self._authenticate = authenticate

    def __await__(self) -> Generator[Any, None, Any]:
        return self._authenticate().__await__()

    def __bool__(self) -> bool:
        raise TypeError("The result of JWTAuth must be awaited: its is_async was true.")
