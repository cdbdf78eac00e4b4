"""Rate limits: guessing, spraying, flooding and mail bombing are limited.

An attacker cannot lock other users out.
"""

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth.hashers import MD5PasswordHasher
from django.core import mail
from django.db import connection, connections, transaction
from django.db.utils import OperationalError
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from ninja_auth_kit import signals
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import DEFAULT_THROTTLES
from ninja_auth_kit.models import AuditOutbox, ThrottleBucket, UserSession
from ninja_auth_kit.models.throttling import Bucket
from ninja_auth_kit.models.users import has_username
from ninja_auth_kit.services.internal import hash_slots, throttling
from ninja_auth_kit.services.internal.limits import buckets_for as limits_of
from tests.conftest import EMAIL, PASSWORD, Api, event_names, events, mailed_token, recorded
from tests.servers import Server

pytestmark = pytest.mark.django_db(transaction=True)

WRONG = "not the password at all"


@pytest.fixture(autouse=True)
def limits(kit: Callable[..., None]) -> Callable[..., None]:
    """Enable the default limits, and return a function that sets only the given rules."""
    kit(THROTTLES=DEFAULT_THROTTLES)
    return lambda **rules: kit(THROTTLES=rules)


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(timezone.now(), tick=False) as traveller:
        yield traveller


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows with each password hash."""
    computed: list[str] = []
    encode = MD5PasswordHasher.encode

    def counted(self: Any, password: str, salt: str) -> str:
        computed.append(salt)
        return str(encode(self, password, salt))

    monkeypatch.setattr(MD5PasswordHasher, "encode", counted)
    return computed


def address(number: int) -> str:
    return f"198.51.100.{number}"


@contextmanager
def held_slots(number: int = hash_slots.SLOTS) -> Iterator[None]:
    """Hold this many hash slots, by default all of them."""
    with ExitStack() as stack:
        for _ in range(number):
            stack.enter_context(hash_slots.hash_slot())
        yield


def guess(api: Api, times: int, email: str = EMAIL, *, start: int = 1, **headers: Any) -> list[int]:
    """Log in with a wrong password, each time from another address."""
    return [
        api.login(email, WRONG, REMOTE_ADDR=address(number), **headers).status_code
        for number in range(start, start + times)
    ]


@pytest.mark.security("BF-01", "HTTP-03")
@pytest.mark.parametrize("email", [EMAIL, "nobody@example.com"])
def test_an_account_takes_ten_wrong_passwords_from_anywhere(api: Api, user: Any, email: str) -> None:
    assert guess(api, 10, email) == [401] * 10

    refused = api.login(email, WRONG, REMOTE_ADDR=address(99))

    assert refused.status_code == 429
    assert refused.json()["code"] == "throttled"
    assert 1 <= int(refused["Retry-After"]) <= 900
    assert refused.json()["retry_after"] == int(refused["Retry-After"])
    assert refused["Cache-Control"] == "no-store"
    assert refused["Content-Type"] == "application/problem+json"


@pytest.mark.security("BF-02", "BF-11")
def test_right_and_wrong_passwords_look_alike_while_throttled_and_cost_no_hash(
    api: Api, user: Any, hashes: list[str], clock: time_machine.Traveller
) -> None:
    guess(api, 10)
    guess(api, 10, "nobody@example.com")
    hashes.clear()

    answers = [
        api.login(email, password, REMOTE_ADDR=address(99))
        for email, password in ((EMAIL, WRONG), (EMAIL, PASSWORD), ("nobody@example.com", PASSWORD))
    ]

    assert {(answer.status_code, answer.content, answer["Retry-After"]) for answer in answers} == {
        (429, answers[0].content, answers[0]["Retry-After"])
    }
    assert hashes == []
    assert not UserSession.objects.exists()


@pytest.mark.security("BF-11")
def test_a_refusal_asks_the_database_as_often_for_a_known_as_for_an_unknown_account(api: Api, user: Any) -> None:
    counts = []
    for email in (EMAIL, "nobody@example.com"):
        guess(api, 11, email)
        with CaptureQueriesContext(connection) as queries:
            assert api.login(email, WRONG, REMOTE_ADDR=address(99)).status_code == 429
        counts.append(len(queries))

    assert counts[0] == counts[1]


@pytest.mark.security("BF-03")
def test_the_owner_gets_in_from_a_network_of_an_earlier_login(api: Api, user: Any) -> None:
    assert api.login(REMOTE_ADDR="203.0.113.7").status_code == 200
    assert set(guess(api, 50)) == {401, 429}

    assert api.login(REMOTE_ADDR="203.0.113.8").status_code == 429
    assert api.login(REMOTE_ADDR="203.0.113.7").status_code == 200
    assert api.login(REMOTE_ADDR="203.0.113.7").status_code == 200


@pytest.mark.security("BF-03")
def test_a_login_to_another_account_makes_no_network_known(api: Api, make_user: Callable[..., Any]) -> None:
    make_user()
    make_user("attacker@example.com")
    api.login("attacker@example.com", REMOTE_ADDR="203.0.113.7")
    guess(api, 10)

    assert api.login(password=WRONG, REMOTE_ADDR="203.0.113.7").status_code == 429


@pytest.mark.security("BF-03")
def test_a_session_vouches_for_its_network_for_sixty_days(api: Api, user: Any) -> None:
    api.login(REMOTE_ADDR="203.0.113.7")
    guess(api, 10)

    def answer(ago: timedelta) -> int:
        UserSession.objects.update(refreshed_at=timezone.now() - ago)
        return int(api.login(REMOTE_ADDR="203.0.113.7").status_code)

    assert answer(timedelta(days=60)) == 429
    assert answer(timedelta(days=59, hours=23)) == 200


@pytest.mark.security("BF-03")
def test_a_caller_without_an_address_is_from_no_known_network(api: Api, user: Any) -> None:
    api.login(REMOTE_ADDR="")
    guess(api, 10)

    assert api.login(REMOTE_ADDR="").status_code == 429


@pytest.mark.security("BF-03")
def test_a_known_network_has_a_limit_of_its_own(api: Api, user: Any) -> None:
    api.login(REMOTE_ADDR="203.0.113.7")
    guess(api, 10)

    api.login(REMOTE_ADDR="203.0.113.7")
    for _ in range(10):
        # Compared with the hash, but answered as rate limited.
        assert api.login(password=WRONG, REMOTE_ADDR="203.0.113.7").status_code == 429

    assert api.login(REMOTE_ADDR="203.0.113.7").status_code == 429


@pytest.mark.security("BF-02", "BF-03")
def test_guesses_from_a_known_network_use_up_nothing_of_others_there_and_are_told_what_all_are_told(
    api: Api, user: Any, limits: Callable[..., None], clock: time_machine.Traveller
) -> None:
    """Respond alike to all networks, or an attacker would learn from which the account is used."""
    limits(login_account="10/15m", login_known_network="3/d", login_network="12/h", hash_network="12/h")
    api.login(REMOTE_ADDR="203.0.113.7")
    guess(api, 10)

    api.register(password="of a stranger who was turned away", username="stranger")
    passwords = [WRONG, "of a stranger who was turned away"] * 3

    here, elsewhere = (
        [api.login(password=password, REMOTE_ADDR=network) for password in passwords]
        for network in ("203.0.113.7", "203.0.113.9")
    )

    assert {(answer.status_code, answer["Retry-After"]) for answer in [*here, *elsewhere]} == {(429, "900")}
    assert api.login("nobody@example.com", WRONG, REMOTE_ADDR="203.0.113.7").status_code == 401


@pytest.mark.skipif(not has_username(), reason="the user model has no username")
@pytest.mark.security("CRED-01")
@pytest.mark.parametrize("is_in_use", [True, False])
def test_the_name_of_a_registration_is_counted_alike_whoever_has_its_address(
    api: Api, make_user: Callable[..., Any], is_in_use: bool
) -> None:
    if is_in_use:
        make_user(username="the_owner")
    api.register(username="Newcomer")

    def attempt(name: str, number: int) -> int:
        body = {"username": name, "password": WRONG}
        return int(api.post("login", body, REMOTE_ADDR=address(number)).status_code)

    assert {attempt("Newcomer", number) for number in range(10)} == {401}
    assert [attempt("Newcomer", 11), attempt("newcomer", 12)] == [429, 401]


@pytest.mark.security("BF-03")
def test_the_owner_gets_in_too_while_every_place_for_hashing_is_taken(
    api: Api, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.login(REMOTE_ADDR="203.0.113.7")
    guess(api, 10)
    monkeypatch.setattr(hash_slots, "LONGEST_WAIT", 0)

    with held_slots():
        assert api.login(REMOTE_ADDR="203.0.113.8").status_code == 429
        # Admitted, but no hash slot became free.
        assert api.login(REMOTE_ADDR="203.0.113.7").status_code == 503


@pytest.mark.security("BF-04")
def test_a_reset_by_mail_works_while_the_account_is_throttled_and_ends_it(api: Api, user: Any) -> None:
    guess(api, 11)

    api.post("password/reset", {"email": EMAIL})
    reset = {"token": mailed_token(), "new_password": "a brand new password"}

    assert api.post("password/reset/confirm", reset).status_code == 204
    assert api.login(password="a brand new password").status_code == 200


@pytest.mark.security("BF-05")
def test_one_network_cannot_spray_one_password_over_many_accounts(api: Api) -> None:
    answers = [api.login(f"user{number}@example.com", WRONG).status_code for number in range(25)]

    assert answers == [401] * 20 + [429] * 5


@pytest.mark.security("BF-05")
def test_the_addresses_of_one_ipv6_customer_count_as_one(api: Api) -> None:
    def attempt(number: int, prefix: str = "2001:db8:1:1") -> int:
        return int(
            api.login(
                f"user{number}@example.com", WRONG, REMOTE_ADDR=f"{prefix}:{number % 2 * 8000}::{number:x}"
            ).status_code
        )

    assert [attempt(number) for number in range(1, 23)] == [401] * 20 + [429] * 2
    assert attempt(30, prefix="2001:db8:1:2") == 401


@pytest.mark.security("BF-05")
def test_many_networks_of_one_ipv6_site_end_at_a_number_too(api: Api, limits: Callable[..., None]) -> None:
    limits(login_network="2/m")

    answers = [
        api.login(f"user{number}@example.com", WRONG, REMOTE_ADDR=f"2001:db8:1:{number:x}::1").status_code
        for number in range(1, 19)
    ]

    assert answers == [401] * 16 + [429] * 2
    assert api.login("x@example.com", WRONG, REMOTE_ADDR="2001:db8:2:1::1").status_code == 401


@pytest.mark.security("BF-06")
@pytest.mark.parametrize(
    "header",
    ["X_FORWARDED_FOR", "FORWARDED", "X_REAL_IP", "CF_CONNECTING_IP", "TRUE_CLIENT_IP", "CLIENT_IP", "X_CLIENT_IP"],
)
def test_headers_of_the_caller_do_not_make_it_another(api: Api, header: str) -> None:
    answers = [
        api.login(f"user{number}@example.com", WRONG, **{f"HTTP_{header}": address(number)}).status_code
        for number in range(1, 23)
    ]

    assert answers == [401] * 20 + [429] * 2


@pytest.mark.security("BF-06")
def test_behind_a_trusted_proxy_the_hop_that_it_saw_counts(
    api: Api, limits: Callable[..., None], kit: Callable[..., None]
) -> None:
    limits(login_network="2/m")
    kit(TRUSTED_PROXY_COUNT=1)

    def attempt(chain: str) -> int:
        return int(api.login("x@example.com", WRONG, HTTP_X_FORWARDED_FOR=chain).status_code)

    assert [attempt(f"{address(number)}, 203.0.113.1") for number in range(1, 4)] == [401, 401, 429]
    assert attempt(f"203.0.113.1, {address(1)}") == 401


@pytest.mark.race
@pytest.mark.security("BF-07")
def test_of_fifty_wrong_logins_at_once_five_are_looked_at(servers: Callable[..., Server], user: Any) -> None:
    server = servers(THROTTLES={"login_account": "5/15m"})

    answers = server.race(*[("POST", "/api/auth/login", {"email": EMAIL, "password": WRONG})] * 50)

    assert sorted(status for status, _ in answers) == [401] * 5 + [429] * 45


@pytest.mark.race
@pytest.mark.security("BF-07")
def test_many_limits_at_once_neither_deadlock_nor_let_more_through(servers: Callable[..., Server], user: Any) -> None:
    server = servers(THROTTLES={"login_account": ["30/15m", "35/h"], "login_network": ["7/m", "50/h"]})

    answers = server.race(*[("POST", "/api/auth/login", {"email": EMAIL, "password": WRONG})] * 50)

    statuses = [status for status, _ in answers]
    assert set(statuses) == {401, 429}
    assert statuses.count(401) == 7


@pytest.mark.security("BF-08")
@pytest.mark.parametrize(
    "spellings",
    [("ada@example.com", "ADA@example.com", " ada@EXAMPLE.com "), ("a@bücher.example", "A@xn--bcher-kva.example")],
)
def test_the_spellings_of_an_address_share_one_bucket(api: Api, user: Any, spellings: tuple[str, ...]) -> None:
    for number in range(10):
        guess(api, 1, spellings[number % len(spellings)], start=number + 1)

    assert [guess(api, 1, spelling, start=50) for spelling in spellings] == [[429]] * len(spellings)


@pytest.mark.security("BF-08")
def test_a_username_has_a_bucket_too(api: Api, user: Any) -> None:
    if not has_username():
        pytest.skip("the user model has no username")

    def attempt(name: str, number: int) -> int:
        body = {"username": name, "password": WRONG}
        return int(api.post("login", body, REMOTE_ADDR=address(number)).status_code)

    assert [attempt(user.username, number) for number in range(1, 12)] == [401] * 10 + [429]
    spellings = ["nobody", "NOBODY", "Nobody"]
    assert [attempt(spellings[number % 3], number) for number in range(12, 23)] == [401] * 10 + [429]


@pytest.mark.security("BF-09")
def test_a_login_to_another_account_resets_nothing(
    api: Api, user: Any, make_user: Callable[..., Any], limits: Callable[..., None]
) -> None:
    make_user("attacker@example.com")
    limits(login_account="10/15m", login_network="5/m")

    answers = []
    for _ in range(6):
        answers.append(api.login(password=WRONG).status_code)
        api.login("attacker@example.com")

    assert answers == [401] * 5 + [429]


@pytest.mark.security("BF-09")
def test_a_login_forgets_the_wrong_passwords_of_its_own_account(api: Api, user: Any) -> None:
    guess(api, 9)
    assert api.login(REMOTE_ADDR=address(90)).status_code == 200

    assert guess(api, 10) == [401] * 10


@pytest.mark.security("BF-09", "CRED-01")
def test_the_password_of_a_registration_that_was_turned_away_resets_nothing(
    api: Api, user: Any, limits: Callable[..., None]
) -> None:
    limits(login_account="10/15m")
    assert api.register(EMAIL, "the password of somebody else", username="other").status_code == 202
    answers = []
    for number in range(1, 12):
        answers += guess(api, 1, start=number)
        api.login(password="the password of somebody else", REMOTE_ADDR=address(200))

    assert answers == [401] * 10 + [429]


@pytest.mark.security("BF-09", "HTTP-03")
def test_minutes_and_hours_count_for_themselves_and_retry_after_is_true(
    api: Api, limits: Callable[..., None], clock: time_machine.Traveller
) -> None:
    limits(login_network=["2/m", "3/h"])
    answers = [api.login("x@example.com", WRONG) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [401, 401, 429]
    seconds = int(answers[-1]["Retry-After"])
    assert seconds == 60

    clock.shift(timedelta(seconds=seconds - 1))
    assert api.login("x@example.com", WRONG)["Retry-After"] == "1"
    clock.shift(timedelta(seconds=1))
    assert api.login("x@example.com", WRONG).status_code == 401
    refused = api.login("x@example.com", WRONG)
    assert refused.status_code == 429
    assert int(refused["Retry-After"]) == 3600 - 60


@pytest.mark.usefixtures("audited")
@pytest.mark.security("BF-12")
def test_a_new_window_has_all_its_hits_again_and_is_told_of_when_it_is_full(
    api: Api, limits: Callable[..., None], clock: time_machine.Traveller
) -> None:
    limits(login_network="3/m")
    for window in (1, 2):
        answers = [api.login("x@example.com", WRONG).status_code for _ in range(5)]
        assert answers == [401] * 3 + [429] * 2
        assert event_names().count("request.throttled") == window
        clock.shift(timedelta(minutes=1))


@pytest.mark.security("DOS-04")
def test_a_window_is_announced_once_although_hits_are_given_back_in_it() -> None:
    bucket = Bucket(uuid.uuid4(), "login_account", 1, timedelta(minutes=1))
    announced = []
    for _ in range(2):
        taken = ThrottleBucket.objects.take([bucket])
        assert taken is not None
        (full,) = ThrottleBucket.objects.full([bucket])
        announced.append(ThrottleBucket.objects.mark_announced(full))
        ThrottleBucket.objects.give_back(taken)

    assert announced == [True, False]
    assert ThrottleBucket.objects.take([bucket])


def test_a_bucket_is_full_and_announced_for_itself_and_in_its_own_window(clock: time_machine.Traveller) -> None:
    one, two = (Bucket(uuid.uuid4(), "login_account", 1, timedelta(minutes=1)) for _ in range(2))
    ThrottleBucket.objects.take([one, two])
    (former,) = ThrottleBucket.objects.full([one])

    assert ThrottleBucket.objects.mark_announced(former)
    assert list(ThrottleBucket.objects.filter(announced=True)) == [former]
    clock.shift(timedelta(minutes=1))
    assert ThrottleBucket.objects.full([one]) == []
    ThrottleBucket.objects.take([one])
    assert not ThrottleBucket.objects.mark_announced(former)


def test_a_hit_is_given_back_in_its_own_window_and_clearing_counts_in_any(clock: time_machine.Traveller) -> None:
    bucket = Bucket(uuid.uuid4(), "login_account", 3, timedelta(minutes=1))
    former = ThrottleBucket.objects.take([bucket])
    clock.shift(timedelta(minutes=2))
    ThrottleBucket.objects.take([bucket])
    assert former is not None

    ThrottleBucket.objects.give_back(former)
    assert ThrottleBucket.objects.get(pk=bucket.id).hits == 1
    ThrottleBucket.objects.give_back(former, clearing=[bucket])
    assert ThrottleBucket.objects.get(pk=bucket.id).hits == 0


def test_a_hit_that_is_given_back_after_all_were_forgotten_is_no_failure() -> None:
    bucket = Bucket(uuid.uuid4(), "login_account", 2, timedelta(minutes=1))
    taken = ThrottleBucket.objects.take([bucket])
    assert taken is not None
    ThrottleBucket.objects.clear([bucket])

    ThrottleBucket.objects.give_back(taken)

    for _ in range(2):
        assert ThrottleBucket.objects.take([bucket])
    assert ThrottleBucket.objects.take([bucket]) is None


@pytest.mark.security("BF-10", "BF-12")
def test_no_pacing_gets_more_than_a_hundred_wrong_passwords_through(
    api: Api, user: Any, clock: time_machine.Traveller
) -> None:
    evaluated, pauses = 0, []
    for _ in range(300):
        response = api.login(password=WRONG, REMOTE_ADDR=address(evaluated % 250))
        if response.status_code == 401:
            evaluated += 1
            continue
        pauses.append(int(response["Retry-After"]))
        if pauses[-1] > 3600:
            break
        clock.shift(timedelta(seconds=pauses[-1]))

    assert evaluated == 100
    assert max(pauses[:-1]) <= 3600
    assert api.login(REMOTE_ADDR="203.0.113.50").status_code == 429
    clock.shift(timedelta(days=30))  # the lock still expires
    assert api.login(REMOTE_ADDR="203.0.113.50").status_code == 200


@pytest.mark.security("BF-12", "SES-21")
def test_without_its_counters_nobody_gets_in(api: Api, user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise OperationalError("the server closed the connection unexpectedly")

    monkeypatch.setattr(ThrottleBucket.objects, "take", away)

    assert api.login().status_code == 503
    assert not UserSession.objects.exists()


@pytest.mark.security("BF-12")
def test_every_counter_ends(api: Api, user: Any) -> None:
    guess(api, 3)
    api.post("password/reset", {"email": EMAIL})

    for bucket in ThrottleBucket.objects.all():
        assert timezone.now() < bucket.resets_at <= timezone.now() + timedelta(days=30)


STRANGE = {
    "refresh": {"refresh_token": "nakr_" + "A" * 70},
    "verify-email": {"token": "nako_" + "A" * 43, "password": PASSWORD},
    "password/reset/confirm": {"token": "nako_" + "A" * 43, "new_password": "a brand new password"},
    "email/change/confirm": {"token": "nako_" + "A" * 43},
}


@pytest.mark.usefixtures("audited")
@pytest.mark.security("BF-13", "DOS-04")
@pytest.mark.parametrize("path", STRANGE)
def test_guessing_at_tokens_ends_at_a_number_and_leaves_few_rows(api: Api, user: Any, path: str) -> None:
    pair = api.pair()
    rows = AuditOutbox.objects.count()

    answers = [api.post(path, STRANGE[path]).status_code for _ in range(200)]

    assert set(answers[:60]) <= {400, 401}
    assert set(answers[60:]) == {429}
    assert recorded("failure") == 61
    assert AuditOutbox.objects.count() < rows + 61
    assert ThrottleBucket.objects.count() <= 10
    assert api.post("refresh", {"refresh_token": pair["refresh_token"]}).status_code == 200


@pytest.mark.usefixtures("audited")
@pytest.mark.security("DOS-04")
def test_a_flood_of_wrong_logins_leaves_few_rows(api: Api, user: Any) -> None:
    for number in range(300):
        api.login(f"user{number}@example.com" if number % 2 else EMAIL, WRONG)

    assert AuditOutbox.objects.count() <= 25
    assert ThrottleBucket.objects.count() <= 40
    assert event_names().count("request.throttled") <= 3


@pytest.mark.security("BF-13", "VER-06", "CRED-07")
def test_one_recipient_gets_three_mails_an_hour_and_the_answer_does_not_say_so(
    api: Api, clock: time_machine.Traveller
) -> None:
    answers = [api.register()]
    for _ in range(3):
        answers.append(api.post("verify-email/resend", {"email": EMAIL.upper()}))
        answers.append(api.post("password/reset", {"email": EMAIL}))

    assert {answer.status_code for answer in answers} == {202}
    assert answers[1].content == answers[-2].content
    assert len(mail.outbox) == 3
    clock.shift(timedelta(hours=1))
    api.post("password/reset", {"email": EMAIL})
    assert len(mail.outbox) == 4


@pytest.mark.security("BF-13")
def test_a_link_that_was_mailed_lives_on_where_another_is_withheld(api: Api, user: Any) -> None:
    for _ in range(5):
        api.post("password/reset", {"email": EMAIL})

    assert len(mail.outbox) == 3
    reset = {"token": mailed_token(), "new_password": "a brand new password"}
    assert api.post("password/reset/confirm", reset).status_code == 204


@pytest.mark.security("BF-13", "CRED-04")
def test_who_registers_again_and_again_can_use_the_link_that_was_mailed_last(api: Api) -> None:
    for _ in range(5):
        assert api.register().status_code == 202

    assert len(mail.outbox) == 3
    assert api.post("verify-email", {"token": mailed_token(), "password": PASSWORD}).status_code == 200


@pytest.mark.security("BF-13")
def test_registrations_of_strangers_that_cause_no_mail_leave_the_owner_a_link_that_works(api: Api) -> None:
    api.register()
    api.post("password/reset", {"email": EMAIL})
    reset = {"token": mailed_token(), "new_password": "a brand new password"}
    for _ in range(5):
        api.register(password="a stranger's password")

    assert api.post("password/reset/confirm", reset).status_code == 204
    assert api.login(password="a brand new password").status_code == 200


def test_a_reset_link_does_not_outlive_a_registration_of_another_spelling(api: Api) -> None:
    """Treat `Ada` and `ada` as two people, as some mail servers do."""
    api.register("Ada@example.com")
    api.post("password/reset", {"email": "Ada@example.com"})
    reset = {"token": mailed_token(), "new_password": "a brand new password"}
    api.register("ada@example.com", password="the password of another ada")

    assert api.post("password/reset/confirm", reset).status_code == 400


def test_a_link_that_needs_no_password_dies_with_another_registration(api: Api, kit: Callable[..., None]) -> None:
    """Invalidate the link, which would verify the address for a password that a stranger chose."""
    kit(EMAIL_VERIFICATION_REQUIRES_PASSWORD=False)
    for _ in range(3):
        api.register()
    api.register(password="a stranger's password")

    assert len(mail.outbox) == 3
    assert api.post("verify-email", {"token": mailed_token()}).status_code == 400


@pytest.mark.security("BF-13")
def test_a_recipient_gets_three_mails_an_hour_from_all_the_networks_that_one_ipv6_customer_may_have(
    api: Api, user: Any
) -> None:
    for number in range(8):
        api.post("password/reset", {"email": EMAIL}, REMOTE_ADDR=f"2001:db8:7:{number}::1")

    assert len(mail.outbox) == 3


@pytest.mark.security("BF-04", "BF-13")
def test_nobody_can_use_up_the_mails_that_another_needs_to_recover(api: Api, user: Any) -> None:
    for number in range(6):
        api.register(EMAIL, username=f"other{number}")
        api.post("verify-email/resend", {"email": EMAIL})

    assert len(mail.outbox) == 1  # "you already have an account"

    api.post("password/reset", {"email": EMAIL})

    assert len(mail.outbox) == 2
    assert "#token=" in str(mail.outbox[-1].body)


@pytest.mark.security("BF-13")
def test_one_network_causes_twenty_mails_an_hour(
    api: Api, make_user: Callable[..., Any], limits: Callable[..., None]
) -> None:
    limits(mail_network="20/h")
    for number in range(25):
        make_user(f"user{number}@example.com")

    answers = [api.post("password/reset", {"email": f"user{number}@example.com"}) for number in range(25)]

    assert {(answer.status_code, answer.content) for answer in answers} == {(202, answers[0].content)}
    assert len(mail.outbox) == 20


@pytest.mark.security("BF-13")
def test_requests_for_nobody_use_up_the_mails_of_a_network_as_well(api: Api, user: Any) -> None:
    for number in range(20):
        api.post("password/reset", {"email": f"nobody{number}@example.com"}, REMOTE_ADDR="2001:db8::1")

    answer = api.post("password/reset", {"email": EMAIL}, REMOTE_ADDR="2001:db8::2")

    assert answer.status_code == 429
    assert mail.outbox == []


@pytest.mark.security("BF-13")
@pytest.mark.parametrize("path", ["register", "verify-email/resend", "password/reset"])
def test_one_network_asks_twenty_times_a_minute(api: Api, path: str) -> None:
    def ask(number: int) -> int:
        email = f"user{number}@example.com"
        return int((api.register(email) if path == "register" else api.post(path, {"email": email})).status_code)

    assert [ask(number) for number in range(22)] == [202] * 20 + [429] * 2


@pytest.mark.security("CRED-16", "BF-01")
def test_a_stolen_access_token_is_no_way_to_guess_the_password(api: Api, user: Any) -> None:
    token = api.pair()["access_token"]
    requests: list[tuple[str, str, dict[str, str]]] = [
        ("POST", "password/change", {"current_password": WRONG, "new_password": "a brand new password"}),
        ("POST", "email/change", {"new_email": "new@example.com", "password": WRONG}),
        ("DELETE", "me", {"password": WRONG}),
    ]

    answers = [api(*requests[number % 3], token=token).status_code for number in range(12)]

    assert answers == [403] * 10 + [429] * 2
    right = {"current_password": PASSWORD, "new_password": "a brand new password"}
    assert api.post("password/change", right, token=token).status_code == 429
    assert api.is_in(token)


@pytest.mark.usefixtures("audited")
@pytest.mark.security("CRED-16", "DOS-03")
def test_a_throttled_password_does_not_wait_for_a_place_and_its_event_says_whose(
    api: Api, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = api.pair()["access_token"]
    change = {"current_password": WRONG, "new_password": "a brand new password"}
    for _ in range(10):
        api.post("password/change", change, token=token)
    monkeypatch.setattr(hash_slots, "LONGEST_WAIT", 0)

    with held_slots():
        refused = api.post("password/change", change, token=token, REMOTE_ADDR="203.0.113.9")

    assert refused.status_code == 429
    throttled = events()[-1]
    assert throttled["data"]["details"] == {"rule": "password_account"}
    assert throttled["subject"] == f"user/{user.pk}"
    assert throttled["data"]["client"]["ip"] == "203.0.113.9"


@pytest.mark.security("BF-04")
def test_a_reset_by_mail_forgets_the_wrong_passwords_of_whoever_held_a_token(api: Api, user: Any) -> None:
    change = {"current_password": WRONG, "new_password": "another new password"}
    token = api.pair()["access_token"]
    for _ in range(11):
        api.post("password/change", change, token=token)

    api.post("password/reset", {"email": EMAIL})
    api.post("password/reset/confirm", {"token": mailed_token(), "new_password": "a brand new password"})

    token = api.pair(password="a brand new password")["access_token"]
    assert api.post("password/change", change, token=token).status_code == 403


@pytest.mark.security("BF-04")
def test_a_reset_by_mail_ends_the_throttling_of_the_name_as_well(api: Api, user: Any) -> None:
    if not has_username():
        pytest.skip("the user model has no username")
    for number in range(11):
        api.post("login", {"username": user.username, "password": WRONG}, REMOTE_ADDR=address(number))

    api.post("password/reset", {"email": EMAIL})
    api.post("password/reset/confirm", {"token": mailed_token(), "new_password": "a brand new password"})

    body = {"username": user.username, "password": "a brand new password"}
    assert api.post("login", body, REMOTE_ADDR=address(99)).status_code == 200


@pytest.mark.usefixtures("audited")
@pytest.mark.security("BF-13")
@pytest.mark.parametrize("rule", ["mail_network", "mail_recipient"])
def test_the_event_of_a_mail_that_is_withheld_says_which_limit_and_who_asked(
    api: Api, user: Any, limits: Callable[..., None], rule: str
) -> None:
    limits(**{rule: "1/h"})

    for _ in range(2):
        assert api.post("password/reset", {"email": EMAIL}, REMOTE_ADDR="203.0.113.9").status_code == 202

    (throttled,) = (event["data"] for event in events() if event["type"] == "ninja-auth-kit.request.throttled.v1")
    assert throttled["details"] == {"rule": rule}
    assert throttled["client"]["ip"] == "203.0.113.9"
    assert (throttled["target"]["identifier_hash"] is None) is (rule == "mail_network")
    assert len(mail.outbox) == 1


@pytest.mark.usefixtures("audited")
@pytest.mark.security("BF-13")
@pytest.mark.parametrize(
    ("rule", "path", "body"),
    [("token_network", "refresh", STRANGE["refresh"]), ("request_network", "password/reset", {"email": EMAIL})],
)
def test_the_event_of_too_many_requests_says_which_limit_and_who_sent_them(
    api: Api, limits: Callable[..., None], rule: str, path: str, body: dict[str, str]
) -> None:
    limits(**{rule: "1/h"})

    answers = [api.post(path, body, REMOTE_ADDR="203.0.113.9").status_code for _ in range(2)]

    assert answers[0] in {202, 401}
    assert answers[1] == 429
    (throttled,) = (event["data"] for event in events() if event["type"] == "ninja-auth-kit.request.throttled.v1")
    assert throttled["details"] == {"rule": rule}
    assert throttled["client"]["ip"] == "203.0.113.9"


@pytest.mark.security("BF-13")
def test_a_notice_counts_among_the_mails_of_its_recipient(api: Api, user: Any, limits: Callable[..., None]) -> None:
    limits(mail_recipient="2/h", mail_notice="5/h")

    for number in range(4):
        api.register(EMAIL, username=f"other{number}")

    assert len(mail.outbox) == 2


@pytest.mark.security("BF-01")
def test_the_wrong_passwords_for_one_account_throttle_no_other(api: Api, make_user: Callable[..., Any]) -> None:
    make_user()
    make_user("bob@example.com")
    change = {"current_password": WRONG, "new_password": "a brand new password"}
    ada, bob = api.pair()["access_token"], api.pair("bob@example.com")["access_token"]
    for _ in range(11):
        api.post("password/change", change, token=ada)

    assert api.post("password/change", change, token=ada).status_code == 429
    assert api.post("password/change", change, token=bob).status_code == 403


def test_the_right_password_forgets_the_wrong_ones(api: Api, user: Any) -> None:
    token = api.pair()["access_token"]
    change = {"current_password": WRONG, "new_password": "a brand new password"}
    for _ in range(9):
        api.post("password/change", change, token=token)

    assert api.post("password/change", {**change, "current_password": PASSWORD}, token=token).status_code == 204
    assert api.post("password/change", change, token=token).status_code == 403
    for _ in range(9):
        assert api.post("password/change", change, token=token).status_code == 403
    assert api.post("password/change", change, token=token).status_code == 429


def test_without_limits_nothing_is_counted(api: Api, user: Any, limits: Callable[..., None]) -> None:
    limits()

    assert guess(api, 30) == [401] * 30
    assert not ThrottleBucket.objects.exists()


def test_a_caller_without_an_address_is_limited_by_account_alone(api: Api, user: Any) -> None:
    answers = [api.login(f"user{number}@example.com", WRONG, REMOTE_ADDR="").status_code for number in range(25)]

    assert answers == [401] * 25


@pytest.mark.security("BF-07")
def test_what_others_commit_is_as_durable_as_ever(user: Any) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        throttling.count_request(ClientInfo(ip_address="203.0.113.1"))
        cursor.execute("SHOW synchronous_commit")
        assert cursor.fetchone() == ("on",)


@pytest.mark.security("DOS-03")
def test_only_a_few_passwords_are_hashed_at_once_and_without_a_lock(
    api: Api, user: Any, limits: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    limits()
    monkeypatch.setattr(hash_slots, "_slots", threading.BoundedSemaphore(2))
    lock, running, most, in_transaction = threading.Lock(), [0], [0], []
    encode, gate = MD5PasswordHasher.encode, threading.Event()

    def slow(self: Any, password: str, salt: str) -> str:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
            in_transaction.append(connection.in_atomic_block)
        gate.wait(0.05)
        with lock:
            running[0] -= 1
        return str(encode(self, password, salt))

    monkeypatch.setattr(MD5PasswordHasher, "encode", slow)

    def attempt(_: int) -> int:
        try:
            return int(Api().login(password=WRONG).status_code)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(attempt, range(12)))

    assert answers == [401] * 12
    assert most == [2]
    assert not any(in_transaction)


@pytest.mark.security("DOS-03")
def test_who_finds_too_many_in_line_is_sent_away_at_once(
    api: Api, user: Any, monkeypatch: pytest.MonkeyPatch, hashes: list[str]
) -> None:
    places, line = threading.BoundedSemaphore(1), threading.BoundedSemaphore(1)
    places.acquire()
    line.acquire()
    monkeypatch.setattr(hash_slots, "_slots", places)
    monkeypatch.setattr(hash_slots, "_waiting", line)

    answer = api.login()

    assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable")
    assert hashes == []
    line.release()
    places.release()
    assert api.login().status_code == 200


def test_a_full_bucket_is_logged_once_and_names_nobody(
    api: Api, user: Any, caplog: pytest.LogCaptureFixture, settings: Settings
) -> None:
    guess(api, 15)

    (line,) = [record for record in caplog.records if record.name == "ninja_auth_kit.throttling"]
    assert line.getMessage() == "The rate limit login_account is reached."


@pytest.mark.security("BF-09")
def test_the_login_of_a_namesake_in_other_letters_resets_nothing(api: Api, make_user: Callable[..., Any]) -> None:
    if not has_username():
        pytest.skip("the user model has no username")
    make_user("victim@example.com", username="ada")
    make_user("attacker@example.com", username="ADA")
    answers = []
    for number in range(1, 12):
        guessed = api.post("login", {"username": "ada", "password": WRONG}, REMOTE_ADDR=address(number))
        answers.append(guessed.status_code)
        api.post("login", {"username": "ADA", "password": PASSWORD}, REMOTE_ADDR=address(200))

    assert answers == [401] * 10 + [429]


@pytest.mark.usefixtures("audited")
@pytest.mark.security("DOS-03", "DOS-04")
def test_a_flood_of_logins_of_an_unverified_account_ends_at_a_number(api: Api, hashes: list[str]) -> None:
    api.register("nobody-reads-this@example.com")
    rows = AuditOutbox.objects.count()
    hashes.clear()

    answers = [api.login("nobody-reads-this@example.com").status_code for _ in range(250)]

    assert answers[-1] == 429
    assert len(hashes) <= 2 * 200
    assert AuditOutbox.objects.count() - rows <= 210


@pytest.mark.usefixtures("audited")
@pytest.mark.security("DOS-03", "DOS-04")
def test_a_flood_of_confirmations_with_a_void_link_ends_at_a_number(
    api: Api, user: Any, hashes: list[str], clock: time_machine.Traveller
) -> None:
    api.post("password/reset", {"email": EMAIL})
    reset = {"token": mailed_token(), "new_password": "a brand new password"}
    clock.shift(timedelta(seconds=1))
    api.pair()
    hashes.clear()

    answers = [api.post("password/reset/confirm", reset).status_code for _ in range(250)]

    assert answers[-1] == 429
    assert len(hashes) <= 60


@pytest.mark.usefixtures("audited")
@pytest.mark.security("DOS-04")
def test_a_flood_of_refreshes_of_an_ended_session_leaves_few_rows(api: Api, user: Any) -> None:
    pair = api.pair()
    api.post("logout", token=pair["access_token"])
    rows = AuditOutbox.objects.count()

    for _ in range(300):
        api.post("refresh", {"refresh_token": pair["refresh_token"]})

    assert AuditOutbox.objects.count() - rows <= 100


@pytest.mark.security("BF-13", "DOS-03")
def test_nobody_causes_mails_without_end_by_changing_a_password_to_and_fro(api: Api, user: Any) -> None:
    token = api.pair()["access_token"]
    passwords = [PASSWORD, "a brand new password"]

    for number in range(40):
        current, new = passwords[number % 2], passwords[(number + 1) % 2]
        api.post("password/change", {"current_password": current, "new_password": new}, token=token)

    assert len(mail.outbox) <= 20


@pytest.mark.security("BF-11", "CRED-05")
def test_from_the_network_of_its_owner_an_account_looks_like_nobodys(api: Api, user: Any) -> None:
    api.login(REMOTE_ADDR="203.0.113.7")
    answers = []
    for email in (EMAIL, "nobody@example.com"):
        guess(api, 10, email)
        answers.append(api.login(email, WRONG, REMOTE_ADDR="203.0.113.7").status_code)

    assert answers[0] == answers[1]


@pytest.mark.security("BF-03")
def test_the_owner_whose_session_has_just_reached_its_end_still_has_a_known_network(
    api: Api, user: Any, clock: time_machine.Traveller
) -> None:
    token = api.login(REMOTE_ADDR="203.0.113.7").json()["refresh_token"]
    for _ in range(5):
        clock.shift(timedelta(days=5))
        token = api.post("refresh", {"refresh_token": token}, REMOTE_ADDR="203.0.113.7").json()["refresh_token"]
    clock.shift(timedelta(days=5))
    assert api.post("refresh", {"refresh_token": token}).json()["code"] == "token_expired"
    guess(api, 10)

    assert api.login(REMOTE_ADDR="203.0.113.7").status_code == 200


@pytest.mark.security("BF-03")
def test_the_network_of_a_thief_is_unknown_again_once_the_password_is_another(
    api: Api, user: Any, clock: time_machine.Traveller
) -> None:
    api.login(REMOTE_ADDR="203.0.113.66")
    api.post("password/reset", {"email": EMAIL})
    clock.shift(timedelta(seconds=1))
    reset = {"token": mailed_token(), "new_password": "a brand new password"}
    assert api.post("password/reset/confirm", reset).status_code == 204
    guess(api, 10)

    assert api.login(password=WRONG, REMOTE_ADDR="203.0.113.66").status_code == 429


@pytest.mark.security("BF-04", "BF-13")
def test_nobody_can_use_up_the_mails_that_another_needs_to_register(api: Api) -> None:
    for _ in range(3):
        assert Api(REMOTE_ADDR=address(66)).register(EMAIL, "the password of an attacker").status_code == 202
    before = len(mail.outbox)
    assert before == 3

    for path in ("verify-email/resend", "password/reset"):
        assert api.register(username="ada").status_code == 202
        api.post(path, {"email": EMAIL})

    assert len(mail.outbox) > before


@pytest.mark.security("BF-13")
def test_a_link_to_a_new_address_lives_on_where_another_is_withheld(api: Api, user: Any) -> None:
    token = api.pair()["access_token"]
    for _ in range(4):
        api.post("email/change", {"new_email": "new@example.com", "password": PASSWORD}, token=token)
    mailed = [number for number, message in enumerate(mail.outbox) if message.to == ["new@example.com"]]

    assert len(mailed) == 3
    assert api.post("email/change/confirm", {"token": mailed_token(mailed[-1])}).status_code == 204


def test_our_own_failures_lock_nobody_out(api: Api, user: Any, kit: Callable[..., None]) -> None:
    kit(ACCESS_TOKEN_CLAIMS="tests.nowhere.claims")
    assert [api.login(REMOTE_ADDR=address(number)).status_code for number in range(1, 12)] == [500] * 11
    kit(ACCESS_TOKEN_CLAIMS=None)

    assert api.login(REMOTE_ADDR=address(99)).status_code == 200


def test_a_host_that_commits_by_itself_commits_as_durably_as_ever(user: Any) -> None:
    connection.set_autocommit(False)
    try:
        throttling.count_request(ClientInfo(ip_address="203.0.113.1"))
        with connection.cursor() as cursor:
            cursor.execute("SHOW synchronous_commit")
            assert cursor.fetchone() == ("on",)
    finally:
        connection.rollback()
        connection.set_autocommit(True)


@pytest.mark.security("BF-09")
def test_what_is_given_back_after_the_bucket_was_emptied_takes_nothing_from_later_hits(user: Any) -> None:
    wanted = limits_of("login_account", "address ada@example.com")
    first = ThrottleBucket.objects.take(wanted)
    assert first is not None
    ThrottleBucket.objects.clear(wanted)
    ThrottleBucket.objects.take(wanted)
    ThrottleBucket.objects.take(wanted)

    ThrottleBucket.objects.give_back(first)

    assert {bucket.hits for bucket in ThrottleBucket.objects.all()} == {2}


@pytest.mark.security("DOS-03")
def test_a_place_for_hashing_is_free_again_while_the_host_and_the_locks_take_their_time(
    api: Api, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hash_slots, "LONGEST_WAIT", 0)
    free: list[bool] = []

    def look(**_: Any) -> None:
        with hash_slots.hash_slot():
            free.append(True)

    signals.logged_in.in_transaction.connect(look)
    try:
        with held_slots(hash_slots.SLOTS - 1):
            assert api.login().status_code == 200
    finally:
        signals.logged_in.in_transaction.disconnect(look)

    assert free == [True]
