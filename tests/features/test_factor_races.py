"""Second factors in several processes at once: what counts once has one winner, and no session is above its user."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection

from ninja_auth_kit.contrib.factors.models import Factor, RecoveryCode
from ninja_auth_kit.contrib.totp.models import TotpSecret
from ninja_auth_kit.models import SpentTicket, UserSession
from tests.conftest import EMAIL, PASSWORD, Api
from tests.features.conftest import Authenticator, Enrolled, enrol
from tests.features.passkeys.conftest import new_passkey, register
from tests.servers import Server
from tests.test_enumeration import assert_as_long

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.race]

ROUNDS = 3
# Without limits, which would refuse most of twenty tries at once before they meet.
UNLIMITED = {"factor_account": "", "step_up_account": ""}
NEW_PASSWORD = "another long walk in the hills"

Call = tuple[str, str, dict[str, Any] | None]


@pytest.fixture
def server(servers: Callable[..., Server]) -> Server:
    return servers(THROTTLES=UNLIMITED, SESSION_LIMIT=None)


@pytest.fixture
def many_codes(kit: Callable[..., None]) -> None:
    kit(FACTORS={"RECOVERY_CODES": 40}, THROTTLES=UNLIMITED, SESSION_LIMIT=None)
    until_a_step_begins()


@pytest.fixture
def owner(many_codes: None, enrolled: Enrolled) -> Enrolled:
    """Return a user with an authenticator app and forty recovery codes."""
    return enrolled


def until_a_step_begins() -> None:
    """Wait, unless the time step of the codes has begun lately."""
    if time.time() % 30 > 15:
        time.sleep(30 - time.time() % 30)


def challenges(api: Api, number: int) -> list[str]:
    return [str(api.login().json()["challenge_token"]) for _ in range(number)]


def totp(challenge: str, code: str) -> Call:
    return ("POST", "/api/auth/login/totp", {"challenge_token": challenge, "code": code})


def recovery(challenge: str, code: str) -> Call:
    return ("POST", "/api/auth/login/recovery-code", {"challenge_token": challenge, "code": code})


def outcomes(answers: list[tuple[int, Any]]) -> Counter[tuple[int, str | None]]:
    return Counter((status, body["code"] if status >= 400 else None) for status, body in answers)


def of_level_2() -> int:
    return UserSession.objects.filter(is_active=True, aal=2).count()


@contextmanager
def beside(action: Callable[[], object]) -> Iterator[None]:
    """Run an action in a thread with a connection of its own while the block runs."""

    def run() -> None:
        try:
            time.sleep(0.02)
            action()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run)
        yield
        running.result()


@pytest.mark.security("TOTP-02", "TOTP-04")
def test_one_code_of_an_app_counts_once_in_four_processes(api: Api, owner: Enrolled, server: Server) -> None:
    for _ in range(ROUNDS):
        until_a_step_begins()
        TotpSecret.objects.update(last_step=0)
        code = owner.app.code()
        logins = [totp(challenge, code) for challenge in challenges(api, 10)]
        step_ups: list[Call] = [("POST", "/api/auth/step-up/totp", {"code": code})] * 10

        answers = outcomes(server.race(*logins, *step_ups, token=owner.token))

        assert answers.pop((200, None)) == 1
        assert set(answers) <= {(401, "invalid_factor"), (403, "wrong_factor")}


@pytest.mark.security("REC-02")
def test_one_recovery_code_counts_once_in_four_processes(api: Api, owner: Enrolled, server: Server) -> None:
    for number in range(ROUNDS):
        code = owner.codes[number]
        logins = [recovery(challenge, code) for challenge in challenges(api, 10)]
        step_ups: list[Call] = [("POST", "/api/auth/step-up/recovery-code", {"code": code})] * 10

        answers = outcomes(server.race(*logins, *step_ups, token=owner.token))

        assert answers.pop((200, None)) == 1
        assert set(answers) <= {(401, "invalid_factor"), (403, "wrong_factor")}
        assert RecoveryCode.objects.filter(used_at__isnull=False).count() == number + 1


@pytest.mark.security("FAC-06")
def test_one_challenge_completes_once_with_twenty_right_codes(api: Api, owner: Enrolled, server: Server) -> None:
    codes = iter(owner.codes)
    used = 0
    for number in (1, 2):
        (challenge,) = challenges(api, 1)
        chosen = [next(codes) for _ in range(19)]

        answers = outcomes(
            server.race(
                totp(challenge, owner.app.code(steps=number - 1)), *(recovery(challenge, one) for one in chosen)
            )
        )

        assert answers.pop((200, None)) == 1
        # Five tries may run at once. A sixth at the same moment is rate limited, because one of them may be right.
        assert set(answers) <= {(401, "invalid_challenge"), (429, "throttled")}
        assert SpentTicket.objects.count() == number
        assert of_level_2() == number + 1
        # At most the code of the winner was used.
        now_used = RecoveryCode.objects.filter(used_at__isnull=False).count()
        assert now_used - used in {0, 1}
        used = now_used


@pytest.mark.security("FAC-08")
def test_wrong_and_right_codes_of_one_challenge_at_once_do_not_wait_for_each_other_for_ever(
    api: Api, owner: Enrolled, server: Server
) -> None:
    for number in range(ROUNDS):
        (challenge,) = challenges(api, 1)
        right = [recovery(challenge, code) for code in owner.codes[number * 5 : number * 5 + 5]]
        wrong = [recovery(challenge, "0" * 24)] * 15

        answers = outcomes(server.race(*wrong[:8], *right, *wrong[8:]))

        assert answers.get((200, None), 0) <= 1
        assert answers.get((401, "invalid_factor"), 0) <= 5
        refused = {(401, "invalid_factor"), (401, "invalid_challenge"), (429, "throttled")}
        assert set(answers) <= {(200, None), *refused}
        assert server.race(right[-1])[0][0] == 401


@pytest.mark.security("FAC-11", "REC-01")
def test_one_enrolment_is_confirmed_once(api: Api, many_codes: None, user: Any, server: Server) -> None:
    for _ in range(ROUNDS):
        until_a_step_begins()
        token = api.pair()["access_token"]
        begun = api.post("factors/totp", {}, token=token).json()
        app, path = Authenticator(begun["secret"]), f"/api/auth/factors/totp/{begun['id']}/confirm"
        calls: list[Call] = [("POST", path, {"code": app.code(steps=steps)}) for steps in (0, 1) for _ in range(4)]

        results = server.race(*calls, token=token)

        answers = outcomes(results)
        assert answers.pop((200, None)) == 1
        # A call that was let in before the session ended may find the factor there, and no proof of it in its token.
        assert set(answers) <= {
            (404, "not_found"),
            (401, "session_ended"),
            (401, "insufficient_user_authentication"),
        }
        (body,) = [body for status, body in results if status == 200]
        assert RecoveryCode.objects.count() == len(body["recovery_codes"]) == 10  # of the server
        assert UserSession.objects.filter(is_active=True).count() == of_level_2() == 1
        assert server.request("GET", "/api/auth/me", token=body["tokens"]["access_token"])[0] == 200
        Factor.objects.all().delete()
        RecoveryCode.objects.all().delete()


@pytest.mark.security("FAC-12")
def test_a_second_app_and_the_removal_of_the_first_at_once_leave_codes_only_with_a_factor(
    api: Api, owner: Enrolled, server: Server
) -> None:
    token, first = owner.token, owner.factor_id
    for _ in range(ROUNDS):
        until_a_step_begins()
        begun = api.post("factors/totp", {}, token=token).json()
        code = Authenticator(begun["secret"]).code()
        confirm: Call = ("POST", f"/api/auth/factors/totp/{begun['id']}/confirm", {"code": code})
        remove: Call = ("DELETE", f"/api/auth/factors/{first}", None)

        (confirmed, body), (removed, _) = server.race(confirm, remove, token=token)

        # The removal of the last factor deletes what was begun, and the first factor ends all sessions.
        assert (confirmed, removed) in {(200, 204), (404, 204), (200, 401)}
        factors = Factor.objects.filter(confirmed_at__isnull=False).count()
        assert RecoveryCode.objects.exists() is (factors > 0)
        if factors == 0:
            assert of_level_2() == 0
            _, enrolled = enrol(api, api.pair()["access_token"])
            body = enrolled.json()
        token, first = body["tokens"]["access_token"], body["factor"]["id"]


@pytest.mark.security("SES-01")
def test_many_logins_that_complete_at_once_leave_one_session(
    api: Api, owner: Enrolled, servers: Callable[..., Server]
) -> None:
    server = servers(THROTTLES=UNLIMITED, SESSION_LIMIT=1)
    calls = [recovery(*pair) for pair in zip(challenges(api, 20), owner.codes, strict=False)]

    answers = server.race(*calls)

    assert outcomes(answers) == {(200, None): 20}
    assert UserSession.objects.filter(is_active=True).count() == 1
    doors = [server.request("GET", "/api/auth/me", token=pair["access_token"])[0] for _, pair in answers]
    assert sorted(doors) == [200] + [401] * 19


@pytest.mark.security("SES-01")
def test_a_login_that_finds_no_free_session_uses_neither_its_code_nor_its_challenge_up(
    api: Api, owner: Enrolled, servers: Callable[..., Server]
) -> None:
    server = servers(THROTTLES=UNLIMITED, SESSION_LIMIT=1, SESSION_LIMIT_POLICY="reject")
    api.post("logout", token=owner.token)
    calls = [recovery(*pair) for pair in zip(challenges(api, 20), owner.codes, strict=False)]

    answers = server.race(*calls)

    assert outcomes(answers) == {(200, None): 1, (409, "session_limit_reached"): 19}
    assert RecoveryCode.objects.filter(used_at__isnull=False).count() == SpentTicket.objects.count() == 1
    (token,) = [body["access_token"] for status, body in answers if status == 200]
    assert server.request("POST", "/api/auth/logout", {}, token=token)[0] == 204
    refused = [call for call, (status, _) in zip(calls, answers, strict=True) if status == 409]
    assert server.race(refused[0])[0][0] == 200


def completions(api: Api, owner: Enrolled, number: int) -> list[Call]:
    own = owner.codes[number * 6 : number * 6 + 6]
    return [recovery(*pair) for pair in zip(challenges(api, 6), own, strict=True)]


@pytest.mark.security("FAC-07")
def test_after_the_password_was_changed_no_login_with_the_former_one_completes(
    api: Api, owner: Enrolled, server: Server
) -> None:
    calls = completions(api, owner, 0)
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}

    *completed, (changed, _) = server.race(*calls, ("POST", "/api/auth/password/change", body), token=owner.token)

    assert changed == 204
    assert set(outcomes(completed)) <= {(200, None), (401, "invalid_challenge")}
    for status, pair in completed:
        if status == 200:
            assert server.request("GET", "/api/auth/me", token=pair["access_token"])[0] == 401
    assert UserSession.objects.filter(is_active=True).count() == 1


@pytest.mark.security("FAC-07")
@pytest.mark.parametrize("ending", ["ban", "deletion"])
def test_no_login_of_a_user_who_is_banned_or_deleted_completes(
    api: Api, owner: Enrolled, server: Server, ending: str
) -> None:
    calls = completions(api, owner, 0)
    users = type(owner.user).objects.filter(pk=owner.user.pk)

    with beside(lambda: users.update(is_active=False) if ending == "ban" else users.delete()):
        answers = server.race(*calls)

    assert set(outcomes(answers)) <= {(200, None), (401, "invalid_challenge"), (401, "invalid_factor")}
    for status, pair in answers:
        if status == 200:
            assert server.request("GET", "/api/auth/me", token=pair["access_token"])[0] == 401
    assert {status for status, _ in server.race(*calls)} == {401}


@pytest.mark.security("FAC-11", "STEP-02")
def test_no_session_of_a_user_without_a_factor_has_level_2(api: Api, owner: Enrolled, server: Server) -> None:
    for _ in range(ROUNDS):
        until_a_step_begins()
        calls = completions(api, owner, 0)
        step_ups: list[Call] = [
            *(("POST", "/api/auth/step-up/recovery-code", {"code": code}) for code in owner.codes[6:9]),
            ("POST", "/api/auth/step-up/totp", {"code": owner.app.code()}),
            ("POST", "/api/auth/step-up/totp", {"code": owner.app.code(steps=1)}),
        ]
        remove: Call = ("DELETE", f"/api/auth/factors/{owner.factor_id}", None)

        *others, (removed, _) = server.race(*calls, *step_ups, remove, token=owner.token)

        assert removed == 204
        refused = {(401, "invalid_challenge"), (401, "invalid_factor"), (403, "wrong_factor")}
        assert set(outcomes(others)) <= {(200, None), *refused}
        assert of_level_2() == 0
        assert not UserSession.objects.filter(step_up_at__isnull=False).exists()
        app, confirmed = enrol(api, api.pair()["access_token"])
        owner = Enrolled(owner.user, app, confirmed.json())


def test_a_code_remembers_one_device(api: Api, owner: Enrolled, servers: Callable[..., Server]) -> None:
    server = servers(THROTTLES=UNLIMITED, SESSION_LIMIT=None, FACTORS={"REMEMBER_DEVICE": 86400})
    code = owner.app.code()
    bodies = [{"challenge_token": one, "code": code, "remember_device": True} for one in challenges(api, 10)]

    answers = server.race(*(("POST", "/api/auth/login/totp", body) for body in bodies))

    assert outcomes(answers) == {(200, None): 1, (401, "invalid_factor"): 9}
    assert len(server.request("GET", "/api/auth/devices", token=owner.token)[1]) == 1


@pytest.mark.security("FAC-10")
def test_without_the_password_a_login_of_a_user_with_factors_takes_as_long_as_one_without(
    api: Api, owner: Enrolled, servers: Callable[..., Server], make_user: Callable[..., Any]
) -> None:
    assert register(api, owner.token, new_passkey()).status_code == 201
    make_user("grace@example.com")

    assert_as_long(servers(SESSION_LIMIT=None), "login", EMAIL, "grace@example.com", "nobody@example.com")
