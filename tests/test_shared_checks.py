"""Under ASGI, async requests that arrive at the same time have their sessions checked by one query."""

import asyncio
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import partial
from typing import Any

import pytest
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.contrib.auth import get_user_model
from django.core import mail
from django.core.exceptions import SynchronousOnlyOperation
from django.db import OperationalError, connection
from django.http import HttpRequest
from ninja import NinjaAPI
from ninja.testing import TestAsyncClient
from pytest_django.fixtures import DjangoAssertNumQueries as AssertNumQueries

from ninja_auth_kit import JWTAuth
from ninja_auth_kit.api import shared_checks
from ninja_auth_kit.exceptions import InvalidTokenError, ServiceUnavailableError, SessionEndedError
from ninja_auth_kit.models import UserSession
from ninja_auth_kit.services.sessions import sessions_for
from ninja_auth_kit.tokens import AccessClaims, read_access_token
from tests.conftest import Api
from tests.servers import AsgiServer, Server

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_user_model]

GUARDED = "/host/async"


@pytest.fixture
def users(api: Api, make_user: Callable[..., Any]) -> list[tuple[str, str]]:
    """Return the primary keys of five users, with an access token of each."""
    emails = [f"user{number}@example.com" for number in range(5)]
    return [(str(make_user(email).pk), api.pair(email)["access_token"]) for email in emails]


def test_each_of_many_requests_at_once_gets_its_own_user(
    servers: Callable[..., Server], users: list[tuple[str, str]]
) -> None:
    server = servers(AsgiServer)
    calls = [("GET", GUARDED, None, token) for _, token in users] * 10

    for _ in range(3):
        answers = server.race(*calls)
        assert answers == [(200, {"auth": pk, "user": pk}) for pk, _ in users] * 10


def test_a_session_that_has_ended_is_rejected_among_others_that_are_valid(
    servers: Callable[..., Server], api: Api, users: list[tuple[str, str]]
) -> None:
    server = servers(AsgiServer)
    api.post("logout", token=users[2][1])
    tokens = [token for _, token in users] + ["not-a-token"]

    answers = server.race(*[("GET", GUARDED, None, token) for token in tokens * 8])

    assert [status for status, _ in answers] == [200, 200, 401, 200, 200, 401] * 8
    assert {answer["code"] for status, answer in answers if status == 401} == {"session_ended", "invalid_token"}


# The rules


@pytest.fixture
def claims(users: list[tuple[str, str]]) -> list[AccessClaims]:
    return [read_access_token(token) for _, token in users]


def test_several_sessions_are_read_by_one_query(
    claims: list[AccessClaims], users: list[tuple[str, str]], django_assert_num_queries: AssertNumQueries
) -> None:
    with django_assert_num_queries(1):
        found = sessions_for(claims)

    valid = [session for session in found if isinstance(session, UserSession)]
    assert [str(session.user.pk) for session in valid] == [pk for pk, _ in users]


def test_two_requests_with_the_same_session_share_no_object(claims: list[AccessClaims]) -> None:
    first, other, second = sessions_for([claims[0], claims[1], claims[0]], with_email=True)

    assert isinstance(first, UserSession)
    assert isinstance(second, UserSession)
    assert first == second != other
    assert first is not second
    assert first.user is not second.user
    assert first.user.authkit_email is not second.user.authkit_email


def test_each_claims_have_an_error_of_their_own(
    api: Api, claims: list[AccessClaims], users: list[tuple[str, str]]
) -> None:
    api.post("logout", token=users[0][1])
    UserSession.objects.filter(pk=claims[1].session_id).delete()
    get_user_model().objects.filter(pk=users[2][0]).update(is_active=False)

    found = sessions_for(claims)

    assert [type(one) for one in found] == [
        SessionEndedError,
        InvalidTokenError,
        SessionEndedError,
        UserSession,
        UserSession,
    ]


def test_the_session_of_another_user_is_rejected(claims: list[AccessClaims]) -> None:
    mixed = AccessClaims(claims[1].user_id, claims[0].session_id, "token", 1, 2)

    assert [type(one) for one in sessions_for([mixed, claims[1]])] == [InvalidTokenError, UserSession]


def test_without_an_answer_of_the_database_each_check_fails(
    claims: list[AccessClaims], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise OperationalError

    monkeypatch.setattr(type(UserSession.objects), "load_for_checks", fail)

    found = sessions_for(claims)

    assert [type(one) for one in found] == [ServiceUnavailableError] * 5
    assert len(set(map(id, found))) == 5  # a traceback belongs to one request


@pytest.mark.parametrize(
    ("raised", "found_as"), [(ZeroDivisionError, ZeroDivisionError), (StopIteration, RuntimeError)]
)
def test_an_error_in_code_of_the_project_belongs_to_the_request_whose_user_caused_it(
    claims: list[AccessClaims],
    monkeypatch: pytest.MonkeyPatch,
    raised: type[Exception],
    found_as: type[Exception],
) -> None:
    from ninja_auth_kit.services import sessions

    def fail_for_the_second(session: UserSession) -> bool:
        if session.pk == claims[1].session_id:
            raise raised
        return True

    monkeypatch.setattr(sessions.UserSession, "is_valid", fail_for_the_second)

    found = sessions_for(claims[:3])

    assert [type(one) for one in found] == [UserSession, found_as, UserSession]


# Which requests share a check


class OwnRule(JWTAuth):
    def authenticate(self, request: HttpRequest, token: str) -> Any:
        return super().authenticate(request, token)


class OwnCall(JWTAuth):
    def __call__(self, request: HttpRequest) -> Any:
        return super().__call__(request)


class AsyncRule(JWTAuth):
    async def authenticate(self, request: HttpRequest, token: str) -> Any:
        return await sync_to_async(super().authenticate)(request, token)


def in_a_request(ask: Callable[[], bool], *, before: Callable[[], None] | None = None) -> bool:
    """Return what a function returns in the event loop, in a request whose thread has done something before."""

    async def request() -> bool:
        async with ThreadSensitiveContext():
            if before is not None:
                await sync_to_async(before)()
            return ask()

    return asyncio.run(request())


@pytest.fixture
def no_test_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the kit not notice that this is a test, in whose transaction other connections would read nothing."""
    monkeypatch.delattr(mail, "outbox")


@pytest.mark.usefixtures("no_test_run")
@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        (JWTAuth(), True),
        (JWTAuth(check_session=False), True),
        (JWTAuth(optional=True, scheme="Token"), True),
        (OwnRule(), False),
        (OwnCall(), False),
        (AsyncRule(), True),  # as Django Ninja says of any async function
    ],
)
def test_a_check_is_shared_unless_a_subclass_has_code_of_its_own(auth: JWTAuth, expected: bool) -> None:
    assert in_a_request(lambda: auth.is_async) is expected
    assert OwnRule().is_async is False


@pytest.mark.usefixtures("no_test_run")
@pytest.mark.parametrize(
    "setting",
    [
        {"ASGI_CONNECTIONS": 0},
        {"CONNECTION_STATE": "tests.test_kept_connections.no_state"},
        {"TENANT_SETTINGS": "tests.test_shared_checks.no_settings"},
    ],
)
def test_a_project_whose_requests_differ_shares_none(kit: Callable[..., None], setting: dict[str, Any]) -> None:
    kit(**setting)

    assert in_a_request(lambda: JWTAuth().is_async) is False


def no_settings(connection: Any) -> dict[str, Any]:
    return {}


@pytest.mark.usefixtures("no_test_run")
def test_a_request_that_has_a_connection_is_checked_on_it() -> None:
    def query() -> None:
        connection.ensure_connection()
        connection.close()

    assert in_a_request(lambda: JWTAuth().is_async, before=query) is False
    assert in_a_request(lambda: JWTAuth().is_async, before=lambda: None) is True


def test_a_test_shares_no_check() -> None:
    assert in_a_request(lambda: JWTAuth().is_async) is False


def test_without_an_event_loop_no_check_is_shared() -> None:
    assert JWTAuth().is_async is False


# Code of a project that calls the authenticator itself


FORGED = "Bearer forged"


def answer_to(token: str, *, auth: Any) -> int:
    """Return the status of an async route, called in the event loop of an ASGI request."""
    api = NinjaAPI(urls_namespace=secrets.token_hex(4), docs_url=None, openapi_url=None)

    @api.get("/route", auth=auth)
    async def route(request: HttpRequest) -> str:
        return "let in"

    async def request() -> int:
        async with ThreadSensitiveContext():
            response = await TestAsyncClient(api).get("/route", headers={"Authorization": token})
            return int(response.status_code)

    return asyncio.run(request())


@pytest.mark.usefixtures("no_test_run")
@pytest.mark.parametrize("checks", [True, False])
def test_an_async_authenticator_that_calls_it_lets_no_forged_token_in(checks: bool) -> None:
    auth = JWTAuth(check_session=checks)

    async def returns_it(request: HttpRequest) -> Any:
        return auth(request)

    async def ignores_it(request: HttpRequest) -> Any:
        auth(request)
        return True

    async def tests_it(request: HttpRequest) -> Any:
        return bool(auth(request))

    for authenticator in (returns_it, ignores_it, tests_it, [auth, returns_it]):
        try:
            assert answer_to(FORGED, auth=authenticator) == 401
        except SynchronousOnlyOperation:  # a query belongs in a thread
            assert checks
    assert answer_to(FORGED, auth=auth) == 401


@pytest.mark.usefixtures("no_test_run")
def test_a_stateless_check_needs_no_thread(users: list[tuple[str, str]]) -> None:
    async def delegates(request: HttpRequest) -> Any:
        return JWTAuth(check_session=False)(request)

    token = f"Bearer {users[0][1]}"
    assert answer_to(token, auth=JWTAuth(check_session=False)) == 200
    assert answer_to(token, auth=delegates) == 200


@pytest.mark.usefixtures("no_test_run")
def test_what_a_shared_check_returns_has_no_truth_value() -> None:
    auth = JWTAuth()

    def ask_and_test() -> bool:
        return auth.is_async and bool(auth(HttpRequest()))

    with pytest.raises(TypeError, match="must be awaited"):
        in_a_request(ask_and_test)


# A slow database


class Database:
    """Answers the checks of one session when its event is set, and all others at once."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.queries: list[int] = []

    def load(self, claims: list[Any], **_: Any) -> list[Any]:
        self.queries.append(len(claims))
        if "slow" in claims:
            assert self.answers.wait(10)
        return [SessionEndedError() for _ in claims]


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    found = Database()
    monkeypatch.setattr(shared_checks, "_load", found.load)
    yield found
    found.answers.set()


async def ended(*names: Any) -> list[Any]:
    return await asyncio.gather(*[shared_checks.shared_check(name) for name in names], return_exceptions=True)


def test_those_who_come_during_a_query_share_the_next_one(database: Database) -> None:
    results = asyncio.run(ended(*range(21)))

    assert [type(result) for result in results] == [SessionEndedError] * 21
    assert database.queries == [1, 16, 4]


def test_a_slow_query_does_not_hold_up_the_next(database: Database) -> None:
    async def check() -> float:
        slow = shared_checks.shared_check("slow")  # type: ignore[arg-type]
        began = time.monotonic()
        await ended("quick")
        assert not slow.done()
        database.answers.set()
        await asyncio.wait([slow])
        return time.monotonic() - began

    assert asyncio.run(check()) < 5


def test_one_who_has_waited_too_long_is_rejected(
    database: Database, kit: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    kit(ASGI_CONNECTIONS=1)
    monkeypatch.setattr(shared_checks, "MAX_WAIT", 0.2)

    async def check() -> list[Any]:
        slow = shared_checks.shared_check("slow")  # type: ignore[arg-type]
        waiting = await ended("quick", "other")
        database.answers.set()
        await asyncio.wait([slow])
        return waiting

    assert [type(result) for result in asyncio.run(check())] == [ServiceUnavailableError] * 2
    assert database.queries == [1]


def test_a_programming_error_reaches_each_request_as_an_error_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(shared_checks, "_load", fail)

    errors = asyncio.run(ended("one", "two", "three"))

    assert [type(error.__cause__) for error in errors] == [ZeroDivisionError] * 3
    assert len(set(map(id, errors))) == 3


def test_a_query_of_other_fields_waits_no_longer(
    database: Database, kit: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    kit(ASGI_CONNECTIONS=1)
    monkeypatch.setattr(shared_checks, "MAX_WAIT", 0.2)

    async def check() -> Any:
        slow = shared_checks.shared_check("slow")  # type: ignore[arg-type]
        other = shared_checks.shared_check("other", with_email=True)  # type: ignore[arg-type]
        found = await asyncio.gather(other, return_exceptions=True)
        database.answers.set()
        await asyncio.wait([slow])
        return found

    assert [type(result) for result in asyncio.run(check())] == [ServiceUnavailableError]


def test_a_thread_that_does_not_start_fails_its_requests_alone(
    database: Database, kit: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    kit(ASGI_CONNECTIONS=19)  # threads of its own
    start = threading.Thread.start
    failures = [RuntimeError("can't start new thread")]

    def fail_once(thread: threading.Thread) -> None:
        if failures:
            raise failures.pop()
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", fail_once)

    async def check() -> list[Any]:
        return [*await ended("first"), *await ended("second")]

    assert [type(result) for result in asyncio.run(check())] == [RuntimeError, SessionEndedError]


def test_a_query_runs_in_the_context_of_one_of_its_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    request: ContextVar[int] = ContextVar("request")
    seen: list[tuple[list[Any], int]] = []

    def load(claims: list[Any], **_: Any) -> list[Any]:
        seen.append((claims, request.get()))
        return [SessionEndedError() for _ in claims]

    async def one(number: int) -> None:
        request.set(number)
        await ended(number)

    async def check() -> None:
        await asyncio.gather(*[one(number) for number in range(40)])

    monkeypatch.setattr(shared_checks, "_load", load)
    asyncio.run(check())

    assert len(seen) > 1
    assert all(number in claims for claims, number in seen)


def test_the_checks_of_event_loops_that_have_ended_are_forgotten(database: Database) -> None:
    for _ in range(5):
        asyncio.run(ended("one"))

    assert len(shared_checks._checks) == 1


def test_one_who_has_hung_up_is_not_asked_for(database: Database) -> None:
    async def check() -> None:
        first = shared_checks.shared_check("first")  # type: ignore[arg-type]
        gone = asyncio.ensure_future(partial(ended, "gone")())
        stays = asyncio.ensure_future(partial(ended, "stays")())
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait([first, gone, stays])

    asyncio.run(check())

    assert database.queries == [1, 1]
