"""Login by a code in an email: who gets one, what it opens, and what makes it void."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth import get_user_model
from django.core import mail
from django.utils import timezone

from ninja_auth_kit.contrib.email_code import codes
from ninja_auth_kit.contrib.email_code.models import LoginCode
from ninja_auth_kit.contrib.email_code.testing import emailed_code
from ninja_auth_kit.models import EmailAddress, PromisedEmail, SpentTicket, UserSession
from ninja_auth_kit.tokens import read_access_token
from tests.conftest import EMAIL, PASSWORD, Api, event_names, events, mailed_token
from tests.features.conftest import Enrolled, finish
from tests.features.email_code.conftest import WRONG, answer, ask, ask_and_read, log_in

pytestmark = pytest.mark.django_db(transaction=True)

NEW_PASSWORD = "another long walk in the hills"


def active() -> int:
    return UserSession.objects.filter(is_active=True).count()


# The request


@pytest.mark.security("CODE-01")
def test_the_answer_is_the_same_for_every_address(api: Api, make_user: Callable[..., Any]) -> None:
    make_user("verified@example.com")
    make_user("pending@example.com", verified=False)
    make_user("disabled@example.com", is_active=False)
    names = ("verified", "pending", "disabled", "nobody")

    answers = [api.post("login/email-code/request", {"email": f"{name}@example.com"}) for name in names]

    said = [
        (one.status_code, sorted(one.headers.items()), {**one.json(), "challenge_token": ""}, len(one.content))
        for one in answers
    ]
    assert said[0][0] == 202
    assert said[0][2]["expires_in"] == 600
    # The challenge contains the address as it was typed.
    lengths = {length - len(name) * 4 // 3 for (*_, length), name in zip(said, names, strict=True)}
    assert max(lengths) - min(lengths) <= 2
    assert [(status, {**dict(headers), "Content-Length": ""}, body) for status, headers, body, _ in said[1:]] == [
        (status, {**dict(headers), "Content-Length": ""}, body) for status, headers, body, _ in said[:-1]
    ]
    assert [message.to for message in mail.outbox] == [["verified@example.com"]]


def test_an_address_that_is_none_is_a_422(api: Api) -> None:
    response = api.post("login/email-code/request", {"email": "nobody"})

    assert response.status_code == 422
    assert response.json()["errors"][0]["code"] == "invalid_email"
    assert not PromisedEmail.objects.exists()


def test_the_email_goes_to_the_stored_spelling_and_has_the_code_in_both_parts(api: Api, user: Any) -> None:
    ask(api, " ADA@Example.COM ")

    (message,) = mail.outbox
    ((html, _),) = message.alternatives
    code = emailed_code()
    assert message.to == [EMAIL]
    assert re.fullmatch(r"[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}", code)
    assert code in message.body
    assert code in html
    assert "10\xa0minutes" in message.body
    assert code not in message.subject
    assert "://" not in message.body + html


def test_a_code_has_eight_letters_of_the_twenty(monkeypatch: pytest.MonkeyPatch) -> None:
    made = {codes.new_code() for _ in range(200)}

    assert len(made) == 200
    assert set("".join(made)) == set(codes.ALPHABET)
    assert len(codes.ALPHABET) == 20
    assert {len(code) for code in made} == {8}


# The login


def test_a_code_starts_a_session_of_level_1(api: Api, user: Any) -> None:
    response = log_in(api, *ask_and_read(api))

    assert response.status_code == 200
    pair = response.json()
    assert pair["acr"] == "aal1"
    claims = read_access_token(pair["access_token"]).authentication
    assert (claims.acr, claims.methods) == ("aal1", ("email",))
    assert api.is_in(pair["access_token"])
    user.refresh_from_db()
    assert user.last_login is not None
    assert UserSession.objects.get().amr == "email"


def test_a_login_by_code_ends_the_other_session(api: Api, user: Any) -> None:
    token = api.pair()["access_token"]

    assert log_in(api, *ask_and_read(api)).status_code == 200

    assert not api.is_in(token)
    assert active() == 1


@pytest.mark.parametrize(
    "spelling", [str.lower, lambda code: code.replace("-", ""), lambda code: f" {code[:4]} {code[4:]}\n"]
)
def test_a_code_can_be_typed_in_any_case_and_without_dashes(
    api: Api, user: Any, spelling: Callable[[str], str]
) -> None:
    challenge, code = ask_and_read(api)

    assert log_in(api, challenge, spelling(code)).status_code == 200


def test_a_letter_that_becomes_ascii_in_upper_case_is_another_letter() -> None:
    assert codes.normalized("\u017fbcd") == "\u017fbcd"


@pytest.mark.security("CODE-02")
def test_a_code_counts_once(api: Api, user: Any) -> None:
    challenge, code = ask_and_read(api)
    assert log_in(api, challenge, code).status_code == 200

    assert answer(log_in(api, challenge, code)) == (401, "invalid_challenge")
    assert active() == 1
    assert LoginCode.objects.get().used_at is not None


@pytest.mark.security("CODE-02")
def test_a_code_works_with_its_own_challenge_only(api: Api, user: Any) -> None:
    first, second = ask_and_read(api), ask_and_read(api)

    assert answer(log_in(api, first[0], second[1])) == (401, "invalid_factor")
    assert answer(log_in(api, second[0], first[1])) == (401, "invalid_factor")
    assert log_in(api, *second).status_code == 200
    assert log_in(api, *first).status_code == 200


@pytest.mark.security("CODE-02")
def test_a_code_expires_after_ten_minutes(api: Api, user: Any, clock: time_machine.Traveller) -> None:
    late, later = ask_and_read(api), ask_and_read(api)
    clock.shift(599)
    assert log_in(api, *late).status_code == 200

    clock.shift(1)

    assert answer(log_in(api, *later)) == (401, "invalid_challenge")


@pytest.mark.security("CODE-02")
@pytest.mark.parametrize("email", [EMAIL, "nobody@example.com"])
def test_five_wrong_codes_spend_the_challenge_whether_or_not_a_code_was_sent(api: Api, user: Any, email: str) -> None:
    challenge = ask(api, email)

    answers = [answer(log_in(api, challenge, WRONG)) for _ in range(7)]

    assert answers == [(401, "invalid_factor")] * 5 + [(401, "invalid_challenge")] * 2
    if email == EMAIL:
        assert answer(log_in(api, challenge, emailed_code())) == (401, "invalid_challenge")
    assert SpentTicket.objects.count() == 1
    assert active() == 0


@pytest.mark.security("CODE-02")
def test_four_wrong_codes_leave_the_right_one(api: Api, user: Any) -> None:
    challenge, code = ask_and_read(api)
    for _ in range(4):
        assert answer(log_in(api, challenge, WRONG)) == (401, "invalid_factor")

    assert log_in(api, challenge, code).status_code == 200


@pytest.mark.parametrize("token", ["", "nakt_", "nakt_" + "A" * 120, "x" * 4000, "nakr_abc"])
def test_a_challenge_that_is_none_is_refused(api: Api, token: str) -> None:
    assert answer(log_in(api, token, WRONG)) == (401, "invalid_challenge")


@pytest.mark.security("FAC-05")
def test_a_ticket_of_another_purpose_is_none(api: Api, enrolled: Enrolled, pend: Callable[..., str]) -> None:
    challenge, code = ask_and_read(api)

    assert answer(log_in(api, pend(), code)) == (401, "invalid_challenge")
    assert answer(finish(api, challenge, enrolled.app.code())) == (401, "invalid_challenge")
    signup = {"signup_token": challenge, "username": "countess"}
    assert answer(api.post("login/email-code/signup", signup)) == (401, "invalid_challenge")


@pytest.mark.security("CODE-04")
def test_the_request_of_a_stranger_voids_no_code(api: Api, user: Any) -> None:
    own = ask_and_read(api)
    challenge = ask(Api(REMOTE_ADDR="203.0.113.9"))
    for _ in range(6):
        log_in(Api(REMOTE_ADDR="203.0.113.9"), challenge, WRONG)

    assert log_in(api, *own).status_code == 200


# What makes a code void


def reset(api: Api) -> None:
    api.post("password/reset", {"email": EMAIL})
    body = {"token": mailed_token(), "new_password": NEW_PASSWORD}
    assert api.post("password/reset/confirm", body).status_code == 204


def test_another_password_voids_a_code(api: Api, user: Any) -> None:
    challenge, code = ask_and_read(api)
    reset(api)

    assert answer(log_in(api, challenge, code)) == (401, "invalid_challenge")


def test_another_address_voids_a_code(api: Api, user: Any) -> None:
    challenge, code = ask_and_read(api)
    get_user_model().objects.filter(pk=user.pk).update(email="other@example.com")

    assert answer(log_in(api, challenge, code)) == (401, "invalid_challenge")
    assert active() == 0


def test_a_user_who_was_disabled_is_refused_like_a_wrong_code(api: Api, user: Any) -> None:
    challenge, code = ask_and_read(api)
    get_user_model().objects.filter(pk=user.pk).update(is_active=False)

    assert answer(log_in(api, challenge, code)) == (401, "invalid_factor")


def test_a_user_who_was_deleted_is_refused_like_a_wrong_code(api: Api, user: Any) -> None:
    challenge, code = ask_and_read(api)
    user.delete()

    assert not LoginCode.objects.exists()
    assert answer(log_in(api, challenge, code)) == (401, "invalid_factor")


def test_a_user_whom_the_default_manager_hides_is_refused_like_a_wrong_code(
    api: Api, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    challenge, code = ask_and_read(api)
    manager = get_user_model()._default_manager
    shown = manager.get_queryset
    monkeypatch.setattr(manager, "get_queryset", lambda: shown().exclude(email=EMAIL))

    assert answer(log_in(api, challenge, code)) == (401, "invalid_factor")
    assert active() == 0


def test_a_disabled_user_gets_no_code(api: Api, make_user: Callable[..., Any], registering: None) -> None:
    make_user(is_active=False)

    ask(api)

    assert mail.outbox == []
    assert not LoginCode.objects.exists()


def test_a_row_that_was_moved_to_another_user_logs_nobody_in(api: Api, make_user: Callable[..., Any]) -> None:
    make_user()
    victim = make_user("grace@example.com")
    challenge, code = ask_and_read(api)
    LoginCode.objects.update(user=victim.pk)

    assert answer(log_in(api, challenge, code)) == (401, "invalid_challenge")
    LoginCode.objects.update(email="grace@example.com")
    assert answer(log_in(api, challenge, code)) == (401, "invalid_factor")


def test_a_promise_that_was_changed_sends_no_code(api: Api, user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from ninja_auth_kit.services import promised_emails

    monkeypatch.setattr("ninja_auth_kit.emails.after_answer", lambda *args, **kwargs: None)
    ask(api, "nobody@example.com")
    PromisedEmail.objects.update(address=EMAIL, due_at=timezone.now() - timedelta(minutes=1))

    assert promised_emails.send_due() == 1
    assert mail.outbox == []


def test_an_email_that_the_mail_server_took_too_late_is_not_sent(
    api: Api, user: Any, monkeypatch: pytest.MonkeyPatch, clock: time_machine.Traveller
) -> None:
    from ninja_auth_kit.services import promised_emails

    monkeypatch.setattr("ninja_auth_kit.emails.after_answer", lambda *args, **kwargs: None)
    ask(api)
    ask(api)
    due = timezone.now() - timedelta(days=1)
    first, second = PromisedEmail.objects.order_by("id")
    PromisedEmail.objects.filter(pk=first.pk).update(due_at=due)
    assert promised_emails.send_due() == 1
    clock.shift(600)
    PromisedEmail.objects.filter(pk=second.pk).update(due_at=due)
    assert promised_emails.send_due() == 1

    assert len(mail.outbox) == 1
    assert not PromisedEmail.objects.exists()


def test_a_second_attempt_sends_a_new_code_which_counts(api: Api, user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from ninja_auth_kit import emails
    from ninja_auth_kit.services import promised_emails

    send = emails.send

    def fail(*_: Any, **__: Any) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(emails, "send", fail)
    challenge = ask(api)
    assert LoginCode.objects.count() == 1
    monkeypatch.setattr(emails, "send", send)
    PromisedEmail.objects.update(due_at=timezone.now() - timedelta(days=1))
    assert promised_emails.send_due() == 1

    assert log_in(api, challenge, emailed_code()).status_code == 200


# Every rule of the core


def test_a_login_that_finds_no_free_session_uses_nothing_up(
    api: Api, user: Any, kit: Callable[..., None], audited: None
) -> None:
    kit(SESSION_LIMIT_POLICY="reject")
    token = api.pair()["access_token"]
    challenge, code = ask_and_read(api)
    assert [answer(log_in(api, challenge, code)) for _ in range(6)] == [(409, "session_limit_reached")] * 6
    assert not SpentTicket.objects.exists()
    failed = [event for event in events() if event["type"].endswith("session.login_failed.v1")]
    assert failed[-1]["data"]["reason"] == "session_limit_reached"

    assert api.post("logout", token=token).status_code == 204

    assert log_in(api, challenge, code).status_code == 200


@pytest.mark.security("CODE-03", "FAC-01")
def test_an_enrolled_factor_is_asked_for_behind_a_code(api: Api, enrolled: Enrolled) -> None:
    challenge, code = ask_and_read(api)

    response = log_in(api, challenge, code)

    assert response.status_code == 202
    pending = response.json()
    assert (pending["status"], pending["methods"]) == ("factor_required", ["totp", "recovery_code"])
    assert api.is_in(enrolled.token)  # nothing ended
    assert answer(log_in(api, challenge, code)) == (401, "invalid_challenge")
    done = finish(api, pending["challenge_token"], enrolled.app.code())
    assert done.status_code == 200
    claims = read_access_token(done.json()["access_token"]).authentication
    assert (claims.acr, set(claims.methods)) == ("aal2", {"email", "otp", "mfa"})


@pytest.mark.security("CODE-03")
def test_a_code_is_no_second_factor(api: Api, enrolled: Enrolled, pend: Callable[..., str]) -> None:
    challenge, code = ask_and_read(api)
    waiting = pend()

    for path in ("login/totp", "login/recovery-code"):
        body = {"challenge_token": waiting, "code": code}
        assert api.post(path, body).status_code in {401, 422}
    assert "email" not in api.get("step-up", token=enrolled.token).json()["methods"]
    assert log_in(api, challenge, code).json()["status"] == "factor_required"


def test_a_remembered_device_is_not_asked(api: Api, enrolled: Enrolled, kit: Callable[..., None]) -> None:
    kit(FACTORS={"REMEMBER_DEVICE": timedelta(days=30)})
    pending = log_in(api, *ask_and_read(api)).json()["challenge_token"]
    device = finish(api, pending, enrolled.app.code(), remember_device=True).json()["device_token"]

    response = log_in(api, *ask_and_read(api), device_token=device)

    assert response.status_code == 200
    assert response.json()["acr"] == "aal1"
    assert log_in(api, *ask_and_read(api), device_token="nakd_unknown").status_code == 202


def test_a_login_by_code_forgets_the_wrong_passwords(api: Api, user: Any, kit: Callable[..., None]) -> None:
    kit(THROTTLES={"login_account": "2/h"})
    for _ in range(2):
        assert api.login(password="wrong").status_code == 401
    assert api.login().status_code == 429

    assert log_in(api, *ask_and_read(api)).status_code == 200

    assert api.login().status_code == 200


# Users from elsewhere


@pytest.mark.security("CODE-05")
@pytest.mark.parametrize("registers", [False, True])
def test_a_user_from_elsewhere_is_logged_in_and_the_address_is_verified(
    api: Api, make_user: Callable[..., Any], kit: Callable[..., None], audited: None, registers: bool
) -> None:
    kit(EMAIL_CODE={"REGISTERS": registers})
    user = make_user()
    EmailAddress.objects.all().delete()
    password = user.password

    response = log_in(api, *ask_and_read(api))

    assert response.status_code == 200
    user.refresh_from_db()
    assert user.password == password
    assert EmailAddress.objects.get().verified_at is not None
    assert event_names()[-2:] == ["email.verified", "session.logged_in"]


@pytest.mark.security("CODE-05")
@pytest.mark.parametrize("known", [{"last_login": timezone.now()}, {"is_staff": True}], ids=["logged in", "rights"])
def test_a_user_who_has_logged_in_or_has_rights_is_not_replaced(
    api: Api, make_user: Callable[..., Any], registering: None, known: dict[str, Any]
) -> None:
    names = {field.name for field in get_user_model()._meta.concrete_fields}
    if not names >= known.keys():
        pytest.skip("the user model has no such field")
    user = make_user(verified=False, **known)

    assert log_in(api, *ask_and_read(api)).status_code == 200

    user.refresh_from_db()
    assert user.check_password(PASSWORD)
    assert EmailAddress.objects.get().verified_at is not None


def test_a_409_leaves_the_address_unverified(
    api: Api, make_user: Callable[..., Any], kit: Callable[..., None]
) -> None:
    kit(SESSION_LIMIT_POLICY="reject", EMAIL_VERIFICATION_REQUIRED=False)
    make_user(verified=False)
    api.pair()
    challenge, code = ask_and_read(api)

    assert answer(log_in(api, challenge, code)) == (409, "session_limit_reached")
    assert EmailAddress.objects.get().verified_at is None


@pytest.mark.security("CODE-05")
def test_an_account_that_was_never_verified_is_not_entered(api: Api, audited: None) -> None:
    api.register()
    mail.outbox.clear()

    challenge = ask(api)

    assert mail.outbox == []
    assert answer(log_in(api, challenge, WRONG)) == (401, "invalid_factor")
    assert EmailAddress.objects.get().verified_at is None


def test_without_registration_an_unknown_address_gets_nothing(api: Api) -> None:
    ask(api, "nobody@example.com")

    assert mail.outbox == []
    assert not LoginCode.objects.exists()
    assert not PromisedEmail.objects.exists()


# Limits


@pytest.mark.security("CODE-06")
@pytest.mark.parametrize("email", [EMAIL, "nobody@example.com"])
def test_another_code_resets_no_count_of_wrong_ones(api: Api, user: Any, kit: Callable[..., None], email: str) -> None:
    kit(THROTTLES={"code_account": "7/15m"})
    statuses = []
    for _ in range(4):
        challenge = ask(api, email.upper())
        statuses += [log_in(api, challenge, WRONG).status_code for _ in range(2)]

    assert statuses == [401] * 7 + [429]
    assert log_in(api, ask(api, email), WRONG).status_code == 429


@pytest.mark.security("CODE-06")
def test_a_right_code_is_refused_too_when_the_limit_is_reached(
    api: Api, user: Any, kit: Callable[..., None], clock: time_machine.Traveller
) -> None:
    kit(THROTTLES={})  # the rule of an installed app applies all the same
    for _ in range(2):
        challenge = ask(api)
        for _ in range(5):
            log_in(api, challenge, WRONG)
    challenge, code = ask_and_read(api)

    response = log_in(api, challenge, code)

    assert response.status_code == 429
    assert 1 <= int(response.headers["Retry-After"]) <= 900
    clock.shift(900)
    assert log_in(api, *ask_and_read(api)).status_code == 200


def test_a_login_clears_the_count_of_wrong_codes(api: Api, user: Any, kit: Callable[..., None]) -> None:
    kit(THROTTLES={"code_account": "3/15m"})
    for _ in range(2):
        challenge, code = ask_and_read(api)
        assert [log_in(api, challenge, WRONG).status_code for _ in range(2)] == [401, 401]
        assert log_in(api, challenge, code).status_code == 200


def test_a_login_that_becomes_pending_clears_nothing(enrolled: Enrolled, kit: Callable[..., None]) -> None:
    kit(THROTTLES={"code_account": "3/15m"})
    api = Api(REMOTE_ADDR="203.0.113.9")  # not the network in which the factor was added
    challenge, code = ask_and_read(api)
    assert [log_in(api, challenge, WRONG).status_code for _ in range(2)] == [401, 401]
    assert log_in(api, challenge, code).status_code == 202
    challenge, code = ask_and_read(api)
    assert log_in(api, challenge, WRONG).status_code == 401

    assert log_in(api, challenge, code).status_code == 429


@pytest.mark.security("BF-03")
def test_strangers_cannot_keep_the_owner_out_of_a_known_network(api: Api, user: Any, kit: Callable[..., None]) -> None:
    home, elsewhere = Api(REMOTE_ADDR="198.51.100.7"), Api(REMOTE_ADDR="203.0.113.9")
    kit(THROTTLES={"code_account": "5/15m", "login_known_network": "2/15m"})
    home.pair()
    challenge = ask(elsewhere)
    for _ in range(5):
        log_in(elsewhere, challenge, WRONG)
    assert log_in(elsewhere, *ask_and_read(elsewhere)).status_code == 429

    wrong = log_in(home, ask(home), WRONG)

    # A wrong code is answered as from anywhere else, so that no stranger learns which networks an account knows.
    assert wrong.status_code == 429
    assert log_in(home, *ask_and_read(home)).status_code == 200


@pytest.mark.security("CODE-01", "BF-03")
def test_a_challenge_is_used_up_alike_whether_or_not_the_account_knows_the_network(
    api: Api, user: Any, kit: Callable[..., None], clock: time_machine.Traveller
) -> None:
    home, elsewhere = Api(REMOTE_ADDR="198.51.100.7"), Api(REMOTE_ADDR="203.0.113.9")
    kit(THROTTLES={"code_account": "10/5m"})
    home.pair()
    answers, challenges = {}, {}
    for email in (EMAIL, "nobody@example.com"):
        for challenge in (ask(elsewhere, email), ask(elsewhere, email)):
            for _ in range(5):
                log_in(elsewhere, challenge, WRONG)
        challenges[email] = ask(home, email)
        answers[email] = [answer(log_in(home, challenges[email], WRONG)) for _ in range(7)]
    clock.shift(301)
    for email, challenge in challenges.items():
        answers[email].append(answer(log_in(home, challenge, WRONG)))

    assert answers[EMAIL] == [(429, "throttled")] * 5 + [(401, "invalid_challenge")] * 3
    assert answers["nobody@example.com"] == answers[EMAIL]


def test_the_emails_to_one_recipient_are_limited_as_those_of_a_reset(
    api: Api, user: Any, kit: Callable[..., None]
) -> None:
    kit(THROTTLES={"mail_recipient": "2/h"})
    for _ in range(3):
        ask(api)
    api.post("password/reset", {"email": EMAIL})

    assert len(mail.outbox) == 2
    assert LoginCode.objects.count() == 2


def test_the_emails_that_a_network_causes_are_limited(api: Api, kit: Callable[..., None]) -> None:
    kit(THROTTLES={"mail_network": "2/h"})
    for _ in range(2):
        ask(api, "nobody@example.com")

    response = api.post("login/email-code/request", {"email": "nobody@example.com"})
    assert response.status_code == 429


def test_bad_challenges_of_a_network_are_limited(api: Api, kit: Callable[..., None]) -> None:
    kit(THROTTLES={"token_network": "2/m"})

    assert [log_in(api, "nakt_", WRONG).status_code for _ in range(3)] == [401, 401, 429]


# Events


@pytest.mark.security("FAC-15")
def test_each_step_is_one_event_without_code_and_address(api: Api, user: Any, audited: None) -> None:
    challenge, code = ask_and_read(api)
    log_in(api, challenge, WRONG)
    log_in(api, challenge, code)
    log_in(api, challenge, code)
    log_in(api, "nakt_", code)
    ask(api, "nobody@example.com")

    assert event_names() == [
        "login_code.requested",
        "session.login_failed",
        "session.logged_in",
        "session.login_failed",
        "session.login_failed",
        "login_code.requested",
    ]
    reasons = [event["data"]["reason"] for event in events() if event["data"]["reason"]]
    assert reasons == ["invalid_factor", "invalid_challenge", "invalid_challenge"]
    assert [event.get("subject") for event in events()] == [f"user/{user.pk}"] * 4 + [None] * 2
    assert events()[2]["data"]["details"] == {"methods": ["email"], "acr": "aal1"}
    text = str(events()).lower()
    assert EMAIL not in text
    assert code.lower() not in text
    assert code.replace("-", "").lower() not in text


def test_codes_are_pruned_when_they_have_expired(api: Api, user: Any, clock: time_machine.Traveller) -> None:
    from ninja_auth_kit.services import pruning

    ask(api)
    keep = timedelta(days=1)
    assert LoginCode not in {one.model for one in pruning.prune(keep=keep)}
    clock.shift(601)
    assert pruning.count_prunable(keep=keep)[LoginCode] == 1

    assert LoginCode in {one.model for one in pruning.prune(keep=keep)}
    assert not LoginCode.objects.exists()


def test_the_helper_says_why_there_is_no_code() -> None:
    with pytest.raises(ValueError, match="0 emails with a login code were sent"):
        emailed_code()
