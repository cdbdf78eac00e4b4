"""What a change of the account, of its factors or of its sessions ends for good, and what it must not touch."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core import mail

from ninja_auth_kit.contrib.factors.models import RememberedDevice
from tests.conftest import EMAIL, PASSWORD, Api, mailed_token
from tests.features.conftest import Enrolled, answer, enrol, finish
from tests.features.passkeys.conftest import login as passkey_login
from tests.features.passkeys.conftest import new_passkey, register

pytestmark = [pytest.mark.django_db(transaction=True)]

NEW = "another long walk in the hills"


def log_in(api: Api, device_token: Any, email: str = EMAIL, password: str = PASSWORD) -> Any:
    return api.post("login", {"email": email, "password": password, "device_token": device_token})


@pytest.fixture
def remembered(kit: Any, api: Api, clock: time_machine.Traveller, enrolled: Enrolled, pend: Any) -> str:
    kit(FACTORS={"REMEMBER_DEVICE": timedelta(days=30)}, SESSION_LIMIT=None)
    done = finish(api, pend(), enrolled.app.code(), remember_device=True)
    assert done.status_code == 200, done.content
    clock.shift(60)
    return str(done.json()["device_token"])


@pytest.mark.security("FAC-14")
def test_a_device_that_a_change_of_factors_has_forgotten_does_not_come_back(
    api: Api, enrolled: Enrolled, remembered: str, clock: time_machine.Traveller
) -> None:
    assert log_in(api, remembered).status_code == 200
    _app, confirmed = enrol(api, enrolled.token, "the new phone")
    second = confirmed.json()["factor"]["id"]
    token = confirmed.json()["tokens"]["access_token"]
    assert log_in(api, remembered).status_code == 202
    assert api.get("devices", token=token).json() == []  # the owner sees that it is forgotten
    assert api.delete(f"factors/{second}", token=token).status_code == 204
    assert log_in(api, remembered).status_code == 202  # it was forgotten


@pytest.mark.security("FAC-14")
def test_a_device_that_a_change_of_address_has_forgotten_does_not_come_back(
    api: Api, enrolled: Enrolled, remembered: str, clock: time_machine.Traveller
) -> None:
    body = {"new_email": "lovelace@example.com", "password": PASSWORD}
    assert api.post("email/change", body, token=enrolled.token).status_code == 202
    assert api.post("email/change/confirm", {"token": mailed_token(-2)}).status_code == 204
    assert log_in(api, remembered, email="lovelace@example.com").status_code == 202
    challenge = api.login("lovelace@example.com").json()["challenge_token"]
    token = finish(api, challenge, enrolled.app.code()).json()["access_token"]
    assert api.get("devices", token=token).json() == []
    clock.shift(60)
    body = {"new_email": EMAIL, "password": PASSWORD}
    assert api.post("email/change", body, token=token).status_code == 202
    assert api.post("email/change/confirm", {"token": mailed_token(-2)}).status_code == 204
    assert log_in(api, remembered).status_code == 202


@pytest.mark.security("FAC-07")
def test_a_challenge_that_a_change_of_factors_has_voided_does_not_come_back(
    api: Api, enrolled: Enrolled, pend: Any, kit: Any
) -> None:
    kit(SESSION_LIMIT=None)
    challenge = pend()
    _app, confirmed = enrol(api, enrolled.token, "the new phone")
    token = confirmed.json()["tokens"]["access_token"]
    assert answer(finish(api, challenge, enrolled.app.code())) == (401, "invalid_challenge")
    assert api.delete(f"factors/{confirmed.json()['factor']['id']}", token=token).status_code == 204
    assert answer(finish(api, challenge, enrolled.app.code())) == (401, "invalid_challenge")


def test_a_void_challenge_does_not_tell_a_right_code_from_a_wrong_one(api: Api, enrolled: Enrolled, pend: Any) -> None:
    challenge = pend()
    body = {"current_password": PASSWORD, "new_password": NEW}
    assert api.post("password/change", body, token=enrolled.token).status_code == 204
    right = answer(finish(api, challenge, enrolled.app.code()))
    assert right == (401, "invalid_challenge")
    assert answer(finish(api, challenge, enrolled.app.wrong_code())) == right


@pytest.mark.security("FAC-06")
def test_a_used_challenge_does_not_tell_a_right_code_from_a_wrong_one(
    api: Api, enrolled: Enrolled, pend: Any, clock: time_machine.Traveller
) -> None:
    challenge = pend()
    assert finish(api, challenge, enrolled.app.code()).status_code == 200
    clock.shift(30)
    assert answer(finish(api, challenge, enrolled.app.code())) == (401, "invalid_challenge")
    assert answer(finish(api, challenge, enrolled.app.wrong_code())) == (401, "invalid_challenge")


@pytest.mark.security("FAC-17")
def test_who_has_a_former_password_cannot_close_the_login(api: Api, enrolled: Enrolled, pend: Any) -> None:
    challenges = [pend(), pend()]
    body = {"current_password": PASSWORD, "new_password": NEW}
    assert api.post("password/change", body, token=enrolled.token).status_code == 204
    mail.outbox.clear()
    for challenge in challenges:
        for _ in range(5):
            assert finish(api, challenge, enrolled.app.wrong_code()).status_code == 401
    subjects = [sent.subject for sent in mail.outbox]
    login = finish(api, pend(password=NEW), enrolled.app.code())
    assert (subjects, login.status_code) == ([], 200)


def test_a_recovery_code_lets_the_owner_in_after_a_reset_of_the_password_that_was_stolen(
    api: Api, enrolled: Enrolled, pend: Any, clock: time_machine.Traveller
) -> None:
    for _ in range(10):  # 100 in all, in two and a half hours
        for challenge in (pend(), pend()):
            for _ in range(5):
                assert finish(api, challenge, enrolled.app.wrong_code()).status_code == 401
        clock.shift(15 * 60 + 1)
    api.post("password/reset", {"email": EMAIL})
    assert api.post("password/reset/confirm", {"token": mailed_token(), "new_password": NEW}).status_code == 204
    clock.shift(24 * 60 * 60)
    body = {"challenge_token": pend(password=NEW), "code": enrolled.codes[0]}
    done = api.post("login/recovery-code", body)
    assert done.status_code == 200, (done.status_code, done.headers.get("Retry-After"))


def test_a_new_hash_of_the_same_password_forgets_no_device(
    api: Api, enrolled: Enrolled, remembered: str, settings: Any
) -> None:
    assert log_in(api, remembered).status_code == 200
    settings.PASSWORD_HASHERS = [
        "django.contrib.auth.hashers.PBKDF2SHA1PasswordHasher",
        *settings.PASSWORD_HASHERS,
    ]
    assert log_in(api, remembered).status_code == 200
    assert RememberedDevice.objects.count() == 1


def test_openapi_names_every_error_of_a_registration(api: Api, user: Any, kit: Any) -> None:
    from tests.conftest import EmailAddress

    token = api.pair()["access_token"]
    EmailAddress.objects.update(verified_at=None)
    refused = register(api, token, new_passkey())
    document = api.get("openapi.json").json()
    path = next(path for path in document["paths"] if path.endswith("factors/passkeys"))
    assert (refused.status_code, refused.json()["code"]) == (403, "email_not_verified")
    documented = document["paths"][path]["post"]["responses"]["403"]["content"]["application/problem+json"]
    assert "email_not_verified" in documented["examples"]


def test_the_last_way_in_is_one_that_logs_in(api: Api, user: Any, clock: Any, without_email_codes: None) -> None:
    laptop, key = new_passkey(), new_passkey(is_resident=False, is_user_verified=False)
    first = register(api, api.pair()["access_token"], laptop).json()
    token = first["tokens"]["access_token"]
    assert register(api, token, key).status_code == 201
    user.set_unusable_password()
    user.save()
    token = passkey_login(api, laptop).json()["access_token"]
    removed = api.delete(f"factors/{first['factor']['id']}", token=token)
    assert passkey_login(api, key).status_code == 401  # it cannot log in alone
    assert answer(removed) == (409, "last_way_in")


@pytest.mark.security("STEP-02")
def test_two_step_ups_at_once_confirm_each_other(
    api: Api, enrolled: Enrolled, clock: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ninja_auth_kit.contrib.factors import step_up

    real, other = step_up.issue_access_token, []

    def issue_slowly(**values: Any) -> str:
        token = real(**values)
        if not other:
            other.append(None)
            clock.shift(1)
            done = api.post("step-up/recovery-code", {"code": enrolled.codes[0]}, token=enrolled.token)
            other[0] = done.json()["access_token"]
        return token

    monkeypatch.setattr(step_up, "issue_access_token", issue_slowly)
    clock.shift(3600)
    # The access token has expired: refresh first.
    enrolled.tokens = api.post("refresh", {"refresh_token": enrolled.tokens["refresh_token"]}).json()
    done = api.post("step-up/totp", {"code": enrolled.app.code()}, token=enrolled.token)
    assert done.status_code == 200, done.content
    assert api.post("factors/recovery-codes", token=other[0]).status_code == 200


@pytest.mark.security("FAC-11")
def test_the_first_factor_that_is_asked_for_ends_all_sessions(api: Api, user: Any, kit: Any) -> None:
    kit(PASSKEYS={"GUARDS_PASSWORD": False}, SESSION_LIMIT=None)
    first = register(api, api.pair()["access_token"], new_passkey()).json()
    assert first["recovery_codes"]
    thief = api.pair()  # with the stolen password alone
    _app, confirmed = enrol(api, api.pair()["access_token"])
    assert confirmed.status_code == 200
    assert not api.is_in(thief["access_token"])


def test_authkit_revoke_ends_what_a_lost_device_may_do(api: Api, enrolled: Enrolled, remembered: str) -> None:
    from django.core.management import call_command

    call_command("authkit_revoke", EMAIL)
    assert not api.is_in(enrolled.token)
    assert log_in(api, remembered).status_code == 202
