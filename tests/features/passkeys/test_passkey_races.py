"""Passkeys in parallel requests, on four server processes."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

import pytest

from ninja_auth_kit.contrib.factors.models import Factor
from ninja_auth_kit.contrib.passkeys.models import Passkey
from ninja_auth_kit.models import SpentTicket, UserSession
from tests.conftest import Api
from tests.features.passkeys.conftest import Owner, begin, new_passkey, register
from tests.servers import Server

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.race]

THREADS, ROUNDS = 20, 10


def at_once(server: Server, calls: list[tuple[str, Any, str | None]]) -> list[tuple[int, Any]]:
    """Send all requests at once, each with a path, a body and a token, and return the answers."""
    barrier = threading.Barrier(len(calls))

    def one(call: tuple[str, Any, str | None]) -> tuple[int, Any]:
        barrier.wait()
        return server.request("POST", f"/api/auth/{call[0]}", call[1], token=call[2])

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(one, calls))


@pytest.mark.security("PASS-13")
@pytest.mark.parametrize("count_by", [0, 1])
@pytest.mark.parametrize("is_alone", [True, False])
def test_of_twenty_uses_of_one_assertion_one_logs_in(
    api: Api,
    owner: Owner,
    servers: Callable[..., Server],
    pend: Callable[..., str],
    count_by: int,
    is_alone: bool,
) -> None:
    server = servers()
    owner.passkey.count_by = count_by
    for _ in range(ROUNDS):
        begun = begin(api, None if is_alone else pend())
        credential = owner.passkey.get(begun["public_key"])
        body = {"challenge_token": begun["challenge_token"], "credential": credential}

        answers = at_once(server, [("login/passkey", body, None)] * THREADS)

        assert [status for status, _ in answers].count(200) == 1
        refused = {answer["code"] for status, answer in answers if status != 200}
        # More than five at once may be too many for a pending login.
        assert refused <= {"invalid_challenge", "invalid_factor"} | (set() if is_alone else {"throttled"})
        assert UserSession.objects.filter(is_active=True).count() == 1
    assert Passkey.objects.get().sign_count == count_by * ROUNDS


@pytest.mark.security("PASS-10")
def test_of_twenty_registrations_of_one_passkey_by_two_users_one_is_stored(
    api: Api, owner: Owner, make_user: Callable[..., Any], servers: Callable[..., Server]
) -> None:
    server = servers()
    make_user("grace@example.com")
    graces = register(api, api.pair("grace@example.com")["access_token"], new_passkey()).json()["tokens"]
    tokens = [owner.token, graces["access_token"]]
    spent = SpentTicket.objects.count()
    for number in range(ROUNDS):
        calls: list[tuple[str, Any, str | None]] = []
        for token in tokens * (THREADS // 2):
            begun = api.post("factors/passkeys/options", token=token).json()
            with mock.patch("secrets.token_bytes", return_value=bytes([number]) * 32):
                credential = new_passkey().create(begun["public_key"])
            body = {"challenge_token": begun["challenge_token"], "credential": credential}
            calls.append(("factors/passkeys", body, token))

        answers = at_once(server, calls)

        statuses = sorted(status for status, _ in answers)
        assert statuses == [201] + [409] * (THREADS - 1)
        assert {answer["code"] for status, answer in answers if status == 409} == {"factor_exists"}
        Factor.objects.filter(pk=answers[[s for s, _ in answers].index(201)][1]["factor"]["id"]).delete()
    assert Factor.objects.count() == Passkey.objects.count() == 2
    assert SpentTicket.objects.count() == spent + ROUNDS


@pytest.mark.security("PASS-13")
def test_of_twenty_uses_of_one_registration_one_is_stored(
    api: Api, owner: Owner, servers: Callable[..., Server]
) -> None:
    server = servers()
    begun = api.post("factors/passkeys/options", token=owner.token).json()
    credential = new_passkey().create(begun["public_key"])
    body = {"challenge_token": begun["challenge_token"], "credential": credential}

    answers = at_once(server, [("factors/passkeys", body, owner.token)] * THREADS)

    assert sorted(status for status, _ in answers) == [201] + [400] * (THREADS - 1)
    assert Passkey.objects.count() == 2


@pytest.mark.security("PASS-13")
def test_of_twenty_step_ups_with_one_assertion_one_is_made(
    api: Api, owner: Owner, servers: Callable[..., Server]
) -> None:
    server = servers(THROTTLES={"step_up_account": []})
    for _ in range(ROUNDS):
        begun = api.post("step-up/passkey/options", token=owner.token).json()
        credential = owner.passkey.get(begun["public_key"])
        body = {"challenge_token": begun["challenge_token"], "credential": credential}

        answers = at_once(server, [("step-up/passkey", body, owner.token)] * THREADS)

        assert [status for status, _ in answers].count(200) == 1
        refused = {answer["code"] for status, answer in answers if status != 200}
        assert refused <= {"invalid_challenge", "wrong_factor"}
