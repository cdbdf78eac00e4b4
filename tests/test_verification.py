"""Verification of an email address, over HTTP."""

import quopri
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.contrib.auth import get_user_model
from django.core import mail
from django.utils import timezone
from pytest_django import Settings

from ninja_auth_kit.models import EmailAddress, OneTimeToken, UserSession
from ninja_auth_kit.models.one_time_tokens import Purpose
from tests.conftest import EMAIL, PASSWORD, Api, event_names, mailed_token, users_have_names
from tests.servers import Server

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.user_fields]


@pytest.fixture
def token(api: Api) -> str:
    api.register()
    return mailed_token()


def verify(api: Api, token: Any, password: Any = PASSWORD) -> Any:
    return api.post("verify-email", {"token": token, "password": password})


def is_verified(email: str = EMAIL) -> bool:
    return EmailAddress.objects.filter(email=email, verified_at__isnull=False).exists()


def test_the_token_and_the_password_verify_the_address(api: Api, token: str) -> None:
    response = verify(api, token)

    assert response.status_code == 200
    assert response.json()["email"] == EMAIL
    assert is_verified()
    assert api.login().status_code == 200


@pytest.mark.security("VER-09")
def test_verification_is_not_login(api: Api, token: str, make_user: Callable[..., Any]) -> None:
    make_user("bob@example.com")
    other = api.pair("bob@example.com")

    response = verify(api, token)

    assert set(response.json()) == {"detail", "email"}
    assert not response.cookies
    assert str(UserSession.objects.get().pk) == other["session_id"]
    assert api.is_in(other["access_token"])


@pytest.mark.security("VER-02")
def test_a_token_is_good_once(api: Api, token: str) -> None:
    verify(api, token)

    response = verify(api, token)

    assert (response.status_code, response.json()["code"]) == (400, "invalid_token")


@pytest.mark.security("VER-10")
def test_a_wrong_password_gets_the_answer_of_a_wrong_token_and_uses_nothing_up(api: Api, token: str) -> None:
    wrong_password = verify(api, token, "not the password of the account")
    wrong_token = verify(api, "nako_" + "x" * 43)

    assert wrong_password.status_code == wrong_token.status_code == 400
    assert wrong_password.content == wrong_token.content
    assert verify(api, token).status_code == 200


def test_the_password_is_required_unless_the_settings_say_otherwise(
    api: Api, token: str, kit: Callable[..., None]
) -> None:
    response = api.post("verify-email", {"token": token})
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "password"

    kit(EMAIL_VERIFICATION_REQUIRES_PASSWORD=False)

    assert api.post("verify-email", {"token": token}).status_code == 200


@pytest.mark.security("VER-03")
def test_a_token_is_good_until_its_lifetime_and_no_longer(api: Api) -> None:
    with time_machine.travel(timezone.now(), tick=False) as clock:
        api.register()
        token = mailed_token()

        clock.shift(timedelta(hours=24))
        assert verify(api, token).status_code == 400
        clock.shift(timedelta(seconds=-1))
        assert verify(api, token).status_code == 200


@pytest.mark.security("VER-04")
@pytest.mark.parametrize("purpose", [Purpose.RESET_PASSWORD, Purpose.CHANGE_EMAIL])
def test_a_token_of_another_purpose_does_not_verify(api: Api, make_user: Callable[..., Any], purpose: Purpose) -> None:
    user = make_user(verified=False)
    expires_at = timezone.now() + timedelta(hours=1)
    token = OneTimeToken.objects.issue(purpose=purpose, user=user, email=EMAIL, expires_at=expires_at)

    assert verify(api, token).status_code == 400
    assert not is_verified()


@pytest.mark.security("VER-04", "JWT-11")
def test_tokens_of_a_session_do_not_verify(api: Api, user: Any) -> None:
    pair = api.pair()

    assert verify(api, pair["access_token"]).status_code == 400
    assert verify(api, pair["refresh_token"]).status_code == 400


@pytest.mark.security("VER-04")
def test_a_token_verifies_nobody_but_whom_it_was_mailed_to(api: Api, token: str) -> None:
    api.register("bob@example.com", "the password of Bob", username="bob")

    assert verify(api, token, "the password of Bob").status_code == 400
    assert verify(api, token).status_code == 200

    assert not is_verified("bob@example.com")


@pytest.mark.security("VER-04")
def test_a_token_dies_with_a_change_of_the_address(api: Api, token: str) -> None:
    get_user_model().objects.update(email="new@example.com")

    assert verify(api, token).status_code == 400
    assert not is_verified()


@pytest.mark.security("VER-05")
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_opening_the_link_uses_nothing_up(api: Api, token: str, method: str) -> None:
    for number in range(10):
        scanner = f"Mozilla/5.0 (compatible; LinkScanner/{number})"
        api(method, f"verify-email?token={token}", HTTP_USER_AGENT=scanner)

    assert not is_verified()
    assert verify(api, token).status_code == 200


@pytest.mark.security("VER-08")
def test_the_page_behind_the_link_loads_nothing_and_tells_nobody(api: Api) -> None:
    response = api.get("verify-email")

    assert response.status_code == 200
    policy = response["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'nonce-")
    assert response["Referrer-Policy"] == "no-referrer"
    assert response["Cache-Control"] == "no-store"
    page = response.content.decode()
    assert "http" not in page.replace("http-equiv", "")
    assert policy.split("'nonce-")[1].split("'")[0] in page


@pytest.mark.security("VER-07")
def test_the_link_never_follows_the_host_of_the_request(api: Api) -> None:
    forged = dict.fromkeys(("HTTP_HOST", "HTTP_X_FORWARDED_HOST", "HTTP_X_ORIGINAL_HOST"), "evil.example")
    api.post("verify-email/resend", {"email": EMAIL}, **forged)
    api.register()
    api.post("verify-email/resend", {"email": EMAIL}, **forged)

    assert len(mail.outbox) == 2
    for message in mail.outbox:
        assert "https://example.com/" in message.body
        assert "evil.example" not in message.body


@pytest.mark.security("VER-07")
def test_nor_the_host_of_an_address_in_absolute_form(servers: Callable[..., Server], tmp_path: Path) -> None:
    backend = "django.core.mail.backends.filebased.EmailBackend"
    server = servers(environment={"TEST_MAIL_BACKEND": backend, "TEST_MAIL_PATH": str(tmp_path)})
    body = {"email": EMAIL, "password": PASSWORD} | ({"username": "ada"} if users_have_names() else {})

    assert server.request("POST", "http://evil.example/api/auth/register", body)[0] == 202
    server.stop()

    (text,) = (quopri.decodestring(path.read_bytes()).decode(errors="replace") for path in tmp_path.iterdir())
    assert "https://example.com/" in text
    assert "evil.example" not in text


def test_the_link_can_point_at_a_front_end(api: Api, kit: Callable[..., None]) -> None:
    kit(FRONTEND_URLS={"verify_email": "https://app.example.com/verify"})

    api.register()

    assert "https://app.example.com/verify#token=nako_" in mail.outbox[0].body


def test_a_host_replaces_a_mail_by_a_template_of_the_same_path(api: Api, settings: Settings, tmp_path: Any) -> None:
    folder = tmp_path / "ninja_auth_kit" / "email"
    folder.mkdir(parents=True)
    (folder / "verify_email_subject.txt").write_text("Welcome\nto us")
    (engine,) = settings.TEMPLATES
    settings.TEMPLATES = [{**engine, "DIRS": [tmp_path]}]

    api.register()

    assert mail.outbox[0].subject == "Welcome to us"


@pytest.mark.security("VER-01")
def test_an_unverified_user_cannot_log_in_and_is_told_after_the_right_password_alone(api: Api) -> None:
    api.register()

    right, wrong = api.login(), api.login(password="wrong wrong wrong")

    assert (right.status_code, right.json()["code"]) == (403, "email_not_verified")
    assert (wrong.status_code, wrong.json()["code"]) == (401, "invalid_credentials")
    assert not UserSession.objects.exists()


@pytest.mark.security("VER-11")
def test_verification_does_not_undo_a_ban(api: Api, token: str) -> None:
    get_user_model().objects.update(is_active=False)

    verify(api, token)

    assert api.login().status_code == 401


@pytest.mark.security("VER-06", "CRED-07")
def test_resend_answers_alike_for_every_address(api: Api, make_user: Callable[..., Any]) -> None:
    make_user("verified@example.com")
    make_user("pending@example.com", verified=False)
    make_user("disabled@example.com", verified=False, is_active=False)
    addresses = ["nobody@example.com", "verified@example.com", "pending@example.com", "disabled@example.com"]

    answers = [api.post("verify-email/resend", {"email": address}) for address in addresses]

    assert {answer.status_code for answer in answers} == {202}
    assert len({(answer.content, str(sorted(answer.headers.items()))) for answer in answers}) == 1
    assert [message.to for message in mail.outbox] == [["pending@example.com"]]


@pytest.mark.security("VER-06")
@pytest.mark.security("VER-06")
@pytest.mark.parametrize("chosen", [0, 1, 2])
def test_each_of_several_links_works_until_one_of_them_is_used(api: Api, token: str, chosen: int) -> None:
    links = [token]
    for spelling in (EMAIL, EMAIL.upper()):
        api.post("verify-email/resend", {"email": spelling})
        links.append(mailed_token())

    assert verify(api, links[chosen]).status_code == 200
    assert {verify(api, link).status_code for link in links} == {400}


def test_the_link_of_an_earlier_registration_takes_the_password_of_the_last_one(api: Api, token: str) -> None:
    api.register(password="the second password of Ada")

    assert verify(api, token).status_code == 400
    assert verify(api, token, "the second password of Ada").status_code == 200


def test_a_user_from_before_the_kit_verifies_through_resend(api: Api, make_user: Callable[..., Any]) -> None:
    make_user()
    EmailAddress.objects.all().delete()
    assert api.login().json()["code"] == "email_not_verified"

    api.post("verify-email/resend", {"email": EMAIL})
    assert verify(api, mailed_token()).status_code == 200

    assert api.login().status_code == 200


def test_an_address_that_an_administrator_changes_must_be_verified_again(api: Api, user: Any) -> None:
    get_user_model().objects.update(email="new@example.com")

    assert api.login("new@example.com").json()["code"] == "email_not_verified"
    assert api.login(EMAIL).json()["code"] == "invalid_credentials"

    api.post("verify-email/resend", {"email": "new@example.com"})
    assert verify(api, mailed_token()).status_code == 200
    assert api.login("new@example.com").status_code == 200


def test_an_address_that_its_former_user_has_left_can_be_verified_by_another(
    api: Api, make_user: Callable[..., Any]
) -> None:
    ada = make_user()
    bob = make_user("bob@example.com")
    type(ada).objects.filter(pk=ada.pk).update(email="elsewhere@example.com")
    type(bob).objects.filter(pk=bob.pk).update(email=EMAIL)

    api.post("verify-email/resend", {"email": EMAIL})
    assert verify(api, mailed_token()).status_code == 200

    assert api.get("me", token=api.pair()["access_token"]).json()["id"] == str(bob.pk)


def test_resend_of_what_is_no_address_is_an_input_error(api: Api) -> None:
    response = api.post("verify-email/resend", {"email": "nonsense"})

    assert response.status_code == 422
    assert response.json()["errors"] == [
        {
            "field": "email",
            "code": "invalid_email",
            "message": "This email address is not valid. Check it and try again.",
        }
    ]


@pytest.mark.race
@pytest.mark.security("VER-02")
def test_of_twenty_verifications_at_once_one_succeeds(
    servers: Callable[..., Server], api: Api, token: str, audited: None
) -> None:
    server = servers(environment={"TEST_RABBITMQ_HOST": "127.0.0.1"})
    call = ("POST", "/api/auth/verify-email", {"token": token, "password": PASSWORD})

    answers = server.race(*[call] * 20)

    assert sorted(status for status, _ in answers) == [200] + [400] * 19
    assert event_names().count("email.verified") == 1
