"""Passkeys over HTTP: registered, used alone, behind a password, and for a step-up."""

import base64
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth import get_user_model
from django.core import mail
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from ninja_auth_kit.contrib.factors.models import Factor, RecoveryCode
from ninja_auth_kit.contrib.passkeys import services
from ninja_auth_kit.contrib.passkeys.models import Passkey, PasskeyHandle
from ninja_auth_kit.models import SpentTicket, ThrottleBucket, UserSession
from ninja_auth_kit.tokens import read_access_token
from tests.conftest import EMAIL, PASSWORD, Api, event_names, events
from tests.features.conftest import enrol
from tests.features.passkeys.conftest import (
    Owner,
    begin,
    finish,
    login,
    new_passkey,
    refusal,
    register,
)

pytestmark = pytest.mark.django_db(transaction=True)

INVALID_FACTOR = (401, "invalid_factor")
INVALID_CHALLENGE = (401, "invalid_challenge")


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def step_up_options(api: Api, token: str) -> dict[str, Any]:
    begun = api.post("step-up/passkey/options", token=token)
    assert begun.status_code == 200, begun.content
    return dict(begun.json())


def step_up(api: Api, token: str, begun: dict[str, Any], credential: Any) -> Any:
    body = {"challenge_token": begun["challenge_token"], "credential": credential}
    return api.post("step-up/passkey", body, token=token)


# Registration


@pytest.mark.security("FAC-11", "PASS-01")
def test_the_first_passkey_replaces_the_sessions_by_one_of_level_2(api: Api, user: Any, audited: None) -> None:
    before = api.pair()["access_token"]
    mail.outbox.clear()

    registered = register(api, before, new_passkey(), name="my laptop")

    assert registered.status_code == 201, registered.content
    body = registered.json()
    assert (body["factor"]["kind"], body["factor"]["name"]) == ("passkey", "my laptop")
    assert len(body["recovery_codes"]) == 10
    assert not api.is_in(before)
    proved = read_access_token(body["tokens"]["access_token"]).authentication
    assert (proved.acr, proved.methods) == ("aal2", ("pwd", "pop", "user", "mfa"))
    assert event_names() == ["session.logged_in", "session.revoked", "factor.added", "session.logged_in"]
    assert ["second factor was added" in sent.subject for sent in mail.outbox] == [True]


def test_a_later_passkey_keeps_the_session_and_excludes_the_first(
    api: Api, owner: Owner, clock: time_machine.Traveller
) -> None:
    begun = api.post("factors/passkeys/options", token=owner.token).json()
    excluded = begun["public_key"]["excludeCredentials"]
    assert [one["id"] for one in excluded] == [encoded(owner.passkey.credential_id)]

    clock.shift(1)  # Factors are listed by the time of their confirmation.
    registered = register(api, owner.token, new_passkey(is_resident=False, transports=["usb", "new-word"]))

    assert registered.status_code == 201
    assert registered.json()["recovery_codes"] is None
    assert registered.json()["factor"]["name"] == ""
    assert registered.json()["tokens"]["session_id"] == owner.tokens["session_id"]
    names = [one["name"] for one in api.get("factors", token=owner.token).json()["factors"]]
    assert names == ["my laptop", ""]
    stored = Passkey.objects.get(pk=registered.json()["factor"]["id"])
    assert (stored.transports, stored.discoverable) == ("usb new-word", False)


def test_the_options_of_a_registration_name_the_account_and_its_random_handle(api: Api, user: Any) -> None:
    token = api.pair()["access_token"]
    options = [api.post("factors/passkeys/options", token=token).json()["public_key"] for _ in range(2)]

    assert options[0]["rp"] == {"id": "localhost", "name": "localhost:8000"}
    assert options[0]["user"]["name"] == EMAIL
    assert options[0]["user"] == options[1]["user"]
    assert options[0]["challenge"] != options[1]["challenge"]
    assert options[0]["attestation"] == "none"
    handle = base64.urlsafe_b64decode(options[0]["user"]["id"] + "=")
    assert handle == bytes(PasskeyHandle.objects.get().handle)
    assert len(handle) == 32


@pytest.mark.security("FAC-12")
@pytest.mark.parametrize("path", ["factors/passkeys/options", "factors/passkeys"])
def test_an_old_session_may_not_add_a_passkey(
    api: Api, owner: Owner, kit: Callable[..., None], later: Callable[..., Any], path: str
) -> None:
    kit(ACCESS_TOKEN_LIFETIME=timedelta(hours=1))
    token = api.post("refresh", {"refresh_token": owner.tokens["refresh_token"]}).json()["access_token"]
    with later(601):
        body = {"challenge_token": "nakt_", "credential": {}} if path == "factors/passkeys" else None
        assert refusal(api.post(path, body, token=token)) == (401, "insufficient_user_authentication")


@pytest.mark.security("PASS-13")
def test_only_the_session_that_began_can_finish_and_only_once(
    api: Api, owner: Owner, make_user: Callable[..., Any], later: Callable[..., Any]
) -> None:
    make_user("grace@example.com")
    grace = api.pair("grace@example.com")["access_token"]
    begun = api.post("factors/passkeys/options", token=owner.token).json()
    passkey = new_passkey()
    body = {"challenge_token": begun["challenge_token"], "credential": passkey.create(begun["public_key"])}

    invalid = (400, "invalid_challenge")
    assert refusal(api.post("factors/passkeys", body, token=grace)) == invalid
    for bad in ("", "nakt_AAAA", begin(api)["challenge_token"], owner.token):
        assert refusal(api.post("factors/passkeys", {**body, "challenge_token": bad}, token=owner.token)) == invalid
    assert api.post("factors/passkeys", body, token=owner.token).status_code == 201
    assert refusal(api.post("factors/passkeys", body, token=owner.token)) == invalid


@pytest.mark.security("PASS-02", "PASS-11")
@pytest.mark.parametrize(
    "wrong",
    [
        {"origin": "https://evil.example"},
        {"client_data": {"crossOrigin": True}},
        {"client_data": {"challenge": "A" * 43}},
        {"client_data": {"type": "webauthn.get"}},
        {"is_user_present": False},
        {"attestation": "packed", "algorithm": -257, "client_data": {"topOrigin": "https://evil.example"}},
    ],
)
def test_a_registration_with_one_thing_wrong_is_refused(api: Api, user: Any, wrong: dict[str, Any]) -> None:
    token = api.pair()["access_token"]

    assert refusal(register(api, token, new_passkey(**wrong))) == (400, "invalid_passkey")

    assert Factor.objects.count() == Passkey.objects.count() == SpentTicket.objects.count() == 0
    assert api.is_in(token)


@pytest.mark.security("PASS-10")
def test_a_passkey_is_registered_once_for_anybody(api: Api, owner: Owner, make_user: Callable[..., Any]) -> None:
    make_user("grace@example.com")
    grace = api.pair("grace@example.com")["access_token"]
    for token in (owner.token, grace):
        begun = api.post("factors/passkeys/options", token=token).json()
        copy = new_passkey()
        credential = copy.create(begun["public_key"])
        Passkey.objects.filter(pk=owner.factor_id).update(credential_id=copy.credential_id)
        body = {"challenge_token": begun["challenge_token"], "credential": credential}
        assert refusal(api.post("factors/passkeys", body, token=token)) == (409, "factor_exists")
    assert Factor.objects.count() == Passkey.objects.count() == 1
    assert SpentTicket.objects.count() == 1  # that of the registration before
    assert api.is_in(grace)


def test_no_more_passkeys_than_the_limit_can_be_added(api: Api, owner: Owner, kit: Callable[..., None]) -> None:
    begun = api.post("factors/passkeys/options", token=owner.token).json()
    kit(PASSKEYS={"LIMIT": 1})
    assert refusal(api.post("factors/passkeys/options", token=owner.token)) == (409, "limit_reached")
    body = {"challenge_token": begun["challenge_token"], "credential": new_passkey().create(begun["public_key"])}
    assert refusal(api.post("factors/passkeys", body, token=owner.token)) == (409, "limit_reached")
    assert Passkey.objects.count() == 1


# Login without a password


@pytest.mark.security("PASS-01")
def test_a_passkey_logs_in_without_a_name_and_a_password(api: Api, owner: Owner, audited: None) -> None:
    done = login(api, owner.passkey)

    assert done.status_code == 200, done.content
    assert (done.json()["acr"], done.json()["device_token"]) == ("aal2", None)
    proved = read_access_token(done.json()["access_token"]).authentication
    assert (proved.acr, proved.methods) == ("aal2", ("pop", "user", "mfa"))
    assert api.is_in(done.json()["access_token"])
    assert not api.is_in(owner.token)
    assert event_names() == ["session.revoked", "session.logged_in"]
    stored = Factor.objects.get()
    assert stored.last_used_at is not None
    assert Passkey.objects.get().sign_count == owner.passkey.sign_count == 1


@pytest.mark.security("PASS-06")
def test_the_options_of_a_login_are_the_same_for_everybody(api: Api, owner: Owner) -> None:
    first = begin(api)
    Passkey.objects.all().delete()
    second = begin(api)

    assert first["public_key"].pop("challenge") != second["public_key"].pop("challenge")
    assert first["public_key"] == second["public_key"]
    assert first["public_key"] == {"timeout": 300_000, "rpId": "localhost", "userVerification": "required"}
    assert len(first["challenge_token"]) == len(second["challenge_token"])


@pytest.mark.security("PASS-03")
def test_a_key_that_does_not_verify_the_user_is_a_second_factor_only(
    api: Api, owner: Owner, pend: Callable[..., str]
) -> None:
    owner.passkey.is_user_verified = False

    assert refusal(login(api, owner.passkey)) == INVALID_FACTOR

    done = login(api, owner.passkey, pend())
    assert done.status_code == 200, done.content
    assert read_access_token(done.json()["access_token"]).authentication.methods == ("pwd", "pop", "mfa")


@pytest.mark.security("PASS-05")
@pytest.mark.parametrize("handle", [b"", b"0" * 32, b"0" * 65])
def test_the_user_handle_must_be_that_of_the_owner(
    api: Api, owner: Owner, pend: Callable[..., str], handle: bytes
) -> None:
    owner.passkey.user_handle = handle
    assert refusal(login(api, owner.passkey)) == INVALID_FACTOR
    assert refusal(login(api, owner.passkey, pend())) == INVALID_FACTOR


@pytest.mark.security("PASS-05")
def test_a_login_without_a_name_needs_the_user_handle(api: Api, owner: Owner, pend: Callable[..., str]) -> None:
    owner.passkey.is_resident = False
    assert refusal(login(api, owner.passkey)) == INVALID_FACTOR
    assert login(api, owner.passkey, pend()).status_code == 200


@pytest.mark.security("PASS-02", "PASS-04")
@pytest.mark.parametrize(
    "wrong",
    [
        {"origin": "https://evil.example"},
        {"origin": "http://localhost:8000/"},
        {"rp_id": "evil.example"},
        {"client_data": {"crossOrigin": True}},
        {"client_data": {"topOrigin": "https://evil.example"}},
        {"client_data": {"challenge": "A" * 43}},
        {"client_data": {"type": "webauthn.create"}},
        {"is_user_present": False},
        {"credential_id": b"unknown"},
        {"backup_eligible": True},
        {"backed_up": True},
    ],
)
def test_a_login_with_one_thing_wrong_gets_one_answer(
    api: Api, owner: Owner, pend: Callable[..., str], wrong: dict[str, Any]
) -> None:
    for name, value in wrong.items():
        setattr(owner.passkey, name, value)

    refused = [login(api, owner.passkey), login(api, owner.passkey, pend())]

    unknown = finish(api, begin(api), {"id": "AAAA"})
    assert {(one.status_code, one.content) for one in refused} == {(401, unknown.content)}
    assert api.is_in(owner.token)
    assert Passkey.objects.get().sign_count == 0


@pytest.mark.security("PASS-02")
def test_the_signature_of_another_key_is_refused(api: Api, owner: Owner) -> None:
    thief = new_passkey()
    thief.create(api.post("factors/passkeys/options", token=owner.token).json()["public_key"])
    thief.credential_id = owner.passkey.credential_id
    assert refusal(login(api, thief)) == INVALID_FACTOR


@pytest.mark.security("PASS-13")
def test_an_assertion_counts_once(api: Api, owner: Owner) -> None:
    owner.passkey.count_by = 0
    begun = begin(api)
    credential = owner.passkey.get(begun["public_key"])
    assert finish(api, begun, credential).status_code == 200
    assert refusal(finish(api, begun, credential)) == INVALID_CHALLENGE
    assert refusal(finish(api, begin(api), credential)) == INVALID_FACTOR


@pytest.mark.security("PASS-13")
def test_a_challenge_is_for_one_purpose_and_costs_no_row(api: Api, owner: Owner, pend: Callable[..., str]) -> None:
    rows = SpentTicket.objects.count()
    for_step_up = step_up_options(api, owner.token)
    for_registration = api.post("factors/passkeys/options", token=owner.token).json()
    pending = {"challenge_token": pend(), "public_key": begin(api)["public_key"]}
    for begun in (for_step_up, for_registration, pending):
        assert refusal(finish(api, begun, owner.passkey.get(begun["public_key"]))) == INVALID_CHALLENGE
    begun = begin(api)
    refused = step_up(api, owner.token, begun, owner.passkey.get(begun["public_key"]))
    assert refusal(refused) == (400, "invalid_challenge")
    assert SpentTicket.objects.count() == rows


@pytest.mark.security("PASS-13")
@pytest.mark.parametrize(("seconds", "code"), [(598, None), (601, INVALID_CHALLENGE)])
def test_a_challenge_expires_after_ten_minutes(
    api: Api, owner: Owner, later: Callable[..., Any], seconds: int, code: Any
) -> None:
    begun = begin(api)
    credential = owner.passkey.get(begun["public_key"])
    with later(seconds):
        done = finish(api, begun, credential)
        assert (None if done.status_code == 200 else refusal(done)) == code


def test_a_disabled_user_is_refused_as_an_unknown_passkey_is(api: Api, owner: Owner) -> None:
    owner.user.is_active = False
    owner.user.save()
    disabled, unknown = login(api, owner.passkey), finish(api, begin(api), {"id": "AAAA"})
    assert (disabled.status_code, disabled.content) == (401, unknown.content)


def test_an_address_that_is_not_verified_shows_after_a_good_assertion_only(
    api: Api, owner: Owner, audited: None
) -> None:
    owner.user.email = "grace@example.com"
    owner.user.save()
    assert refusal(login(api, owner.passkey)) == (403, "email_not_verified")
    (recorded,) = events()
    assert recorded["type"] == "ninja-auth-kit.session.login_failed.v1"
    assert (recorded["subject"], recorded["data"]["reason"]) == (f"user/{owner.user.pk}", "email_not_verified")
    owner.passkey.is_user_verified = False
    assert refusal(login(api, owner.passkey)) == INVALID_FACTOR


def test_without_a_free_session_nothing_is_used_up(api: Api, owner: Owner, kit: Callable[..., None]) -> None:
    kit(SESSION_LIMIT_POLICY="reject")
    begun = begin(api)
    credential = owner.passkey.get(begun["public_key"])
    assert refusal(finish(api, begun, credential)) == (409, "session_limit_reached")
    assert Passkey.objects.get().sign_count == 0
    assert api.post("logout", {"refresh_token": owner.tokens["refresh_token"]}).status_code == 204
    assert finish(api, begun, credential).status_code == 200


@pytest.mark.security("PASS-08")
def test_a_counter_that_does_not_rise_is_refused_and_recorded_for_the_owner(
    api: Api, owner: Owner, audited: None, pend: Callable[..., str]
) -> None:
    assert login(api, owner.passkey).status_code == 200
    owner.passkey.count_by = 0

    assert refusal(login(api, owner.passkey)) == INVALID_FACTOR
    assert refusal(login(api, owner.passkey, pend())) == INVALID_FACTOR

    recorded = [one for one in events() if one["type"] == "ninja-auth-kit.passkey.clone_suspected.v1"]
    assert [one["subject"] for one in recorded] == [f"user/{owner.user.pk}"] * 2
    assert [one["data"]["details"] for one in recorded] == [{"factor_id": owner.factor_id}] * 2
    assert recorded[0]["data"]["outcome"] == "failure"
    owner.passkey.sign_count, owner.passkey.count_by = 5, 1
    assert login(api, owner.passkey).status_code == 200
    assert Passkey.objects.get().sign_count == 6


@pytest.mark.security("PASS-08")
def test_an_authenticator_that_does_not_count_stays_at_zero(api: Api, user: Any) -> None:
    passkey = new_passkey(count_by=0)
    register(api, api.pair()["access_token"], passkey)
    for _ in range(2):
        assert login(api, passkey).status_code == 200
    assert Passkey.objects.get().sign_count == 0


@pytest.mark.security("PASS-09")
def test_whether_it_is_backed_up_follows_the_last_use(api: Api, user: Any) -> None:
    passkey = new_passkey(backup_eligible=True)
    register(api, api.pair()["access_token"], passkey)
    assert not Passkey.objects.get().backed_up
    passkey.backed_up = True
    assert login(api, passkey).status_code == 200
    assert Passkey.objects.get().backed_up
    passkey.backup_eligible = passkey.backed_up = False
    assert refusal(login(api, passkey)) == INVALID_FACTOR
    assert Passkey.objects.get().backup_eligible


# Behind a password


@pytest.mark.security("FAC-18", "PASS-07")
def test_behind_the_password_the_passkey_is_asked_for(api: Api, owner: Owner, make_user: Callable[..., Any]) -> None:
    make_user("grace@example.com")
    register(api, api.pair("grace@example.com")["access_token"], new_passkey())
    pending = api.login()
    assert (pending.status_code, pending.json()["methods"]) == (202, ["passkey", "recovery_code"])

    begun = begin(api, pending.json()["challenge_token"])

    assert begun["public_key"]["userVerification"] == "preferred"
    own = {"type": "public-key", "id": encoded(owner.passkey.credential_id), "transports": ["internal"]}
    assert begun["public_key"]["allowCredentials"] == [own]
    done = finish(api, begun, owner.passkey.get(begun["public_key"]))
    assert done.status_code == 200, done.content
    assert read_access_token(done.json()["access_token"]).authentication.methods == ("pwd", "pop", "user", "mfa")


@pytest.mark.security("FAC-18")
def test_a_recovery_code_stands_in_for_a_lost_passkey(api: Api, owner: Owner, pend: Callable[..., str]) -> None:
    done = api.post("login/recovery-code", {"challenge_token": pend(), "code": owner.codes[0]})
    assert done.status_code == 200
    removed = api.delete(f"factors/{owner.factor_id}", token=done.json()["access_token"])
    assert removed.status_code == 204
    assert Passkey.objects.count() == RecoveryCode.objects.count() == 0
    assert api.login().status_code == 200


@pytest.mark.security("FAC-18")
def test_a_passkey_need_not_guard_the_password(api: Api, owner: Owner, kit: Callable[..., None]) -> None:
    kit(PASSKEYS={"GUARDS_PASSWORD": False})
    pair = api.pair()
    assert pair["acr"] == "aal1"
    methods = api.get("step-up", token=pair["access_token"]).json()["methods"]
    assert methods == ["password", "passkey", "recovery_code"]
    assert api.post("step-up/password", {"password": PASSWORD}, token=pair["access_token"]).json()["acr"] == "aal1"
    assert login(api, owner.passkey).json()["acr"] == "aal2"

    _, confirmed = enrol(api, api.pair()["access_token"])
    assert confirmed.status_code == 200
    assert api.login().json()["methods"] == ["totp", "passkey", "recovery_code"]


@pytest.mark.security("PASS-07")
def test_a_void_challenge_learns_no_credential_ids(api: Api, owner: Owner, pend: Callable[..., str]) -> None:
    used, void = pend(), pend()
    assert login(api, owner.passkey, used).status_code == 200
    owner.user.set_password("another long walk in the hills")
    owner.user.save()
    for challenge in (used, void, begin(api)["challenge_token"], "nakt_AAAA", owner.token):
        refused = api.post("login/passkey/options", {"challenge_token": challenge})
        assert refusal(refused) == INVALID_CHALLENGE
        assert encoded(owner.passkey.credential_id) not in refused.content.decode()


@pytest.mark.security("FAC-06")
def test_a_pending_login_is_spent_however_many_ceremonies_were_begun_for_it(
    api: Api, owner: Owner, pend: Callable[..., str]
) -> None:
    challenge = pend()
    ceremonies = [begin(api, challenge) for _ in range(2)]
    credentials = [owner.passkey.get(begun["public_key"]) for begun in ceremonies]
    assert finish(api, ceremonies[0], credentials[0]).status_code == 200
    assert refusal(finish(api, ceremonies[1], credentials[1])) == INVALID_CHALLENGE
    code = {"challenge_token": challenge, "code": owner.codes[0]}
    assert refusal(api.post("login/recovery-code", code)) == INVALID_CHALLENGE


@pytest.mark.security("FAC-07")
def test_the_options_do_not_begin_the_ten_minutes_anew(
    api: Api, owner: Owner, pend: Callable[..., str], later: Callable[..., Any]
) -> None:
    challenge = pend()
    with later(500):
        begun = begin(api, challenge)
        credential = owner.passkey.get(begun["public_key"])
    with later(601):
        assert refusal(finish(api, begun, credential)) == INVALID_CHALLENGE


@pytest.mark.security("FAC-08")
def test_five_wrong_assertions_use_the_pending_login_up_but_close_no_factor(
    api: Api, owner: Owner, pend: Callable[..., str]
) -> None:
    challenge = pend()
    mail.outbox.clear()
    for _ in range(5):
        begun = begin(api, challenge)
        assert refusal(finish(api, begun, {"id": "AAAA"})) == INVALID_FACTOR
    code = {"challenge_token": challenge, "code": owner.codes[0]}
    assert refusal(api.post("login/recovery-code", code)) == INVALID_CHALLENGE
    assert [sent.to for sent in mail.outbox] == [[EMAIL]]
    for _ in range(3):
        begun = begin(api, pend())
        for _try in range(4):
            finish(api, begun, {"id": "AAAA"})
    assert login(api, owner.passkey, pend()).status_code == 200


@pytest.mark.security("PASS-02")
def test_the_passkey_of_another_user_completes_no_login(
    api: Api, owner: Owner, make_user: Callable[..., Any], pend: Callable[..., str]
) -> None:
    make_user("grace@example.com")
    graces = new_passkey()
    register(api, api.pair("grace@example.com")["access_token"], graces)
    assert refusal(login(api, graces, pend())) == INVALID_FACTOR
    begun = step_up_options(api, owner.token)
    assert refusal(step_up(api, owner.token, begun, graces.get(begun["public_key"]))) == (403, "wrong_factor")


@pytest.mark.security("FAC-14")
@pytest.mark.parametrize("is_alone", [True, False])
def test_the_device_can_be_remembered(
    api: Api, owner: Owner, kit: Callable[..., None], pend: Callable[..., str], is_alone: bool
) -> None:
    kit(FACTORS={"REMEMBER_DEVICE": timedelta(days=30)})
    done = login(api, owner.passkey, None if is_alone else pend(), remember_device=True)
    device_token = done.json()["device_token"]
    again = api.post("login", {"email": EMAIL, "password": PASSWORD, "device_token": device_token})
    assert (again.status_code, again.json()["acr"]) == (200, "aal1")


@pytest.mark.security("FAC-14")
@pytest.mark.parametrize("change", ["password", "passkey"])
def test_a_device_is_not_remembered_if_the_account_has_changed_since_the_login(
    api: Api, owner: Owner, kit: Callable[..., None], monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    kit(FACTORS={"REMEMBER_DEVICE": timedelta(days=30)})

    def meanwhile(user: Any) -> None:
        if change == "password":
            owner.user.set_password("another long walk in the hills")
            owner.user.save()
        else:
            Factor.objects.all().delete()

    monkeypatch.setattr(services, "clear_wrong_tries", meanwhile)
    done = login(api, owner.passkey, remember_device=True)

    assert (done.status_code, done.json()["device_token"]) == (200, None)


def test_a_login_forgets_the_wrong_passwords_and_codes_of_its_owner(
    api: Api, owner: Owner, kit: Callable[..., None], pend: Callable[..., str]
) -> None:
    kit(THROTTLES={"login_account": "5/m"})
    challenge = pend()
    for _ in range(3):
        assert api.login(password="wrong").status_code == 401
        api.post("login/recovery-code", {"challenge_token": challenge, "code": "wrong"})
    assert ThrottleBucket.objects.filter(hits__gt=0, resets_at__gt=timezone.now()).count() > 1

    assert login(api, owner.passkey).status_code == 200

    counted = ThrottleBucket.objects.filter(hits__gt=0, resets_at__gt=timezone.now())
    assert set(counted.values_list("rule", flat=True)) <= {"factor_ticket"}


# Limits


@pytest.mark.security("FAC-09")
def test_wrong_credentials_count_by_network_and_close_no_account(
    api: Api, owner: Owner, kit: Callable[..., None], audited: None
) -> None:
    kit(THROTTLES={"token_network": "3/m"})
    for _ in range(3):
        assert refusal(finish(api, begin(api), {"id": "AAAA"})) == INVALID_FACTOR
    begun = begin(api)
    credential = owner.passkey.get(begun["public_key"])
    assert finish(api, begun, credential).status_code == 429
    elsewhere = Api(REMOTE_ADDR="198.51.100.7")
    assert finish(elsewhere, begun, credential).status_code == 200
    assert event_names()[:4] == ["session.factor_failed"] * 3 + ["request.throttled"]
    assert not ThrottleBucket.objects.filter(rule="factor_account").exists()


def test_the_options_are_limited_by_network(api: Api, kit: Callable[..., None]) -> None:
    kit(THROTTLES={"request_network": "3/m"})
    for _ in range(3):
        begin(api)
    assert api.post("login/passkey/options").status_code == 429


# Step-up


def test_a_step_up_gives_level_2_of_now(api: Api, owner: Owner, audited: None) -> None:
    begun = step_up_options(api, owner.token)
    assert [one["id"] for one in begun["public_key"]["allowCredentials"]] == [encoded(owner.passkey.credential_id)]

    raised = step_up(api, owner.token, begun, owner.passkey.get(begun["public_key"]))

    assert (raised.status_code, raised.json()["acr"]) == (200, "aal2")
    proved = read_access_token(raised.json()["access_token"])
    assert str(proved.session_id) == owner.tokens["session_id"]
    assert event_names() == ["session.stepped_up"]
    assert refusal(step_up(api, owner.token, begun, owner.passkey.get(begun["public_key"]))) == (
        400,
        "invalid_challenge",
    )


@pytest.mark.security("STEP-05")
def test_a_ceremony_of_one_session_raises_no_other(api: Api, owner: Owner, kit: Callable[..., None]) -> None:
    kit(SESSION_LIMIT=None)
    other = login(api, owner.passkey).json()["access_token"]
    begun = step_up_options(api, other)
    refused = step_up(api, owner.token, begun, owner.passkey.get(begun["public_key"]))
    assert refusal(refused) == (400, "invalid_challenge")


def test_wrong_step_ups_are_counted_and_recorded(api: Api, owner: Owner, audited: None) -> None:
    begun = step_up_options(api, owner.token)
    for _ in range(10):
        assert refusal(step_up(api, owner.token, begun, {"id": "AAAA"})) == (403, "wrong_factor")
    credential = owner.passkey.get(begun["public_key"])
    assert step_up(api, owner.token, begun, credential).status_code == 429
    assert event_names()[0] == "session.step_up_failed"
    assert login(api, owner.passkey).status_code == 200


# Rows


@pytest.mark.security("PASS-12")
def test_a_row_that_was_planted_or_moved_logs_nobody_in(
    api: Api, owner: Owner, make_user: Callable[..., Any], pend: Callable[..., str]
) -> None:
    grace = make_user("grace@example.com")
    graces = new_passkey()
    answer = register(api, api.pair("grace@example.com")["access_token"], graces).json()
    victim = bytes(PasskeyHandle.objects.get(user=owner.user).handle)

    # Grace can write to the database: she moves her passkey to the account of the owner,
    Factor.objects.filter(pk=answer["factor"]["id"]).update(user=owner.user)
    graces.user_handle = victim
    assert refusal(login(api, graces)) == INVALID_FACTOR
    assert refusal(login(api, graces, pend())) == INVALID_FACTOR
    # or her key to the passkey of the owner,
    Factor.objects.filter(pk=answer["factor"]["id"]).update(user=grace)
    key = Passkey.objects.get(pk=answer["factor"]["id"]).public_key
    Passkey.objects.filter(pk=owner.factor_id).update(public_key=key)
    graces.credential_id = owner.passkey.credential_id
    assert refusal(login(api, graces)) == INVALID_FACTOR
    # or lets a passkey be synced that was not.
    Passkey.objects.filter(pk=owner.factor_id).update(backup_eligible=True)
    assert refusal(login(api, owner.passkey)) == INVALID_FACTOR


@pytest.mark.parametrize("by", ["orm", "sql"])
@pytest.mark.parametrize("what", ["user", "factor"])
def test_the_rows_go_with_the_user_and_the_factor(api: Api, owner: Owner, by: str, what: str) -> None:
    row: Any = owner.user if what == "user" else Factor.objects.get()
    if by == "orm":
        row.delete()
    else:
        table = get_user_model()._meta.db_table if what == "user" else Factor._meta.db_table
        with connection.cursor() as cursor:
            cursor.execute(f'DELETE FROM "{table}"')
    assert Factor.objects.count() == Passkey.objects.count() == 0
    assert PasskeyHandle.objects.count() == (0 if what == "user" else 1)


def test_the_account_can_be_deleted_by_its_owner(api: Api, owner: Owner) -> None:
    assert api("DELETE", "me", {"password": PASSWORD}, token=owner.token).status_code == 204
    assert Passkey.objects.count() == PasskeyHandle.objects.count() == 0


def test_the_last_passkey_can_go_if_a_code_is_left(api: Api, owner: Owner) -> None:
    owner.user.set_unusable_password()
    owner.user.save()
    token = login(api, owner.passkey).json()["access_token"]
    assert api.delete(f"factors/{owner.factor_id}", token=token).status_code == 204


def test_the_last_passkey_stays_if_there_is_no_password(api: Api, owner: Owner, without_email_codes: None) -> None:
    owner.user.set_unusable_password()
    owner.user.save()
    token = login(api, owner.passkey).json()["access_token"]
    assert refusal(api.delete(f"factors/{owner.factor_id}", token=token)) == (409, "last_way_in")
    second = register(api, token, new_passkey()).json()
    assert api.delete(f"factors/{second['factor']['id']}", token=token).status_code == 204


@pytest.mark.security("FAC-12")
def test_without_a_password_a_step_up_with_the_passkey_confirms_the_first_one(
    api: Api, owner: Owner, later: Callable[..., Any], kit: Callable[..., None]
) -> None:
    kit(ACCESS_TOKEN_LIFETIME=timedelta(hours=1))
    owner.user.set_unusable_password()
    owner.user.save()
    body = {"new_password": "a long walk in the hills"}
    token = login(api, owner.passkey).json()["access_token"]
    with later(601):
        assert refusal(api.post("password/change", body, token=token)) == (401, "insufficient_user_authentication")
        begun = api.post("step-up/passkey/options", token=token).json()
        credential = owner.passkey.get(begun["public_key"])
        proof = {"challenge_token": begun["challenge_token"], "credential": credential}
        raised = api.post("step-up/passkey", proof, token=token).json()["access_token"]

        assert api.post("password/change", body, token=raised).status_code == 204
        assert api.login(password=body["new_password"]).status_code == 202  # the passkey is asked for behind it


def test_who_logged_in_with_a_passkey_alone_can_replace_it_by_a_key_without_verification(
    api: Api, owner: Owner
) -> None:
    token = login(api, owner.passkey).json()["access_token"]
    assert api.delete(f"factors/{owner.factor_id}", token=token).status_code == 204
    replaced = register(api, token, new_passkey(is_user_verified=False))
    assert replaced.status_code == 201, replaced.content
    assert replaced.json()["tokens"]["acr"] == "aal2"
    assert UserSession.objects.filter(is_active=True, aal=2).count() == 1


# Root secrets


def test_a_seal_is_renewed_by_a_use_and_by_rewrap(
    api: Api, owner: Owner, settings: Settings, kit: Callable[..., None]
) -> None:
    former = settings.JWT_SECRET_KEY
    sealed = Passkey.objects.get().seal
    settings.JWT_SECRET_KEY = former[::-1]
    kit(SIGNING_KEYS=[{"alg": "HS256", "state": "verify-only", "key": former}])
    assert login(api, owner.passkey).status_code == 200
    used = Passkey.objects.get().seal
    assert used != sealed
    assert Passkey.objects.rewrap() == ("passkeys", 0, 0)

    Passkey.objects.update(seal=sealed)
    assert Passkey.objects.rewrap() == ("passkeys", 1, 0)
    kit(SIGNING_KEYS=None)
    assert login(api, owner.passkey).status_code == 200

    Passkey.objects.update(seal=sealed)
    assert Passkey.objects.rewrap() == ("passkeys", 0, 1)
    assert refusal(login(api, owner.passkey)) == INVALID_FACTOR
