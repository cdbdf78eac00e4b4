"""A request that had to wait for an account uses its current state, not that before the wait.

The tests hold the account's row until the requests wait for it, in the order in which they were
sent.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.db import connections, transaction

from ninja_auth_kit.conf import accounts_database
from ninja_auth_kit.models import ShadowRegistration
from ninja_auth_kit.models.users import find_user, is_verified, lock_user
from tests.conftest import EMAIL, PASSWORD, Api, mailed_token, users_have_names
from tests.servers import Server

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.race]

BASE = "/api/auth/"
OTHER = "another " + PASSWORD
HASHER = "django.contrib.auth.hashers.PBKDF2PasswordHasher"
Call = tuple[str, dict[str, str]]
Queue = Callable[..., list[int]]


@pytest.fixture
def queue(servers: Callable[..., Server]) -> Queue:
    """Return a function that sends requests that wait for a user's lock, for their status codes."""
    return queue_at(servers(environment={"TEST_RABBITMQ_HOST": "127.0.0.1"}))


def queue_at(server: Server) -> Queue:
    def send(user: Any, *calls: Call) -> list[int]:
        with ThreadPoolExecutor(len(calls)) as pool:
            with transaction.atomic(using=accounts_database()):
                lock_user(user.pk)
                answers = []
                for number, (path, body) in enumerate(calls, start=1):
                    answers.append(pool.submit(server.request, "POST", BASE + path, body))
                    wait_for_waiting(number)
            return [answer.result()[0] for answer in answers]

    return send


def wait_for_waiting(number: int) -> None:
    """Wait until this many connections to this database wait for a lock."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with connections[accounts_database()].cursor() as cursor:
            # PostgreSQL reads this view once per transaction, unless its snapshot is cleared.
            cursor.execute("SELECT pg_stat_clear_snapshot()")
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            if cursor.fetchone() == (number,):
                return
        time.sleep(0.02)
    raise AssertionError("The requests do not wait for a lock.")


def registration(password: str, name: str) -> Call:
    body = {"email": EMAIL, "password": password}
    return "register", {**body, "username": name} if users_have_names() else body


def change_of_address(api: Api, email: str, new_email: str) -> Call:
    """Request another address, and return the request that confirms it."""
    body = {"new_email": new_email, "password": PASSWORD}
    assert api.post("email/change", body, token=api.pair(email)["access_token"]).status_code == 202
    return "email/change/confirm", {"token": mailed_token(-2)}


def give_old_hash(user: Any) -> str:
    """Give a user an old hash, which each login at a server with `HASHER` renews, and return it."""
    user.password = PBKDF2PasswordHasher().encode(PASSWORD, "saltsaltsaltsaltsaltsalt", 1000)
    user.save()
    return str(user.password)


@pytest.mark.security("CRED-02")
def test_a_registration_that_waited_for_the_verification_replaces_nothing(queue: Queue, api: Api) -> None:
    api.register()
    verification = ("verify-email", {"token": mailed_token(), "password": PASSWORD})

    assert queue(find_user(EMAIL), verification, registration(OTHER, "stranger")) == [200, 202]

    assert api.login().status_code == 200
    assert api.login(password=OTHER).status_code == 401


def test_an_address_that_was_verified_meanwhile_is_not_taken_by_the_change_of_another(
    queue: Queue, api: Api, make_user: Callable[..., Any]
) -> None:
    make_user("bob@example.com")
    api.register()
    verification = ("verify-email", {"token": mailed_token(), "password": PASSWORD})
    change = change_of_address(api, "bob@example.com", EMAIL)

    assert queue(find_user(EMAIL), verification, change) == [200, 400]

    assert api.login().status_code == 200


def test_a_login_that_waited_for_a_change_of_the_address_is_not_told_to_verify(
    queue: Queue, api: Api, user: Any
) -> None:
    change = change_of_address(api, EMAIL, "new@example.com")

    assert queue(user, change, ("login", {"email": EMAIL, "password": PASSWORD})) == [204, 200]


@pytest.mark.security("CRED-01")
@pytest.mark.parametrize("verified", [True, False])
def test_of_two_registrations_at_once_the_first_counts_whoever_has_the_address(
    queue: Queue, api: Api, make_user: Callable[..., Any], verified: bool
) -> None:
    """The "not verified" response must not show whether the address is in use."""
    user = make_user(password="the owner has another one", verified=verified)

    assert queue(user, registration(PASSWORD, "first"), registration(OTHER, "second")) == [202, 202]

    assert [api.login(password=password).status_code for password in (PASSWORD, OTHER)] == [403, 401]
    assert is_verified(get_user_model().objects.get()) is verified


@pytest.mark.security("SES-11", "SES-14")
def test_a_login_that_renews_an_old_hash_does_not_undo_a_reset(
    servers: Callable[..., Server], api: Api, user: Any
) -> None:
    server = servers(environment={"TEST_HASHER": HASHER})
    give_old_hash(user)
    api.post("password/reset", {"email": EMAIL})
    reset = ("password/reset/confirm", {"token": mailed_token(), "new_password": OTHER})
    login = {"email": EMAIL, "password": PASSWORD}

    assert queue_at(server)(user, reset, ("login", login)) == [204, 401]

    statuses = [
        server.request("POST", BASE + "login", {**login, "password": password})[0] for password in (PASSWORD, OTHER)
    ]
    assert statuses == [401, 200]


def test_a_login_renews_an_old_hash(servers: Callable[..., Server], user: Any) -> None:
    server = servers(environment={"TEST_HASHER": HASHER})
    old = give_old_hash(user)

    assert server.request("POST", BASE + "login", {"email": EMAIL, "password": PASSWORD})[0] == 200

    user.refresh_from_db()
    assert user.password != old
    assert server.request("POST", BASE + "login", {"email": EMAIL, "password": PASSWORD})[0] == 200


@pytest.mark.security("BF-04")
def test_a_registration_that_came_first_does_not_refuse_the_link_of_the_owner(queue: Queue, api: Api) -> None:
    api.register()
    api.post("password/reset", {"email": EMAIL})
    reset = ("password/reset/confirm", {"token": mailed_token(), "new_password": "a brand new password"})

    assert queue(find_user(EMAIL), registration(OTHER, "stranger"), reset) == [202, 204]

    assert api.login(password="a brand new password").status_code == 200


@pytest.mark.security("SES-17")
def test_a_registration_that_waited_for_a_change_of_the_address_casts_no_shadow(
    queue: Queue, api: Api, user: Any
) -> None:
    change = change_of_address(api, EMAIL, "new@example.com")

    assert queue(user, change, registration(OTHER, "newcomer")) == [204, 202]

    assert not ShadowRegistration.objects.exists()


@pytest.mark.security("SES-15")
def test_who_is_banned_while_a_password_changes_changes_it_no_more(servers: Callable[..., Server], user: Any) -> None:
    server, key = servers(), user.pk
    access = server.request("POST", BASE + "login", {"email": EMAIL, "password": PASSWORD})[1]["access_token"]
    calls = [
        ("POST", BASE + "password/change", {"current_password": PASSWORD, "new_password": OTHER}),
        ("DELETE", BASE + "me", {"password": PASSWORD}),
    ]

    with ThreadPoolExecutor(len(calls)) as pool:
        with transaction.atomic(using=accounts_database()):
            lock_user(key)
            answers = [pool.submit(server.request, *call, token=access) for call in calls]
            wait_for_waiting(len(calls))
            get_user_model().objects.filter(pk=key).update(is_active=False)
        assert [answer.result()[0] for answer in answers] == [401, 401]

    assert get_user_model().objects.get(pk=key).password == user.password
