"""Who has an account is not told by time either.

Samples of known and unknown addresses are interleaved, so that whatever else the machine does falls on both alike, and
medians are compared. The hasher is a fast one, so nothing hides behind it; the mail server takes half a second.
"""

import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from pytest_django import Settings

from ninja_auth_kit.models.users import has_username
from tests.conftest import PASSWORD, Api
from tests.servers import Server

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.race]

SAMPLES = 40
BOUND = 0.010  # seconds; what one would see of an inline mail is 0.5, and of a hash in life 0.3


def registration(email: str, number: int) -> dict[str, str]:
    address = f"new{number}@example.com" if email == "nobody@example.com" else email
    body = {"email": address, "password": PASSWORD}
    return {**body, "username": f"name{number}"} if has_username() else body


BODIES: dict[str, Callable[[str, int], dict[str, str]]] = {
    "register": registration,
    "verify-email/resend": lambda email, _: {"email": email},
    "password/reset": lambda email, _: {"email": email},
    "login": lambda email, _: {"email": email, "password": "wrong wrong wrong"},
}


@pytest.fixture
def server(servers: Callable[..., Server], make_user: Callable[..., Any]) -> Server:
    make_user("verified@example.com")
    make_user("pending@example.com", verified=False)
    make_user("disabled@example.com", is_active=False)
    return servers(environment={"TEST_MAIL_BACKEND": "tests.slow_mail.EmailBackend"})


@pytest.mark.security("CRED-01", "CRED-05", "CRED-07")
@pytest.mark.parametrize("path", BODIES)
def test_known_and_unknown_addresses_take_as_long(server: Server, path: str) -> None:
    samples: dict[str, list[float]] = {
        "verified@example.com": [],
        "pending@example.com": [],
        "disabled@example.com": [],
        "nobody@example.com": [],
    }
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
