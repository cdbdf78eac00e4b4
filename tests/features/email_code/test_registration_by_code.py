"""A code that registers: what is created, what of an earlier registration survives, and the choice of a username."""

from collections.abc import Callable
from typing import Any

import pytest
import time_machine
from django.contrib.auth import get_user_model
from django.contrib.auth.backends import ModelBackend
from django.core import mail
from pytest_django import Settings

from ninja_auth_kit.contrib.email_code.models import LoginCode
from ninja_auth_kit.contrib.email_code.testing import emailed_code
from ninja_auth_kit.contrib.factors.models import Factor
from ninja_auth_kit.models import EmailAddress, OneTimeToken, ShadowRegistration, SpentTicket, UserSession
from ninja_auth_kit.models.users import has_username
from ninja_auth_kit.services import proved_registration
from ninja_auth_kit.testing import issue_tokens
from tests.conftest import EMAIL, PASSWORD, Api, event_names, events, mailed_token, users_have_names
from tests.features.email_code.conftest import NAME, WRONG, answer, ask, ask_and_read, log_in, sign_up

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("registering")]

with_names = pytest.mark.skipif(not users_have_names(), reason="users have no username")


def only_user() -> Any:
    return get_user_model().objects.get()


def test_a_code_registers_an_unknown_address_and_logs_in(api: Api, audited: None) -> None:
    response = sign_up(api, *ask_and_read(api, "Ada@Example.com"))

    assert response.status_code == 200
    assert api.is_in(response.json()["access_token"])
    user = only_user()
    assert not user.has_usable_password()
    address = EmailAddress.objects.get()
    assert (address.email, address.canonical) == ("Ada@Example.com", EMAIL)
    assert address.verified_at is not None
    assert event_names() == ["login_code.requested", "user.registered", "email.verified", "session.logged_in"]
    assert events()[1]["data"]["details"] == {"replaced": False}
    if has_username():
        assert user.get_username() == NAME


def test_the_next_code_logs_in(api: Api) -> None:
    sign_up(api, *ask_and_read(api))

    assert log_in(api, *ask_and_read(api)).status_code == 200
    assert get_user_model().objects.count() == 1


def test_a_user_without_a_password_cannot_log_in_with_one_but_can_set_one(api: Api) -> None:
    token = sign_up(api, *ask_and_read(api)).json()["access_token"]

    assert api.login(password="").status_code == 401
    assert api.post("password/change", {"new_password": PASSWORD}, token=token).status_code == 204
    assert api.login().status_code == 200


# Pre-hijack


@pytest.mark.security("CODE-05")
def test_nothing_of_a_strangers_registration_survives(api: Api, audited: None) -> None:
    api.register(username="stranger")
    stranger = only_user()
    link = mailed_token()
    shadow = ShadowRegistration.objects.create(user=stranger, canonical=EMAIL, password=stranger.password)
    Factor.objects.create(user=stranger, kind="totp", confirmed_at=stranger.authkit_email.registered_at)
    planted = issue_tokens(stranger).access_token

    response = sign_up(api, *ask_and_read(api), username="owner")

    assert response.status_code == 200
    user = only_user()
    assert user.pk == stranger.pk
    assert not user.has_usable_password()
    assert api.login().status_code == 401
    assert api.post("verify-email", {"token": link, "password": PASSWORD}).status_code == 400
    assert not api.is_in(planted)
    assert api.is_in(response.json()["access_token"])
    assert not OneTimeToken.objects.exists()
    assert not ShadowRegistration.objects.filter(pk=shadow.pk).exists()
    assert not Factor.objects.exists()
    assert UserSession.objects.filter(is_active=True).count() == 1
    if has_username():
        assert user.get_username() == "owner"
    replaced = [event for event in events() if event["type"].endswith("user.registered.v1")]
    assert [event["data"]["details"]["replaced"] for event in replaced] == [False, True]


@pytest.mark.security("CODE-05", "CODE-04")
def test_a_registration_by_a_stranger_after_the_request_voids_no_code_and_is_replaced(api: Api) -> None:
    challenge, code = ask_and_read(api)
    api.register(username="stranger")

    assert sign_up(api, challenge, code, username="owner").status_code == 200

    assert only_user().has_usable_password() is False
    assert api.login().status_code == 401


@pytest.mark.security("CODE-05")
def test_a_verified_account_is_not_replaced(api: Api, make_user: Callable[..., Any]) -> None:
    challenge, code = ask_and_read(api)
    user = make_user()

    assert answer(log_in(api, challenge, code)) == (401, "invalid_challenge")

    user.refresh_from_db()
    assert user.check_password(PASSWORD)


def test_a_login_of_the_owner_before_the_code_is_entered_keeps_the_account(api: Api) -> None:
    api.register(username="owner")
    token = mailed_token()
    challenge, code = ask_and_read(api)
    assert api.post("verify-email", {"token": token, "password": PASSWORD}).status_code == 200

    assert answer(log_in(api, challenge, code)) == (401, "invalid_challenge")
    assert api.login().status_code == 200


def test_of_two_codes_for_one_address_the_first_registers(api: Api) -> None:
    first, second = ask_and_read(api), ask_and_read(api)
    assert sign_up(api, *first).status_code == 200

    assert answer(log_in(api, *second)) == (401, "invalid_challenge")
    assert get_user_model().objects.count() == 1


# What is closed


@pytest.mark.parametrize(
    "keys", [{"EMAIL_CODE": {"REGISTERS": False}}, {"REGISTRATION_OPEN": False}], ids=["REGISTERS", "OPEN"]
)
def test_no_code_registers_where_registration_is_closed(
    api: Api, kit: Callable[..., None], keys: dict[str, Any]
) -> None:
    challenge, code = ask_and_read(api)
    kit(**keys)

    assert answer(log_in(api, challenge, code)) == (401, "invalid_challenge")
    ask(api)

    assert len(mail.outbox) == 1
    assert not get_user_model().objects.exists()


def test_an_address_that_the_user_model_does_not_take_is_refused_at_the_request(api: Api) -> None:
    response = api.post("login/email-code/request", {"email": f"{'a' * 64}@{'b' * 63}.{'c' * 63}.{'d' * 63}"})

    assert response.status_code == 422


class Closed(ModelBackend):
    """A backend that lets new users in when somebody has approved them."""

    def user_can_authenticate(self, user: Any) -> bool:
        return user.is_staff


def test_a_new_user_whom_the_backend_does_not_let_in_gets_a_documented_answer_and_no_account(
    api: Api, settings: Settings
) -> None:
    challenge, code = ask_and_read(api)
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.Closed"]

    assert answer(sign_up(api, challenge, code)) == (401, "invalid_challenge")
    assert not get_user_model().objects.exists()


# Usernames


@with_names
def test_a_username_is_asked_for_and_a_taken_one_can_be_corrected(
    api: Api, make_user: Callable[..., Any], audited: None
) -> None:
    make_user("grace@example.com", username="taken")
    challenge, code = ask_and_read(api)
    answered = log_in(api, challenge, code)
    assert answered.status_code == 202
    assert answered.json().keys() == {"status", "signup_token", "expires_in"}
    assert answered.json()["expires_in"] == 600
    assert answer(log_in(api, challenge, code)) == (401, "invalid_challenge")
    assert LoginCode.objects.get().used_at is not None
    body = {"signup_token": answered.json()["signup_token"], "username": "taken"}

    taken = api.post("login/email-code/signup", body)
    assert taken.status_code == 422
    assert taken.json()["errors"][0]["code"] == "username_taken"
    assert event_names()[-1] == "user.registration_failed"
    assert api.post("login/email-code/signup", {**body, "username": ""}).status_code == 422
    done = api.post("login/email-code/signup", {**body, "username": "free"})

    assert done.status_code == 200
    assert api.get("me", token=done.json()["access_token"]).json()["username"] == "free"
    assert answer(api.post("login/email-code/signup", {**body, "username": "second"})) == (401, "invalid_challenge")
    assert get_user_model().objects.count() == 2
    assert SpentTicket.objects.count() == 2


@with_names
def test_a_signup_token_expires_after_ten_minutes(api: Api, clock: time_machine.Traveller) -> None:
    token = log_in(api, *ask_and_read(api)).json()["signup_token"]
    clock.shift(600)

    body = {"signup_token": token, "username": NAME}
    assert answer(api.post("login/email-code/signup", body)) == (401, "invalid_challenge")


@with_names
def test_a_signup_token_is_void_when_the_address_has_an_account(api: Api, make_user: Callable[..., Any]) -> None:
    token = log_in(api, *ask_and_read(api)).json()["signup_token"]
    make_user()

    body = {"signup_token": token, "username": NAME}
    assert answer(api.post("login/email-code/signup", body)) == (401, "invalid_challenge")


@with_names
def test_signups_of_a_network_are_limited(api: Api, kit: Callable[..., None]) -> None:
    token = log_in(api, *ask_and_read(api)).json()["signup_token"]
    kit(THROTTLES={"request_network": "2/m"})
    body = {"signup_token": token, "username": "not valid!"}

    assert [api.post("login/email-code/signup", body).status_code for _ in range(3)] == [422, 422, 429]


def test_a_signup_token_that_is_none_is_refused(api: Api) -> None:
    body = {"signup_token": "nakt_none", "username": NAME}

    assert answer(api.post("login/email-code/signup", body)) == (401, "invalid_challenge")


def test_wrong_codes_are_counted_as_for_any_address(api: Api) -> None:
    challenge, code = ask_and_read(api)
    assert [answer(log_in(api, challenge, WRONG))[1] for _ in range(6)] == ["invalid_factor"] * 5 + [
        "invalid_challenge"
    ]
    assert answer(log_in(api, challenge, code)) == (401, "invalid_challenge")
    assert not get_user_model().objects.exists()


# Projects


def named(values: dict[str, Any]) -> Any:
    """Create the user of a registration, as `CREATE_USER`."""
    return get_user_model()(**values, first_name="made by the project")


@with_names
def test_create_user_makes_the_user(api: Api, kit: Callable[..., None]) -> None:
    kit(CREATE_USER=f"{__name__}.named")

    assert sign_up(api, *ask_and_read(api)).status_code == 200

    assert only_user().first_name == "made by the project"


def test_claims_of_the_project_that_fail_leave_no_account(api: Api, kit: Callable[..., None]) -> None:
    challenge, code = ask_and_read(api)
    kit(ACCESS_TOKEN_CLAIMS=f"{__name__}.bad_claims")

    assert sign_up(api, challenge, code).status_code == 500

    assert not get_user_model().objects.exists()


def bad_claims(user: Any, session: Any) -> dict[str, Any]:
    return {"sub": "somebody else"}


def test_the_address_of_the_last_code_is_that_of_the_email(api: Api) -> None:
    ask(api, "one@example.com")
    ask(api, "two@example.com")

    assert emailed_code(0) != emailed_code(1)
    assert [message.to for message in mail.outbox] == [["one@example.com"], ["two@example.com"]]


def test_the_address_of_a_former_holder_is_free(api: Api, make_user: Callable[..., Any]) -> None:
    former = make_user()
    get_user_model().objects.filter(pk=former.pk).update(email="moved@example.com")

    assert sign_up(api, *ask_and_read(api)).status_code == 200

    assert EmailAddress.objects.get().user_id != former.pk
    assert get_user_model().objects.count() == 2


@with_names
def test_the_username_of_a_registration_that_has_lapsed_is_free(api: Api, clock: time_machine.Traveller) -> None:
    api.register("other@example.com", username=NAME)
    challenge, code = ask_and_read(api)
    assert sign_up(api, challenge, code).status_code == 422
    clock.shift(24 * 3600)

    assert sign_up(api, *ask_and_read(api)).status_code == 200


def test_a_registration_that_was_faster_is_replaced(
    api: Api, make_user: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = proved_registration.find_holder
    calls: list[Any] = []

    def overtaken(email: str) -> Any:
        calls.append(found(email))
        if len(calls) == 1:
            make_user(email, verified=False, **({"username": "stranger"} if has_username() else {}))
        return calls[-1]

    challenge, code = ask_and_read(api)
    monkeypatch.setattr(proved_registration, "find_holder", overtaken)

    assert sign_up(api, challenge, code).status_code == 200

    assert calls[0] is None
    assert only_user().has_usable_password() is False
    assert api.login().status_code == 401


def test_the_longest_address_fits_into_a_challenge(api: Api) -> None:
    # In JSON with escapes, each of these letters would take twelve bytes.
    label = "\U00020000" * 44
    email = f"a@{label}.{label}.{label}.example"

    assert sign_up(api, *ask_and_read(api, email)).status_code == 200
    assert EmailAddress.objects.get().email == email
