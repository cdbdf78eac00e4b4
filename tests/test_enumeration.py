"""Response times do not show whether an account exists.

Samples of known and unknown addresses alternate, so that other load on the machine affects both
alike, and their medians are compared. The password hasher is fast, so that it hides no difference.
The email backend takes half a second.
"""

import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.hashers import MD5PasswordHasher, PBKDF2PasswordHasher
from django.db import connections
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from ninja_auth_kit.conf import DEFAULT_THROTTLES, accounts_database
from ninja_auth_kit.models import OneTimeToken, PromisedEmail, ThrottleBucket
from ninja_auth_kit.models.users import has_username
from tests.conftest import PASSWORD, Api, users_have_names
from tests.servers import Server

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.race]

SAMPLES = 40
BOUND = 0.010  # seconds; an email sent in the request would take 0.5, and a hash in production 0.3


def registration(email: str, number: int) -> dict[str, str]:
    address = f"new{number}@example.com" if email == "nobody@example.com" else email
    body = {"email": address, "password": PASSWORD}
    return {**body, "username": f"name{number}"} if users_have_names() else body


BODIES: dict[str, Callable[[str, int], dict[str, str]]] = {
    "register": registration,
    "verify-email/resend": lambda email, _: {"email": email},
    "password/reset": lambda email, _: {"email": email},
    "login": lambda email, _: {"email": email, "password": "wrong wrong wrong"},
}


def assert_as_long(server: Server, path: str, *emails: str) -> None:
    """Assert that the answers of a path take as long for each of several addresses."""
    samples: dict[str, list[float]] = {email: [] for email in emails}
    numbers = itertools.count()
    for _ in range(SAMPLES + 5):
        for email, times in samples.items():
            body = BODIES[path](email, next(numbers))
            start = time.perf_counter()
            status, _answer = server.request("POST", f"/api/auth/{path}", body)
            times.append(time.perf_counter() - start)
            assert status in {202, 401}

    medians = {email: statistics.median(times[5:]) for email, times in samples.items()}

    assert max(medians.values()) - min(medians.values()) < BOUND, medians


@pytest.fixture
def server(servers: Callable[..., Server], make_user: Callable[..., Any]) -> Server:
    make_user("verified@example.com")
    make_user("pending@example.com", verified=False)
    make_user("disabled@example.com", is_active=False)
    return servers(environment={"TEST_MAIL_BACKEND": "tests.slow_mail.EmailBackend"})


@pytest.mark.security("CRED-01", "CRED-05", "CRED-07")
@pytest.mark.parametrize("path", BODIES)
def test_known_and_unknown_addresses_take_as_long(server: Server, path: str) -> None:
    kinds = ("verified", "pending", "disabled", "nobody")
    assert_as_long(server, path, *(f"{kind}@example.com" for kind in kinds))


@pytest.mark.security("CRED-06")
def test_a_password_that_was_hashed_with_less_work_long_ago_costs_a_refusal_as_much_work(
    make_user: Callable[..., Any], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]
    monkeypatch.setattr(PBKDF2PasswordHasher, "iterations", 5000)
    today, long_ago = (make_user(f"{name}@example.com") for name in ("today", "long_ago"))
    for user, iterations in ((today, 5000), (long_ago, 1000)):
        user.password = PBKDF2PasswordHasher().encode(PASSWORD, "saltsaltsaltsaltsaltsalt", iterations)
        user.save()
    encode, work = PBKDF2PasswordHasher.encode, []

    def counted(self: Any, password: str, salt: str, iterations: int | None = None) -> str:
        work.append(iterations or self.iterations)
        return str(encode(self, password, salt, iterations))

    monkeypatch.setattr(PBKDF2PasswordHasher, "encode", counted)
    totals = {}
    for name in ("today", "long_ago", "nobody"):
        work.clear()
        assert Api().login(f"{name}@example.com", "wrong").status_code == 401
        totals[name] = sum(work)

    assert totals == dict.fromkeys(totals, 10_000)


@pytest.mark.security("CRED-05")
def test_a_username_that_a_backend_cannot_look_up_costs_a_login_as_many_hashes(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes: list[int] = []
    encode, authenticate = MD5PasswordHasher.encode, ModelBackend.authenticate

    def counted(*args: Any, **kwargs: Any) -> str:
        hashes.append(1)
        return str(encode(*args, **kwargs))

    def numbers_only(self: Any, request: Any, username: str | None = None, password: str | None = None) -> Any:
        """Authenticate like a backend that requires numeric usernames."""
        int(username or "")
        return authenticate(self, request, username=username, password=password)

    monkeypatch.setattr(MD5PasswordHasher, "encode", counted)
    monkeypatch.setattr(ModelBackend, "authenticate", numbers_only)
    counts = []
    for username in ("12345", "not a number"):
        hashes.clear()
        field = "username" if has_username() else "email"
        assert api.post("login", {field: username, "password": PASSWORD}).status_code == 401
        counts.append(len(hashes))

    assert counts == [2, 2]


@pytest.mark.security("CRED-07")
@pytest.mark.parametrize("path", ["verify-email/resend", "password/reset"])
def test_a_link_for_an_unknown_address_asks_the_same_tables(
    api: Api, make_user: Callable[..., Any], kit: Callable[..., None], path: str
) -> None:
    kit(THROTTLES=DEFAULT_THROTTLES)
    make_user("known@example.com", verified=False)
    make_user("passwordless@example.com", password=None, verified=False)
    tables = [model._meta.db_table for model in (ThrottleBucket, PromisedEmail, OneTimeToken)]
    asked = []
    for name, sets_first in (("known", True), ("unknown", True), ("passwordless", True), ("passwordless", False)):
        kit(USERS_SET_FIRST_PASSWORD=sets_first)
        with CaptureQueriesContext(connections[accounts_database()]) as queries:
            assert api.post(path, {"email": f"{name}@example.com"}).status_code == 202
        asked.append([table for query in queries for table in tables if table in query["sql"]])

    buckets, promised, tokens = tables
    # The network, the promise and its claim; the recipient and the token; the end of the promise.
    assert asked[0] == [buckets, promised, promised, buckets, tokens, promised]
    assert asked[1:] == [asked[0]] * 3
