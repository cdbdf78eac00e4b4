"""Codes in several processes at once: what counts once has one winner, and an address gets one account."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from ninja_auth_kit.contrib.email_code.models import LoginCode
from ninja_auth_kit.models import EmailAddress, SpentTicket, UserSession
from ninja_auth_kit.models.users import has_username
from tests.conftest import EMAIL, Api, mailed_token
from tests.features.email_code.conftest import WRONG, ask_and_read, log_in
from tests.features.test_factor_races import ROUNDS, Call, outcomes
from tests.servers import Server

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.race]

UNLIMITED = {"code_account": ""}
NEW_PASSWORD = "another long walk in the hills"


@pytest.fixture
def server(servers: Callable[..., Server]) -> Server:
    return servers(THROTTLES=UNLIMITED, SESSION_LIMIT=None, EMAIL_CODE={"REGISTERS": True})


def login(challenge: str, code: str) -> Call:
    return ("POST", "/api/auth/login/email-code", {"challenge_token": challenge, "code": code})


@pytest.mark.security("CODE-02")
def test_one_code_logs_in_once_in_four_processes(api: Api, user: Any, server: Server) -> None:
    for number in range(1, ROUNDS + 1):
        challenge, code = ask_and_read(api)

        answers = outcomes(server.race(*[login(challenge, code)] * 20))

        assert answers.pop((200, None)) == 1
        # Five tries may run at once. A sixth at the same moment is refused as if they had been wrong.
        assert set(answers) <= {(401, "invalid_challenge"), (429, "throttled")}
        assert UserSession.objects.count() == SpentTicket.objects.count() == number
        assert LoginCode.objects.filter(used_at__isnull=False).count() == number


@pytest.mark.security("CODE-02")
def test_of_many_wrong_codes_at_once_five_are_compared(api: Api, user: Any, server: Server) -> None:
    challenge, code = ask_and_read(api)

    answers = outcomes(server.race(*[login(challenge, WRONG)] * 20))

    assert answers[(401, "invalid_factor")] == 5
    assert set(answers) <= {(401, "invalid_factor"), (401, "invalid_challenge")}
    assert server.race(login(challenge, code))[0][0] == 401
    assert not UserSession.objects.exists()


def test_a_code_and_a_password_reset_at_once_leave_no_session_of_the_former_password(
    api: Api, user: Any, server: Server
) -> None:
    for number in range(ROUNDS):
        calls = [login(*ask_and_read(api)) for _ in range(6)]
        api.post("password/reset", {"email": EMAIL})
        body = {"token": mailed_token(), "new_password": f"{NEW_PASSWORD} {number}"}

        *logins, (status, _) = server.race(*calls, ("POST", "/api/auth/password/reset/confirm", body))

        # A login that was faster invalidates the link of the reset, as one with the password does.
        assert status in {204, 400}
        assert set(outcomes(logins)) <= {(200, None), (401, "invalid_challenge")}
        for login_status, pair in logins:
            if login_status == 200:
                is_in = server.request("GET", "/api/auth/me", token=pair["access_token"])[0] == 200
                assert is_in is (status == 400)
        assert UserSession.objects.filter(is_active=True).exists() is (status == 400)
        UserSession.objects.all().delete()


def test_two_first_registrations_of_one_address_make_one_user(
    api: Api, kit: Callable[..., None], server: Server
) -> None:
    kit(EMAIL_CODE={"REGISTERS": True})
    for number in range(ROUNDS):
        email = f"new{number}@example.com"
        asked = [ask_and_read(api, email) for _ in range(6)]
        if has_username():
            tokens = [log_in(api, *one).json()["signup_token"] for one in asked]
            calls: list[Call] = [
                (
                    "POST",
                    "/api/auth/login/email-code/signup",
                    {"signup_token": one, "username": f"name{number}{index}"},
                )
                for index, one in enumerate(tokens)
            ]
        else:
            calls = [login(*one) for one in asked]

        answers = server.race(*calls)

        assert outcomes(answers) == {(200, None): 1, (401, "invalid_challenge"): 5}
        assert get_user_model().objects.count() == EmailAddress.objects.count() == number + 1
        (pair,) = [body for status, body in answers if status == 200]
        assert server.request("GET", "/api/auth/me", token=pair["access_token"])[1]["email"] == email


@pytest.mark.security("CODE-05")
def test_a_registration_by_code_and_one_by_password_at_once_leave_the_account_to_the_code(
    api: Api, kit: Callable[..., None], server: Server
) -> None:
    kit(EMAIL_CODE={"REGISTERS": True})
    for number in range(2 * ROUNDS):
        email = f"new{number}@example.com"
        challenge, code = ask_and_read(api, email)
        by_code = login(challenge, code)
        if has_username():
            token = log_in(api, challenge, code).json()["signup_token"]
            path = "/api/auth/login/email-code/signup"
            by_code = ("POST", path, {"signup_token": token, "username": f"owner{number}"})
        names = [{"username": f"stranger{number}{one}"} if has_username() else {} for one in range(4)]
        strangers: list[Call] = [
            ("POST", "/api/auth/register", {"email": email, "password": NEW_PASSWORD, **name}) for name in names
        ]

        answers = server.race(*strangers[:2], by_code, *strangers[2:])

        assert [status for status, _ in answers] == [202, 202, 200, 202, 202]
        user = get_user_model().objects.get(email=email)
        assert not user.has_usable_password()
        assert EmailAddress.objects.get(user=user).verified_at is not None
