"""Changing a password, and resetting it by email, over HTTP."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from smtplib import SMTPRecipientsRefused
from typing import Any

import pytest
import time_machine
from django.contrib.auth import get_user_model
from django.core import mail
from django.db import connection
from django.utils import timezone

from ninja_auth_kit.models import BlacklistedToken, EmailAddress, OneTimeToken, UserSession
from ninja_auth_kit.models.one_time_tokens import Purpose
from tests.conftest import EMAIL, PASSWORD, Api, event_names, mailed_token
from tests.servers import Server

pytestmark = pytest.mark.django_db(transaction=True)

NEW_PASSWORD = "another horse, another battery"


def change(api: Api, token: str | None, current: str = PASSWORD, new: str = NEW_PASSWORD) -> Any:
    return api.post("password/change", {"current_password": current, "new_password": new}, token=token)


def ask(api: Api, email: str = EMAIL) -> str:
    """Request a reset link and return the token of the email."""
    assert api.post("password/reset", {"email": email}).status_code == 202
    return mailed_token()


def confirm(api: Api, token: str, new: str = NEW_PASSWORD) -> Any:
    return api.post("password/reset/confirm", {"token": token, "new_password": new})


def is_refused(response: Any) -> bool:
    return (response.status_code, response.json()["code"]) == (400, "invalid_token")


@pytest.mark.security("CRED-16", "SES-14")
def test_a_changed_password_ends_every_other_session_and_keeps_this_one(
    api: Api, user: Any, kit: Callable[..., None]
) -> None:
    kit(SESSION_LIMIT=3)
    others = [api.pair(), api.pair()]
    this = api.pair()

    assert change(api, this["access_token"]).status_code == 204

    assert api.is_in(this["access_token"])
    assert api.post("refresh", {"refresh_token": this["refresh_token"]}).status_code == 200
    for pair in others:
        assert not api.is_in(pair["access_token"])
        assert api.post("refresh", {"refresh_token": pair["refresh_token"]}).status_code == 401
    assert BlacklistedToken.objects.count() == 2
    assert api.login().status_code == 401
    assert api.login(password=NEW_PASSWORD).status_code == 200


@pytest.mark.security("CRED-16")
def test_the_owner_is_told_of_a_changed_password_by_mail_without_a_secret(api: Api, user: Any) -> None:
    change(api, api.pair()["access_token"])

    (message,) = mail.outbox
    assert message.to == [EMAIL]
    assert "changed" in str(message.subject)
    assert NEW_PASSWORD not in str(message.message())
    assert "token" not in str(message.body)


@pytest.mark.security("CRED-16")
def test_without_the_current_password_nothing_changes(api: Api, user: Any, audited: None) -> None:
    pair = api.pair()

    response = change(api, pair["access_token"], current="not the password of the account")

    assert (response.status_code, response.json()["code"]) == (403, "wrong_password")
    assert api.post("password/change", {"new_password": NEW_PASSWORD}, token=pair["access_token"]).status_code == 422
    assert change(api, None).status_code == 401
    assert api.login().status_code == 200
    assert event_names()[1] == "password.change_failed"
    assert mail.outbox == []


def test_a_weak_new_password_is_refused_under_its_own_name(api: Api, user: Any) -> None:
    response = change(api, api.pair()["access_token"], new="short")

    assert response.status_code == 422
    assert {error["field"] for error in response.json()["errors"]} == {"new_password"}
    assert api.login().status_code == 200


@pytest.mark.security("CRED-17")
def test_a_changed_password_voids_the_links_for_a_new_one(api: Api, user: Any) -> None:
    pair = api.pair()
    token = ask(api)

    change(api, pair["access_token"])

    assert is_refused(confirm(api, token))


@pytest.mark.race
def test_of_many_changes_at_once_one_counts(servers: Callable[..., Server], api: Api, user: Any) -> None:
    server = servers()
    _, pair = server.request("POST", "/api/auth/login", {"email": EMAIL, "password": PASSWORD})
    passwords = [f"a new password, number {number}" for number in range(8)]
    bodies = [{"current_password": PASSWORD, "new_password": new} for new in passwords]

    answers = server.race(
        *[("POST", "/api/auth/password/change", body) for body in bodies], token=pair["access_token"]
    )

    statuses = [status for status, _ in answers]
    assert statuses.count(204) == 1
    assert set(statuses) <= {204, 401, 403}
    assert server.request("GET", "/api/auth/me", token=pair["access_token"])[0] == 200
    user.refresh_from_db()
    assert user.check_password(passwords[statuses.index(204)])


@pytest.mark.security("CRED-17", "SES-14")
def test_a_mailed_token_sets_a_new_password_and_ends_all_sessions(
    api: Api, user: Any, kit: Callable[..., None]
) -> None:
    kit(SESSION_LIMIT=2)
    pairs = [api.pair(), api.pair()]
    token = ask(api)
    assert "https://example.com/api/auth/password/reset#token=nako_" in str(mail.outbox[-1].body)

    response = confirm(api, token)

    assert (response.status_code, response.content) == (204, b"")
    assert not response.cookies
    for pair in pairs:
        assert not api.is_in(pair["access_token"])
    assert api.login().status_code == 401
    assert api.login(password=NEW_PASSWORD).status_code == 200
    assert "changed" in str(mail.outbox[-1].subject)


def test_a_reset_proves_the_address(api: Api) -> None:
    api.register()
    verification = mailed_token()

    assert confirm(api, ask(api)).status_code == 204

    assert api.login(password=NEW_PASSWORD).status_code == 200
    assert is_refused(api.post("verify-email", {"token": verification, "password": NEW_PASSWORD}))


@pytest.mark.security("CRED-07")
@pytest.mark.parametrize("sets_first", [True, False])
def test_asking_for_a_link_tells_nothing(
    api: Api, make_user: Callable[..., Any], kit: Callable[..., None], sets_first: bool
) -> None:
    kit(USERS_SET_FIRST_PASSWORD=sets_first)
    make_user()
    make_user("disabled@example.com", is_active=False)
    make_user("passwordless@example.com", password=None)
    addresses = [EMAIL, "disabled@example.com", "passwordless@example.com", "nobody@example.com"]

    answers = [api.post("password/reset", {"email": address}) for address in addresses]

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    assert [message.to for message in mail.outbox] == [[EMAIL], ["passwordless@example.com"]][: 1 + sets_first]


@pytest.mark.security("CRED-07")
@pytest.mark.parametrize("path", ["password/reset", "verify-email/resend"])
def test_a_mail_server_that_fails_is_not_noticed_and_the_log_names_nobody(
    api: Api,
    make_user: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    path: str,
) -> None:
    make_user(verified=path == "password/reset")

    def refuse(self: Any, messages: Any) -> None:
        raise SMTPRecipientsRefused({EMAIL: (550, b"no")})

    monkeypatch.setattr("django.core.mail.backends.locmem.EmailBackend.send_messages", refuse)

    known, unknown = (api.post(path, {"email": email}) for email in (EMAIL, "nobody@example.com"))

    assert (known.status_code, known.content) == (unknown.status_code, unknown.content)
    assert known.status_code == 202
    assert "SMTPRecipientsRefused" in caplog.text
    assert EMAIL not in caplog.text


@pytest.mark.security("CRED-09")
def test_the_link_goes_to_the_address_of_the_account_and_not_to_the_one_typed(api: Api, user: Any) -> None:
    api.post("password/reset", {"email": "ADA@Example.COM"})

    assert mail.outbox[0].to == [EMAIL]


@pytest.mark.security("CRED-17")
def test_a_link_is_good_once_and_for_an_hour(api: Api, user: Any) -> None:
    with time_machine.travel(timezone.now(), tick=False) as clock:
        late = ask(api)
        clock.shift(timedelta(minutes=60))
        assert is_refused(confirm(api, late))

        in_time = ask(api)
        clock.shift(timedelta(minutes=59))
        assert confirm(api, in_time).status_code == 204
        assert is_refused(confirm(api, in_time, "yet another password, the third"))


@pytest.mark.security("CRED-17")
@pytest.mark.parametrize("chosen", [0, 1, 2])
def test_each_of_several_links_works_until_one_of_them_is_used(api: Api, user: Any, chosen: int) -> None:
    links = [ask(api) for _ in range(3)]

    assert confirm(api, links[chosen]).status_code == 204

    assert all(is_refused(confirm(api, link, "yet another password, the third")) for link in links)


@pytest.mark.race
def test_of_several_links_that_are_used_at_the_same_time_one_wins(api: Api, user: Any) -> None:
    links = [ask(api) for _ in range(4)]

    def use(link: str) -> int:
        try:
            return int(confirm(Api(), link, f"the password of {link[-8:]}").status_code)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        statuses = list(threads.map(use, links))

    assert sorted(statuses) == [204, 400, 400, 400]
    user.refresh_from_db()
    assert user.check_password(f"the password of {links[statuses.index(204)][-8:]}")


def log_in(api: Api, user: Any) -> None:
    api.login()


def set_password_in_a_shell(api: Api, user: Any) -> None:
    user.set_password("set in a shell, without the kit")
    user.save()


def change_the_address(api: Api, user: Any) -> None:
    get_user_model().objects.update(email="new@example.com")


def disable(api: Api, user: Any) -> None:
    get_user_model().objects.update(is_active=False)


@pytest.mark.security("CRED-17")
@pytest.mark.parametrize("happen", [log_in, set_password_in_a_shell, change_the_address, disable])
def test_a_link_is_void_when_something_newer_happened(api: Api, user: Any, happen: Callable[[Api, Any], None]) -> None:
    token = ask(api)

    happen(api, user)

    user.refresh_from_db()
    before = user.password
    assert is_refused(confirm(api, token))
    user.refresh_from_db()
    assert user.password == before


@pytest.mark.security("CRED-17", "VER-04", "JWT-11")
def test_tokens_of_another_purpose_set_no_password(api: Api, user: Any) -> None:
    later = timezone.now() + timedelta(hours=1)
    for purpose in (Purpose.VERIFY_EMAIL, Purpose.CHANGE_EMAIL):
        token = OneTimeToken.objects.issue(purpose=purpose, user=user, email=EMAIL, expires_at=later)
        assert is_refused(confirm(api, token))
    pair = api.pair()
    for token in (pair["access_token"], pair["refresh_token"], "nako_" + "x" * 43):
        assert is_refused(confirm(api, token))


def test_a_weak_password_does_not_use_the_link_up(api: Api, user: Any) -> None:
    token = ask(api)

    response = confirm(api, token, "short")

    assert response.status_code == 422
    assert {error["field"] for error in response.json()["errors"]} == {"new_password"}
    assert confirm(api, token).status_code == 204


def test_a_reset_of_an_address_that_another_has_proved_since_is_refused(
    api: Api, make_user: Callable[..., Any]
) -> None:
    user = make_user(verified=False)
    EmailAddress.objects.all().delete()
    token = ask(api)
    make_user("other@example.com")
    EmailAddress.objects.update(canonical=EMAIL)
    get_user_model().objects.filter(email="other@example.com").update(email=EMAIL.upper())

    assert is_refused(confirm(api, token))
    user.refresh_from_db()
    assert user.check_password(PASSWORD)


@pytest.mark.race
@pytest.mark.security("CRED-17")
def test_of_twenty_confirmations_at_once_one_counts(servers: Callable[..., Server], api: Api, user: Any) -> None:
    token = ask(api)
    server = servers()
    passwords = [f"a new password, number {number}" for number in range(20)]

    answers = server.race(
        *[("POST", "/api/auth/password/reset/confirm", {"token": token, "new_password": new}) for new in passwords]
    )

    statuses = [status for status, _ in answers]
    assert sorted(statuses) == [204] + [400] * 19
    user.refresh_from_db()
    assert user.check_password(passwords[statuses.index(204)])


@pytest.mark.security("SES-11")
@pytest.mark.race
def test_a_reset_leaves_no_session_of_the_old_password_however_it_races_with_logins(
    servers: Callable[..., Server], api: Api, make_user: Callable[..., Any]
) -> None:
    server = servers(SESSION_LIMIT=None)
    for number in range(10):
        email = f"u{number}@example.com"
        make_user(email)
        token = ask(api, email)
        login = ("POST", "/api/auth/login", {"email": email, "password": PASSWORD})
        reset = ("POST", "/api/auth/password/reset/confirm", {"token": token, "new_password": NEW_PASSWORD})

        answers = server.race(login, login, reset, login)

        assert {status for status, _ in answers} <= {200, 204, 400, 401}
        if answers[2][0] == 204:
            assert not UserSession.objects.filter(user__email=email, is_active=True).exists()


def test_the_page_of_the_link_sends_the_token_to_the_confirmation_and_uses_nothing_up(api: Api, user: Any) -> None:
    token = ask(api)

    for method in ("GET", "HEAD", "OPTIONS"):
        page = api(method, "password/reset")
    page = api.get("password/reset")

    assert page["Content-Type"] == "text/html; charset=utf-8"
    assert '"/confirm"' in page.content.decode()
    assert 'autocomplete="new-password"' in page.content.decode()
    assert "default-src 'none'" in page["Content-Security-Policy"]
    assert confirm(api, token).status_code == 204


@pytest.mark.security("SES-19", "VER-04")
def test_whoever_writes_to_the_database_cannot_point_a_mailed_token_at_another_account(
    api: Api, user: Any, make_user: Callable[..., Any]
) -> None:
    mallory = make_user("mallory@example.com")
    for email in (EMAIL, "mallory@example.com"):
        api.post("password/reset", {"email": email})
    token = mailed_token()
    theirs = OneTimeToken.objects.get(user=user)
    theirs.delete()
    OneTimeToken.objects.filter(user=mallory).update(user=user, email=theirs.email, auth_hash=theirs.auth_hash)

    reset = {"token": token, "new_password": "the password of mallory"}

    assert api.post("password/reset/confirm", reset).status_code == 400
    assert api.login().status_code == 200


def test_a_reset_gives_a_user_of_a_social_login_the_first_password(api: Api, make_user: Callable[..., Any]) -> None:
    user = make_user(password=None, verified=False)
    assert api.login().status_code == 401

    token = ask(api)
    assert "does not have a password yet" in mail.outbox[-1].body
    assert confirm(api, token).status_code == 204

    assert api.login(password=NEW_PASSWORD).status_code == 200
    assert EmailAddress.objects.get(user=user).verified_at is not None
    assert is_refused(confirm(api, token))


def test_a_user_without_a_password_and_without_an_address_row_gets_both_by_a_reset(
    api: Api, make_user: Callable[..., Any]
) -> None:
    user = make_user(password=None)
    EmailAddress.objects.filter(user=user).delete()  # like a user of create_user()

    assert confirm(api, ask(api)).status_code == 204

    assert api.login(password=NEW_PASSWORD).status_code == 200


def test_a_project_can_keep_users_of_a_directory_without_a_password(
    api: Api, make_user: Callable[..., Any], kit: Callable[..., None]
) -> None:
    make_user(password=None)
    token = ask(api)
    kit(USERS_SET_FIRST_PASSWORD=False)

    assert is_refused(confirm(api, token))
    api.post("password/reset", {"email": EMAIL})

    assert len(mail.outbox) == 1
    assert not get_user_model()._default_manager.get().has_usable_password()


def test_taking_the_password_away_voids_the_links_that_were_sent_before(api: Api, user: Any) -> None:
    token = ask(api)
    user.set_unusable_password()
    user.save()

    assert is_refused(confirm(api, token))


@pytest.mark.parametrize("sets_first", [True, False])
def test_no_email_tells_users_to_log_in_with_a_password_that_they_lack(
    api: Api, make_user: Callable[..., Any], kit: Callable[..., None], sets_first: bool
) -> None:
    kit(USERS_SET_FIRST_PASSWORD=sets_first)
    make_user(password=None)
    make_user("waits@example.com", password=None, verified=False)

    api.register(username="somebody_else")
    api.post("verify-email/resend", {"email": "waits@example.com"})

    (message,) = mail.outbox  # none asks for "the password that was chosen at registration"
    ((html, _kind),) = message.alternatives  # type: ignore[attr-defined]
    for text in (str(message.body), html):
        assert "log in with your password" not in text
        assert ("Request a password reset to choose one" in text) is sets_first
        assert ("log in the way you have done so far" in text) is not sets_first


def test_a_link_that_needs_no_password_goes_to_users_without_one(
    api: Api, make_user: Callable[..., Any], kit: Callable[..., None]
) -> None:
    kit(EMAIL_VERIFICATION_REQUIRES_PASSWORD=False)
    user = make_user(password=None, verified=False)

    api.post("verify-email/resend", {"email": EMAIL})
    assert api.post("verify-email", {"token": mailed_token()}).status_code == 200

    assert EmailAddress.objects.get(user=user).verified_at is not None
