"""A second factor behind the password: pending logins, codes, recovery codes and the list of factors."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.utils import timezone

from ninja_auth_kit.contrib.factors.models import Factor, RecoveryCode
from ninja_auth_kit.contrib.totp.models import TotpSecret
from ninja_auth_kit.models import SpentTicket, ThrottleBucket, UserSession
from ninja_auth_kit.tokens import read_access_token
from tests.conftest import EMAIL, PASSWORD, Api, event_names, events, mailed_token
from tests.features.conftest import Enrolled, enrol

pytestmark = pytest.mark.django_db(transaction=True)

NEW_PASSWORD = "another long walk in the hills"


def login(api: Api, challenge: str, code: str, **more: Any) -> Any:
    return api.post("login/totp", {"challenge_token": challenge, "code": code, **more})


@pytest.mark.security("FAC-01")
def test_behind_the_password_the_factor_is_asked_for(api: Api, enrolled: Enrolled) -> None:
    pending = api.login()

    assert pending.status_code == 202
    body = pending.json()
    assert {**body, "challenge_token": "…"} == {
        "status": "factor_required",
        "challenge_token": "…",
        "methods": ["totp", "recovery_code"],
        "expires_in": 600,
    }
    done = login(api, body["challenge_token"], enrolled.app.code())
    assert done.status_code == 200, done.content
    assert done.json()["acr"] == "aal2"
    assert done.json()["device_token"] is None
    proved = read_access_token(done.json()["access_token"]).authentication
    assert (proved.acr, proved.methods) == ("aal2", ("pwd", "otp", "mfa"))
    assert api.is_in(done.json()["access_token"])


@pytest.mark.security("FAC-02")
def test_a_right_password_alone_changes_nothing(api: Api, enrolled: Enrolled, audited: None) -> None:
    sessions = list(UserSession.objects.values())
    enrolled.user.refresh_from_db()
    last_login = enrolled.user.last_login

    assert api.login().status_code == 202

    enrolled.user.refresh_from_db()
    assert enrolled.user.last_login == last_login
    assert list(UserSession.objects.values()) == sessions
    assert api.is_in(enrolled.token)
    assert event_names() == ["session.factor_requested"]


@pytest.mark.security("FAC-04")
def test_a_challenge_is_no_token(api: Api, enrolled: Enrolled, pend: Callable[..., str]) -> None:
    challenge = pend()
    for path in ("me", "sessions", "factors", "step-up", "devices"):
        assert api.get(path, token=challenge).status_code == 401
    assert api.post("refresh", {"refresh_token": challenge}).status_code == 401
    assert api.post("verify-email", {"token": challenge, "password": PASSWORD}).status_code == 400


@pytest.mark.security("FAC-05")
def test_another_challenge_is_refused_with_one_answer(api: Api, enrolled: Enrolled, pend: Callable[..., str]) -> None:
    challenge = pend()
    middle = len(challenge) // 2
    flipped = challenge[:middle] + ("A" if challenge[middle] != "A" else "B") + challenge[middle + 1 :]
    for bad in ("", "nakt_", "nakt_AAAA", "x" * 3000, "ünïcode", flipped, challenge + "=", enrolled.token):
        refused = login(api, bad, enrolled.app.code())
        assert (refused.status_code, refused.json()["code"]) == (401, "invalid_challenge"), bad
    assert login(api, challenge, enrolled.app.code()).status_code == 200


@pytest.mark.security("FAC-06")
def test_a_challenge_completes_once(
    api: Api, enrolled: Enrolled, pend: Callable[..., str], later: Callable[..., Any]
) -> None:
    challenge = pend()
    assert login(api, challenge, enrolled.app.code()).status_code == 200
    with later(30):
        refused = login(api, challenge, enrolled.app.code())
    assert (refused.status_code, refused.json()["code"]) == (401, "invalid_challenge")


@pytest.mark.security("FAC-07")
@pytest.mark.parametrize(("seconds", "status"), [(599, 200), (600, 401)])
def test_a_challenge_expires_after_ten_minutes(
    api: Api, enrolled: Enrolled, later: Callable[..., Any], seconds: int, status: int
) -> None:
    now = int(timezone.now().timestamp())
    with later(now + 1 - timezone.now().timestamp()):
        challenge = api.login().json()["challenge_token"]
    with later(now + 1 + seconds - timezone.now().timestamp()):
        assert login(api, challenge, enrolled.app.code()).status_code == status


def new_password(api: Api, enrolled: Enrolled) -> None:
    enrolled.user.set_password(NEW_PASSWORD)
    enrolled.user.save()


def ban(api: Api, enrolled: Enrolled) -> None:
    enrolled.user.is_active = False
    enrolled.user.save()


def delete(api: Api, enrolled: Enrolled) -> None:
    enrolled.user.delete()


def other_address(api: Api, enrolled: Enrolled) -> None:
    enrolled.user.email = "grace@example.com"
    enrolled.user.save()


def other_factor(api: Api, enrolled: Enrolled) -> None:
    Factor.objects.create(user=enrolled.user, kind="totp", confirmed_at=timezone.now())


@pytest.mark.security("FAC-07")
@pytest.mark.parametrize("change", [new_password, ban, delete, other_address, other_factor])
def test_a_challenge_is_void_when_the_account_changes(
    api: Api, enrolled: Enrolled, pend: Callable[..., str], change: Callable[..., None]
) -> None:
    challenge, code = pend(), enrolled.app.code()
    change(api, enrolled)

    refused = login(api, challenge, code)

    assert refused.json()["code"] == ("email_not_verified" if change is other_address else "invalid_challenge")
    assert UserSession.objects.filter(aal=2, is_active=True).count() == (0 if change is delete else 1)


@pytest.mark.security("FAC-08", "FAC-17")
def test_five_wrong_codes_use_the_challenge_up_and_the_owner_learns_of_it(
    api: Api, enrolled: Enrolled, pend: Callable[..., str], audited: None
) -> None:
    challenge, wrong = pend(), enrolled.app.wrong_code()
    mail.outbox.clear()
    for _ in range(4):
        refused = login(api, challenge, wrong)
        assert (refused.status_code, refused.json()["code"]) == (401, "invalid_factor")
    assert mail.outbox == []
    assert login(api, challenge, wrong).json()["code"] == "invalid_factor"

    assert login(api, challenge, enrolled.app.code()).json()["code"] == "invalid_challenge"
    assert SpentTicket.objects.count() == 1
    assert [sent.to for sent in mail.outbox] == [[EMAIL]]
    assert "password" in mail.outbox[0].subject
    assert login(api, pend(), enrolled.app.code()).status_code == 200


@pytest.mark.security("FAC-08")
def test_ten_wrong_codes_close_the_factor_for_its_user_but_not_for_others(
    api: Api, enrolled: Enrolled, pend: Callable[..., str], make_user: Callable[..., Any]
) -> None:
    wrong = enrolled.app.wrong_code()
    for _ in range(2):
        challenge = pend()
        for _try in range(5):
            assert login(api, challenge, wrong).status_code == 401
    closed = login(api, pend(), enrolled.app.code())
    assert closed.status_code == 429

    make_user("grace@example.com")
    app, confirmed = enrol(api, api.pair("grace@example.com")["access_token"])
    assert confirmed.status_code == 200
    assert login(api, pend("grace@example.com"), app.code()).status_code == 200
    # A client that has the password cannot keep the owner from the recovery codes.
    assert api.post("login/recovery-code", {"challenge_token": pend(), "code": enrolled.codes[0]}).status_code == 200


def test_a_right_code_forgets_the_wrong_ones(api: Api, enrolled: Enrolled, pend: Callable[..., str]) -> None:
    challenge = pend()
    for _ in range(4):
        login(api, challenge, enrolled.app.wrong_code())
    assert login(api, challenge, enrolled.app.code()).status_code == 200
    live = ThrottleBucket.objects.filter(rule="factor_account", resets_at__gt=timezone.now(), hits__gt=0)
    assert list(live) == []


@pytest.mark.security("FAC-11", "REC-05")
def test_the_first_factor_ends_all_sessions_and_gives_a_new_one_of_level_2(
    api: Api, user: Any, kit: Callable[..., None], audited: None
) -> None:
    kit(SESSION_LIMIT=None)
    other, own = api.pair(), api.pair()
    mail.outbox.clear()

    _, confirmed = enrol(api, own["access_token"])

    tokens = confirmed.json()["tokens"]
    assert tokens["acr"] == "aal2"
    assert tokens["session_id"] != own["session_id"]
    assert api.is_in(tokens["access_token"])
    for pair in (other, own):
        assert not api.is_in(pair["access_token"])
        assert api.post("refresh", {"refresh_token": pair["refresh_token"]}).status_code == 401
    assert len(set(confirmed.json()["recovery_codes"])) == 10
    assert event_names()[2:6] == ["session.revoked", "session.revoked", "factor.added", "session.logged_in"]
    assert ["second factor was added" in sent.subject for sent in mail.outbox] == [True]


@pytest.mark.parametrize("policy", ["reject", "replace"])
def test_the_first_factor_has_room_for_its_session_at_the_limit(
    api: Api, user: Any, kit: Callable[..., None], policy: str
) -> None:
    kit(SESSION_LIMIT=2, SESSION_LIMIT_POLICY=policy)
    other, own = api.pair(), api.pair()

    _, confirmed = enrol(api, own["access_token"])

    assert confirmed.status_code == 200
    assert api.is_in(confirmed.json()["tokens"]["access_token"])
    assert not any(api.is_in(pair["access_token"]) for pair in (own, other))


@pytest.mark.security("FAC-11", "REC-05")
def test_the_last_factor_takes_level_2_from_all_sessions(api: Api, enrolled: Enrolled) -> None:
    assert api.delete(f"factors/{enrolled.factor_id}", token=enrolled.token).status_code == 204

    assert [session.aal for session in UserSession.objects.filter(is_active=True)] == [1]
    assert RecoveryCode.objects.count() == TotpSecret.objects.count() == 0
    refreshed = api.post("refresh", {"refresh_token": enrolled.tokens["refresh_token"]}).json()
    assert refreshed["acr"] == "aal1"
    assert api.login().status_code == 200


@pytest.mark.security("FAC-12")
def test_a_later_factor_needs_the_first_one_and_keeps_the_session(
    api: Api, enrolled: Enrolled, clock: time_machine.Traveller
) -> None:
    clock.shift(60)
    _, confirmed = enrol(api, enrolled.token, name="my tablet")
    assert confirmed.status_code == 200, confirmed.content
    body = confirmed.json()
    assert body["recovery_codes"] is None
    assert body["tokens"]["session_id"] == enrolled.tokens["session_id"]
    assert body["tokens"]["refresh_token"] != enrolled.tokens["refresh_token"]
    names = [one["name"] for one in api.get("factors", token=enrolled.token).json()["factors"]]
    assert names == ["my phone", "my tablet"]


@pytest.mark.security("FAC-12")
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "factors/totp"), ("POST", "factors/recovery-codes"), ("DELETE", "factors/{}")],
)
def test_an_old_session_may_not_touch_the_factors(
    api: Api, enrolled: Enrolled, kit: Callable[..., None], later: Callable[..., Any], method: str, path: str
) -> None:
    kit(ACCESS_TOKEN_LIFETIME=timedelta(hours=1))
    token = api.post("refresh", {"refresh_token": enrolled.tokens["refresh_token"]}).json()["access_token"]
    with later(601):
        refused = api(method, path.format(enrolled.factor_id), token=token)
        assert refused.status_code == 401
        assert refused.json()["code"] == "insufficient_user_authentication"
        assert refused["WWW-Authenticate"] == (
            'Bearer error="insufficient_user_authentication", acr_values="aal2", max_age="600"'
        )
        raised = api.post("step-up/totp", {"code": enrolled.app.code()}, token=token).json()["access_token"]
        assert api(method, path.format(enrolled.factor_id), token=raised).status_code in {200, 201, 204}


@pytest.mark.security("FAC-12")
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("password/change", {"current_password": PASSWORD, "new_password": NEW_PASSWORD}),
        ("email/change", {"new_email": "grace@example.com", "password": PASSWORD}),
    ],
)
def test_with_a_factor_the_password_alone_changes_nothing(
    api: Api, enrolled: Enrolled, kit: Callable[..., None], later: Callable[..., Any], path: str, body: dict[str, str]
) -> None:
    kit(ACCESS_TOKEN_LIFETIME=timedelta(hours=1))
    token = api.post("refresh", {"refresh_token": enrolled.tokens["refresh_token"]}).json()["access_token"]
    with later(601):
        assert api.post(path, body, token=token).json()["code"] == "insufficient_user_authentication"
        assert api("DELETE", "me", {"password": PASSWORD}, token=token).status_code == 401
        raised = api.post("step-up/totp", {"code": enrolled.app.code()}, token=token).json()["access_token"]
        assert api.post(path, body, token=raised).status_code in {202, 204}


@pytest.mark.security("FAC-13")
def test_an_unconfirmed_factor_is_never_asked_for(api: Api, user: Any, later: Callable[..., Any]) -> None:
    pair = api.pair()
    begun = api.post("factors/totp", {}, token=pair["access_token"]).json()
    assert api.get("factors", token=pair["access_token"]).json()["factors"] == []
    assert api.login().status_code == 200
    again = api.post("factors/totp", {}, token=api.pair()["access_token"]).json()
    assert Factor.objects.count() == 1
    assert {begun["id"], again["id"]} > {str(Factor.objects.get().pk)}


@pytest.mark.security("FAC-16")
def test_a_password_reset_does_not_remove_the_factor(api: Api, enrolled: Enrolled) -> None:
    api.post("password/reset", {"email": EMAIL})
    body = {"token": mailed_token(), "new_password": NEW_PASSWORD}
    assert api.post("password/reset/confirm", body).status_code == 204

    pending = api.login(password=NEW_PASSWORD)

    assert pending.status_code == 202
    assert login(api, pending.json()["challenge_token"], enrolled.app.code()).status_code == 200


@pytest.mark.security("FAC-15")
def test_each_step_is_one_event_without_secrets(api: Api, user: Any, audited: None, pend: Callable[..., str]) -> None:
    app, confirmed = enrol(api, api.pair()["access_token"])
    enrolled = Enrolled(user, app, confirmed.json())
    challenge = pend()
    login(api, challenge, app.wrong_code())
    token = login(api, challenge, app.code()).json()["access_token"]
    api.post("step-up/totp", {"code": app.code()}, token=token)
    api.post("step-up/recovery-code", {"code": enrolled.codes[0]}, token=token)
    codes = api.post("factors/recovery-codes", token=token).json()["codes"]
    api.delete(f"factors/{enrolled.factor_id}", token=token)

    assert event_names() == [
        "session.logged_in",
        "session.revoked",
        "factor.added",
        "session.logged_in",
        "session.factor_requested",
        "session.factor_failed",
        "session.revoked",
        "session.logged_in",
        "session.step_up_failed",
        "recovery.used",
        "session.stepped_up",
        "recovery.generated",
        "factor.removed",
    ]
    text = str(events())
    for secret in (*enrolled.codes, *codes, challenge, app.code(), EMAIL, token):
        assert secret not in text
