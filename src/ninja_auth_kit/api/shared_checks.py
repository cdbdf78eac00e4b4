"""Checks of sessions that async requests share: one query, in one thread, for all that wait in an event loop.

A thread for each request would take longer than the query. The first request starts a query at once. Those that come
before its answer wait for the next one, so each reads what is committed after the request has arrived.
"""

import asyncio
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import cache, partial
from typing import NamedTuple
from weakref import WeakKeyDictionary

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


class _SharedChecks:
    """The checks of one event loop that load the same fields."""

    def __init__(self, *, with_email: bool, with_level: bool) -> None:
        self._load = partial(_load, with_email=with_email, with_level=with_level)
        self._waiting: list[_Request] = []
        self._queries = 0  # on their way
        self._timer: asyncio.TimerHandle | None = None

    def check(self, claims: AccessClaims) -> "asyncio.Future[UserSession]":
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append(_Request(claims, answer, time.monotonic()))
        if not self._queries:
            self._start()
        return answer

    def _start(self) -> None:
        """Start a query for those who have waited longest, unless all threads are in use."""
        self._waiting = [one for one in self._waiting if not one.answer.done()]  # done: the client has hung up
        if self._waiting and self._queries < number_for_checks():
            requests, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            self._queries += 1
            # In the context of one of the requests, so that a tracer shows the query there.
            load = partial(copy_context().run, self._load, [one.claims for one in requests])
            loop = asyncio.get_running_loop()
            loop.run_in_executor(_threads(number_for_checks(), os.getpid()), load).add_done_callback(
                partial(self._answer, requests)
            )
        self._set_timer()

    def _answer(self, requests: list[_Request], loaded: "asyncio.Future[list[UserSession | Exception]]") -> None:
        self._queries -= 1
        for request, result in zip(requests, _results(loaded, len(requests)), strict=True):
            if request.answer.done():
                continue
            if isinstance(result, UserSession):
                request.answer.set_result(result)
            else:
                request.answer.set_exception(result)
        self._start()

    def _set_timer(self) -> None:
        if self._queries and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PATIENCE, self._look)
        elif not self._queries and self._timer is not None:
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


def _results(
    loaded: "asyncio.Future[list[UserSession | Exception]]", number: int
) -> Sequence[UserSession | Exception]:
    try:
        return loaded.result()
    except (Exception, asyncio.CancelledError) as error:
        failures = [RuntimeError("The sessions of several requests could not be checked.") for _ in range(number)]
        for failure in failures:  # one for each, because the traceback of an error shows the data of its request
            failure.__cause__ = error
        return failures


def _load(claims: Sequence[AccessClaims], *, with_email: bool, with_level: bool) -> list[UserSession | Exception]:
    try:
        with kept_connection():
            return sessions_for(claims, with_email=with_email, with_level=with_level)
    except ServiceUnavailableError:  # no connection has become free
        return [ServiceUnavailableError() for _ in claims]
    finally:
        connections.close_all()  # gives the connection of a pool back; a kept one is none of this thread's any more


@cache
def _threads(number: int, process: int) -> ThreadPoolExecutor:  # a thread does not survive a fork
    return ThreadPoolExecutor(number, thread_name_prefix="ninja_auth_kit-check")


_checks: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[bool, bool], _SharedChecks]] = WeakKeyDictionary()


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
    of_loop = _checks.setdefault(asyncio.get_running_loop(), {})
    checks = of_loop.get((with_email, with_level))
    if checks is None:
        checks = of_loop[with_email, with_level] = _SharedChecks(with_email=with_email, with_level=with_level)
    return checks.check(claims)
