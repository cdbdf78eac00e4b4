"""Rotating `JWT_SECRET_KEY`: clients notice nothing while the former secret is listed.

After its removal, everything that depends on it is rejected.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.test import override_settings
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from ninja_auth_kit.models import BlacklistedToken, OneTimeToken, UserSession
from ninja_auth_kit.tokens import key_ring
from tests.conftest import EMAIL, PASSWORD, Api, event_names, events, mailed_token
from tests.keys import entry, pem
from tests.settings import JWT_SECRET_KEY, NINJA_AUTH_KIT
from tests.test_tokens import Forger

pytestmark = pytest.mark.django_db(transaction=True)
NEXT = JWT_SECRET_KEY[::-1]
NEW_PASSWORD = "another horse, another battery"
Swap = Callable[[], None]


@contextmanager
def worker(secret: str, *listed: dict[str, str], algorithm: str = "HS256") -> Iterator[None]:
    """Run as a worker with these keys."""
    kit = {**NINJA_AUTH_KIT, "SIGNING_KEYS": list(listed), "JWT_ALGORITHM": algorithm}
    with override_settings(JWT_SECRET_KEY=secret, NINJA_AUTH_KIT=kit):
        yield


def worker_with_former_secret() -> AbstractContextManager[None]:
    """Run as a worker that signs with the former secret and accepts the next."""
    return worker(JWT_SECRET_KEY, entry("HS256", NEXT, "verify-only"))


def worker_with_next_secret() -> AbstractContextManager[None]:
    """Run as a worker that signs with the next secret and accepts the former."""
    return worker(NEXT, entry("HS256", JWT_SECRET_KEY, "verify-only"))


@pytest.fixture
def swap(settings: Settings, kit: Callable[..., None]) -> Swap:
    """Return a function that makes the next secret current and lists the former."""

    def change() -> None:
        settings.JWT_SECRET_KEY = NEXT
        kit(SIGNING_KEYS=[entry("HS256", JWT_SECRET_KEY, "verify-only")])

    return change


@pytest.fixture
def remove(kit: Callable[..., None]) -> Swap:
    """Return a function that removes the former secret from the list."""
    return lambda: kit(SIGNING_KEYS=None)


def refresh(api: Api, token: str) -> Any:
    return api.post("refresh", {"refresh_token": token})


def code(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


@pytest.mark.security("JWT-27")
def test_nobody_is_logged_out(
    api: Api, user: Any, swap: Swap, remove: Swap, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    pair = api.pair()
    swap()

    with django_assert_num_queries(1):
        assert api.get("/host/sync", token=pair["access_token"]).status_code == 200
    assert api.get("/host/stateless", token=pair["access_token"]).status_code == 200
    assert [session["id"] for session in api.get("sessions", token=pair["access_token"]).json()] == [
        pair["session_id"]
    ]
    with django_assert_num_queries(4):
        answer = refresh(api, pair["refresh_token"])
    successor = answer.json()
    assert Forger(successor["access_token"]).header["kid"] == key_ring().keys[0].kid
    assert Forger(successor["access_token"]).header["kid"] != Forger(pair["access_token"]).header["kid"]
    assert api.is_in(pair["access_token"])
    remove()
    assert api.is_in(successor["access_token"])
    assert refresh(api, successor["refresh_token"]).status_code == 200
    assert UserSession.objects.get().is_active


@pytest.mark.security("JWT-27", "JWT-06")
def test_after_the_former_secret_is_removed_everything_of_it_is_refused(
    api: Api, user: Any, make_user: Callable[..., Any], swap: Swap, remove: Swap
) -> None:
    make_user("bob@example.com", verified=False)
    api.post("verify-email/resend", {"email": "bob@example.com"})
    verification = mailed_token()
    pair = api.pair()
    successor = refresh(api, pair["refresh_token"]).json()
    api.post("email/change", {"new_email": "new@example.com", "password": PASSWORD}, token=successor["access_token"])
    change = mailed_token(-2)  # the last email is the notice to the old address
    api.post("password/reset", {"email": EMAIL})
    reset = mailed_token()
    swap()
    remove()

    assert code(api.get("me", token=successor["access_token"])) == (401, "invalid_token")
    assert code(api.get("/host/stateless", token=successor["access_token"])) == (401, "invalid_token")
    assert code(refresh(api, successor["refresh_token"])) == (401, "invalid_token")
    assert code(refresh(api, pair["refresh_token"])) == (401, "invalid_token")
    assert code(api.post("verify-email", {"token": verification, "password": PASSWORD})) == (400, "invalid_token")
    assert code(api.post("email/change/confirm", {"token": change})) == (400, "invalid_token")
    reset_body = {"token": reset, "new_password": NEW_PASSWORD}
    assert code(api.post("password/reset/confirm", reset_body)) == (400, "invalid_token")
    for body in ({"refresh_token": successor["refresh_token"]}, {}):
        assert api.post("logout", body, token=successor["access_token"]).status_code == 204
    assert UserSession.objects.get().is_active
    assert OneTimeToken.objects.filter(used_at=None).count() == 3


def test_a_login_ends_the_session_of_a_removed_secret_as_revoked_and_blames_no_password(
    api: Api, user: Any, swap: Swap, remove: Swap, audited: None
) -> None:
    former = api.pair()["session_id"]
    swap()
    remove()

    pair = api.pair()

    assert UserSession.objects.get(pk=former).end_reason == "revoked"
    assert [event["data"]["reason"] for event in events() if event["data"].get("reason")] == ["revoked"]
    assert api.is_in(pair["access_token"])


def test_a_session_that_did_not_refresh_lives_until_the_former_secret_goes(
    api: Api, user: Any, kit: Callable[..., None], swap: Swap, remove: Swap
) -> None:
    kit(SESSION_LIMIT=None)
    idle, busy = api.pair(), api.pair()
    swap()
    busy = refresh(api, busy["refresh_token"]).json()
    assert len(api.get("sessions", token=busy["access_token"]).json()) == 2
    assert api.is_in(idle["access_token"])

    remove()

    assert [session["id"] for session in api.get("sessions", token=busy["access_token"]).json()] == [
        busy["session_id"]
    ]
    assert not api.is_in(idle["access_token"])


@pytest.mark.security("SES-05")
def test_a_predecessor_gets_the_same_successor_whichever_secret_made_it(api: Api, user: Any, swap: Swap) -> None:
    pair = api.pair()
    before = refresh(api, pair["refresh_token"]).json()
    swap()

    again = refresh(api, pair["refresh_token"]).json()
    assert again["refresh_token"] == before["refresh_token"]
    assert api.is_in(again["access_token"])

    after = refresh(api, before["refresh_token"]).json()
    assert refresh(api, before["refresh_token"]).json()["refresh_token"] == after["refresh_token"]
    assert refresh(api, after["refresh_token"]).status_code == 200


@pytest.mark.security("SES-06")
def test_reuse_of_a_token_of_the_former_secret_still_ends_the_session(
    api: Api, user: Any, swap: Swap, audited: None
) -> None:
    with time_machine.travel(timezone.now(), tick=False) as clock:
        pair = api.pair()
        swap()
        successor = refresh(api, pair["refresh_token"]).json()
        clock.shift(timedelta(seconds=11))

        assert code(refresh(api, pair["refresh_token"])) == (401, "token_reused")

    assert code(api.get("me", token=successor["access_token"])) == (401, "session_ended")
    assert event_names().count("session.reuse_detected") == 1


@pytest.mark.security("SES-16")
def test_sessions_stay_bound_to_the_password(api: Api, user: Any, swap: Swap, remove: Swap) -> None:
    pair = api.pair()
    swap()
    user.set_password("set in a shell, without the kit")
    user.save()

    assert code(api.get("me", token=pair["access_token"])) == (401, "session_ended")
    assert code(refresh(api, pair["refresh_token"])) == (401, "session_ended")
    remove()
    assert code(refresh(api, pair["refresh_token"])) == (401, "invalid_token")


def test_a_change_of_the_password_keeps_the_session_that_asks_and_ends_the_others(
    api: Api, user: Any, kit: Callable[..., None], swap: Swap
) -> None:
    kit(SESSION_LIMIT=2)
    other, own = api.pair(), api.pair()
    swap()

    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    assert api.post("password/change", body, token=own["access_token"]).status_code == 204

    assert api.is_in(own["access_token"])
    assert not api.is_in(other["access_token"])
    assert refresh(api, own["refresh_token"]).status_code == 200


def test_a_login_that_renews_the_hash_keeps_the_sessions_of_the_former_secret(
    api: Api, user: Any, kit: Callable[..., None], swap: Swap, settings: Settings
) -> None:
    kit(SESSION_LIMIT=2)
    pair = api.pair()
    swap()
    settings.PASSWORD_HASHERS = [
        "django.contrib.auth.hashers.ScryptPasswordHasher",
        "django.contrib.auth.hashers.MD5PasswordHasher",
    ]
    kit(SIGNING_KEYS=[entry("HS256", JWT_SECRET_KEY, "verify-only")], SESSION_LIMIT=2)

    api.pair()

    assert get_user_model().objects.get().password.startswith("scrypt$")
    assert api.is_in(pair["access_token"])


def test_a_refresh_that_a_new_password_overtakes_does_not_undo_it(api: Api, user: Any, swap: Swap) -> None:
    session = UserSession.objects.load(api.pair()["session_id"])
    assert session is not None
    swap()
    new = make_password(NEW_PASSWORD)
    assert UserSession.objects.update_auth_hash(user=user, old=user.password, new=new) == 1
    get_user_model().objects.update(password=new)

    now = timezone.now()
    token = f"v1$00000000${'0' * 64}"
    assert not UserSession.objects.rotate(session, token=token, now=now, refresh_expires_at=now)

    current = UserSession.objects.load(session.pk)
    assert current is not None
    assert current.is_valid()
    assert current.generation == 0


@pytest.mark.security("JWT-27")
def test_mailed_tokens_survive(api: Api, user: Any, make_user: Callable[..., Any], swap: Swap) -> None:
    make_user("bob@example.com", verified=False)
    make_user("carol@example.com")
    api.post("verify-email/resend", {"email": "bob@example.com"})
    verification = mailed_token()
    api.post("password/reset", {"email": "carol@example.com"})
    reset = mailed_token()
    pair = api.pair()
    api.post("email/change", {"new_email": "new@example.com", "password": PASSWORD}, token=pair["access_token"])
    change = mailed_token(-2)  # the last email is the notice to the old address
    swap()

    assert api.post("verify-email", {"token": verification, "password": PASSWORD}).status_code == 200
    assert api.post("password/reset/confirm", {"token": reset, "new_password": NEW_PASSWORD}).status_code == 204
    assert api.post("email/change/confirm", {"token": change}).status_code == 204
    assert api.login("carol@example.com", NEW_PASSWORD).status_code == 200
    assert api.login("new@example.com").status_code == 200
    assert code(api.post("password/reset/confirm", {"token": reset, "new_password": PASSWORD}))[0] == 400


def test_a_mailed_token_of_the_former_secret_is_still_bound_to_its_account(api: Api, user: Any, swap: Swap) -> None:
    api.post("password/reset", {"email": EMAIL})
    token = mailed_token()
    swap()
    user.set_password("set in a shell, without the kit")
    user.save()

    assert code(api.post("password/reset/confirm", {"token": token, "new_password": NEW_PASSWORD}))[0] == 400


@pytest.mark.parametrize("by", ["access_token", "refresh_token"])
def test_a_logout_with_a_token_of_the_former_secret_ends_the_session(api: Api, user: Any, swap: Swap, by: str) -> None:
    pair = api.pair()
    swap()

    if by == "access_token":
        api.post("logout", token=pair["access_token"])
    else:
        api.post("logout", {"refresh_token": pair["refresh_token"]})

    assert code(api.get("me", token=pair["access_token"])) == (401, "session_ended")
    assert code(refresh(api, pair["refresh_token"])) == (401, "session_ended")


def test_what_was_blacklisted_under_the_former_secret_stays_so(api: Api, user: Any, swap: Swap) -> None:
    pair = api.pair()
    successor = refresh(api, pair["refresh_token"]).json()
    BlacklistedToken.objects.create(token=UserSession.objects.get().refresh_token)
    swap()

    for token in (pair["refresh_token"], successor["refresh_token"]):
        assert code(refresh(api, token)) == (401, "session_ended")


@pytest.mark.security("JWT-27")
def test_workers_before_and_after_the_swap_take_each_others_tokens(api: Api, user: Any) -> None:
    with worker(JWT_SECRET_KEY):
        pair = api.pair()
    for one, other in [
        (worker_with_former_secret, worker_with_next_secret),
        (worker_with_next_secret, worker_with_former_secret),
    ] * 3:
        with one():
            answer = refresh(api, pair["refresh_token"])
            assert answer.status_code == 200
            successor = answer.json()
        with other():
            assert api.is_in(pair["access_token"])
            assert api.is_in(successor["access_token"])
            assert refresh(api, pair["refresh_token"]).json()["refresh_token"] == successor["refresh_token"]
        pair = successor
    with worker_with_former_secret():
        api.post("password/reset", {"email": EMAIL})
    with worker_with_next_secret():
        body = {"token": mailed_token(), "new_password": NEW_PASSWORD}
        assert api.post("password/reset/confirm", body).status_code == 204
    with worker_with_former_secret():
        assert api.login(password=NEW_PASSWORD).status_code == 200


def test_the_algorithm_can_change_with_the_secret(api: Api, user: Any) -> None:
    longer = NEXT * 2
    with worker(JWT_SECRET_KEY, entry("HS512", longer, "verify-only")):
        pair = api.pair()
    with worker(longer, entry("HS256", JWT_SECRET_KEY, "verify-only"), algorithm="HS512"):
        assert api.is_in(pair["access_token"])
        successor = refresh(api, pair["refresh_token"]).json()
        assert Forger(successor["access_token"]).header["alg"] == "HS512"
    with worker(JWT_SECRET_KEY, entry("HS512", longer, "verify-only")):
        assert api.is_in(successor["access_token"])
    with worker(JWT_SECRET_KEY, entry("HS256", longer, "verify-only")):
        assert code(api.get("me", token=successor["access_token"])) == (401, "invalid_token")


@pytest.mark.security("JWT-27")
def test_the_root_is_rotated_beside_an_asymmetric_key_as_well(api: Api, user: Any) -> None:
    signing = entry("ES256", pem("ES256"))
    with worker(JWT_SECRET_KEY, signing):
        pair = api.pair()
    with worker(NEXT, signing, entry("HS256", JWT_SECRET_KEY, "verify-only")):
        assert api.is_in(pair["access_token"])
        successor = refresh(api, pair["refresh_token"]).json()
    with worker(NEXT, signing):
        assert api.is_in(successor["access_token"])
        # A token of the same session, which has been refreshed since.
        assert api.is_in(pair["access_token"])
        assert code(refresh(api, pair["refresh_token"])) == (401, "invalid_token")
        assert refresh(api, successor["refresh_token"]).status_code == 200


def test_a_predecessor_of_a_known_secret_gets_nothing_where_the_successor_s_is_gone(api: Api, user: Any) -> None:
    with worker_with_next_secret():
        pair = api.pair()
    with worker_with_former_secret():
        refresh(api, pair["refresh_token"])

    with worker(NEXT):
        assert refresh(api, pair["refresh_token"]).status_code == 401
