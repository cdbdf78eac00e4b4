"""Changing the email address of an account, over HTTP."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth import get_user_model
from django.core import mail
from django.utils import timezone

from ninja_auth_kit import emails
from ninja_auth_kit.conf import DEFAULT_THROTTLES
from ninja_auth_kit.models import EmailAddress, OneTimeToken, ShadowRegistration
from ninja_auth_kit.models.one_time_tokens import Purpose
from ninja_auth_kit.services import email_change
from tests.conftest import EMAIL, PASSWORD, Api, event_names, mailed_token, users_have_names
from tests.servers import Server

pytestmark = pytest.mark.django_db(transaction=True)

NEW = "Ada.Lovelace@example.org"


def ask(api: Api, token: str, email: str = NEW, password: str = PASSWORD) -> Any:
    return api.post("email/change", {"new_email": email, "password": password}, token=token)


def confirm(api: Api, token: str) -> Any:
    return api.post("email/change/confirm", {"token": token})


def link_for(api: Api, email: str = NEW) -> str:
    """Log in, request a change of address, and return the token of the email to the new address."""
    assert ask(api, api.pair()["access_token"], email).status_code == 202
    (index,) = [number for number, message in enumerate(mail.outbox) if message.to == [email]]
    return mailed_token(index)


def is_refused(response: Any) -> bool:
    return (response.status_code, response.json()["code"]) == (400, "invalid_token")


@pytest.mark.security("SES-17")
def test_the_link_gives_the_account_its_new_address_and_ends_all_sessions(api: Api, user: Any) -> None:
    pair = api.pair()
    ask(api, pair["access_token"])
    user.refresh_from_db()
    assert user.email == EMAIL
    assert "https://example.com/api/auth/email/change#token=nako_" in str(mail.outbox[0].body)

    response = confirm(api, mailed_token(0))

    assert (response.status_code, response.content) == (204, b"")
    user.refresh_from_db()
    assert user.email == NEW
    assert user.authkit_email.canonical == NEW.lower()
    assert user.authkit_email.verified_at is not None
    assert not api.is_in(pair["access_token"])
    assert api.login().status_code == 401
    assert api.login(NEW).status_code == 200
    assert not EmailAddress.objects.filter(canonical=EMAIL).exists()


@pytest.mark.security("SES-17")
def test_the_former_address_is_told_when_it_is_asked_for_and_when_it_is_done(api: Api, user: Any) -> None:
    confirm(api, link_for(api))

    to_the_former = [str(message.body) for message in mail.outbox if message.to == [EMAIL]]
    assert len(to_the_former) == 2
    assert not any("token" in text or NEW in text for text in to_the_former)


@pytest.mark.security("SES-17")
def test_without_the_password_nothing_is_asked_for(api: Api, user: Any, audited: None) -> None:
    response = ask(api, api.pair()["access_token"], password="not the password of the account")

    assert (response.status_code, response.json()["code"]) == (403, "wrong_password")
    assert mail.outbox == []
    assert event_names() == ["session.logged_in", "email.change_failed"]


@pytest.mark.parametrize("address", ["no address", "ada@[127.0.0.1]", "ada@example.com\n", EMAIL, EMAIL.upper()])
def test_what_is_no_other_address_is_refused(api: Api, user: Any, address: str) -> None:
    response = ask(api, api.pair()["access_token"], address)

    assert response.status_code == 422
    assert {error["field"] for error in response.json()["errors"]} == {"new_email"}
    assert mail.outbox == []


@pytest.mark.security("CRED-01")
def test_an_address_in_use_gets_the_same_answer_and_no_link(api: Api, make_user: Callable[..., Any]) -> None:
    make_user()
    make_user("grace@example.com")
    token = api.pair()["access_token"]

    used, free = ask(api, token, "grace@example.com"), ask(api, token, NEW)

    assert used.status_code == free.status_code == 202
    assert used.content == free.content
    (notice,) = [message for message in mail.outbox if message.to == ["grace@example.com"]]
    assert "token" not in str(notice.body)


@pytest.mark.security("CRED-01")
@pytest.mark.parametrize("address", ["grace@example.com", "free@example.com"])
def test_an_older_link_dies_whether_or_not_the_next_address_is_in_use(
    api: Api, make_user: Callable[..., Any], address: str
) -> None:
    make_user()
    make_user("grace@example.com")
    older = link_for(api)

    ask(api, api.pair()["access_token"], address)

    assert is_refused(confirm(api, older))


def test_a_link_that_is_mailed_late_does_not_outlive_a_change(
    api: Api, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    late: list[Callable[[], None]] = []
    token = link_for(api)
    with monkeypatch.context() as delayed:
        delayed.setattr(emails, "after_answer", lambda job, using: late.append(job))
        ask(api, api.pair()["access_token"], "third@example.org")
    # The second request has not invalidated the first link, because its job is still waiting.
    assert confirm(api, token).status_code == 204
    sent = len(mail.outbox)

    for job in late:
        job()

    # The notice to the old address, without a link.
    assert [message.to for message in mail.outbox[sent:]] == [[EMAIL]]
    assert not OneTimeToken.objects.filter(used_at=None).exists()


def test_a_registration_that_is_verified_in_the_meantime_keeps_its_address(
    api: Api, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = link_for(api)
    api.register(NEW, "the password of its owner")
    found = email_change.find_holders

    def verified_after_the_look(email: str) -> Any:
        holders = found(email)
        EmailAddress.objects.filter(canonical=NEW.lower()).update(verified_at=timezone.now())
        return holders

    monkeypatch.setattr(email_change, "find_holders", verified_after_the_look)

    assert is_refused(confirm(api, token))
    assert get_user_model().objects.filter(email=NEW).exists()


def test_an_address_that_the_host_has_given_somebody_beside_a_waiting_registration_is_in_use(
    api: Api, user: Any
) -> None:
    token = link_for(api)
    api.register(NEW, "the password of a squatter")
    name = {"username": "hostmade"} if users_have_names() else {}
    get_user_model().objects.create(email=NEW.upper(), **name)

    assert is_refused(confirm(api, token))
    assert get_user_model().objects.count() == 3


def test_an_address_that_somebody_took_in_the_meantime_stays_theirs(
    api: Api, user: Any, make_user: Callable[..., Any]
) -> None:
    token = link_for(api)
    make_user(NEW)

    assert is_refused(confirm(api, token))
    user.refresh_from_db()
    assert user.email == EMAIL


def test_a_registration_that_never_was_verified_does_not_keep_an_address_from_its_owner(api: Api, user: Any) -> None:
    token = link_for(api)
    api.register(NEW, "the password of a squatter")

    assert confirm(api, token).status_code == 204

    assert get_user_model().objects.get().pk == user.pk
    assert api.login(NEW).status_code == 200


def change_the_password(user: Any) -> None:
    user.set_password("set in a shell, without the kit")
    user.save()


def disable(user: Any) -> None:
    get_user_model().objects.update(is_active=False)


def expire(user: Any) -> None:
    OneTimeToken.objects.update(expires_at=timezone.now())


@pytest.mark.parametrize("happen", [change_the_password, disable, expire])
def test_a_link_is_void_when_something_newer_happened(api: Api, user: Any, happen: Callable[[Any], None]) -> None:
    token = link_for(api)

    happen(user)

    assert is_refused(confirm(api, token))


def test_a_link_is_good_once_and_only_the_newest_is(api: Api, user: Any) -> None:
    first = link_for(api)
    second = link_for(api, "third@example.org")

    assert is_refused(confirm(api, first))
    assert confirm(api, second).status_code == 204
    assert is_refused(confirm(api, second))


@pytest.mark.parametrize("chosen", [0, 1])
def test_each_of_several_links_to_one_address_works_until_one_of_them_is_used(
    api: Api, user: Any, chosen: int
) -> None:
    links = [link_for(api)]
    mail.outbox.clear()
    links.append(link_for(api))

    assert confirm(api, links[chosen]).status_code == 204
    assert all(is_refused(confirm(api, link)) for link in links)


@pytest.mark.security("CRED-07")
@pytest.mark.parametrize("is_in_use", [True, False])
def test_that_an_older_link_lives_on_does_not_tell_whether_the_next_address_has_had_its_mails(
    api: Api, make_user: Callable[..., Any], kit: Callable[..., None], is_in_use: bool
) -> None:
    kit(THROTTLES=DEFAULT_THROTTLES)
    make_user()
    if is_in_use:
        make_user("victim@example.com")
    token = api.pair()["access_token"]
    api.post("email/change", {"new_email": "mine@example.com", "password": PASSWORD}, token=token)
    older = mailed_token(-2)
    for _ in range(3):
        api.post("password/reset", {"email": "victim@example.com"})

    api.post("email/change", {"new_email": "victim@example.com", "password": PASSWORD}, token=token)

    assert api.post("email/change/confirm", {"token": older}).status_code == 400


def test_of_two_changes_the_one_asked_for_last_counts_in_whatever_order_their_mails_leave(
    api: Api, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, jobs = api.pair()["access_token"], list[Callable[[], None]]()
    monkeypatch.setattr(emails, "after_answer", lambda job, using: jobs.append(job))
    for address in ("slip@example.com", "right@example.com"):
        body = {"new_email": address, "password": PASSWORD}
        assert api.post("email/change", body, token=token).status_code == 202

    for job in reversed(jobs):
        job()

    links = [message for message in mail.outbox if "#token=" in str(message.body)]
    assert [message.to for message in links] == [["right@example.com"]]
    assert api.post("email/change/confirm", {"token": mailed_token(mail.outbox.index(links[0]))}).status_code == 204


def test_a_link_is_good_for_a_day(api: Api, user: Any) -> None:
    with time_machine.travel(timezone.now(), tick=False) as clock:
        token = link_for(api)
        clock.shift(timedelta(hours=24))
        assert is_refused(confirm(api, token))


@pytest.mark.security("VER-04")
def test_tokens_of_another_purpose_change_no_address(api: Api, user: Any) -> None:
    later = timezone.now() + timedelta(hours=1)
    for purpose in (Purpose.VERIFY_EMAIL, Purpose.RESET_PASSWORD):
        token = OneTimeToken.objects.issue(purpose=purpose, user=user, email=NEW, expires_at=later)
        assert is_refused(confirm(api, token))


@pytest.mark.security("SES-17")
def test_a_change_voids_every_other_link_and_the_shadow_of_the_former_address(api: Api, user: Any) -> None:
    api.register(username="other")
    api.post("password/reset", {"email": EMAIL})
    reset = mailed_token()
    token = link_for(api)

    confirm(api, token)

    assert is_refused(
        api.post("password/reset/confirm", {"token": reset, "new_password": "another horse, another battery"})
    )
    assert not ShadowRegistration.objects.exists()


@pytest.mark.race
def test_of_two_accounts_that_confirm_one_address_at_once_one_gets_it(
    servers: Callable[..., Server], api: Api, make_user: Callable[..., Any]
) -> None:
    server = servers()
    for number in range(8):
        tokens = []
        for name in ("a", "b"):
            address = f"{name}{number}@example.com"
            user = make_user(address)
            later = timezone.now() + timedelta(hours=1)
            email = f"new{number}@example.com"
            tokens.append(
                OneTimeToken.objects.issue(purpose=Purpose.CHANGE_EMAIL, user=user, email=email, expires_at=later)
            )

        answers = server.race(*[("POST", "/api/auth/email/change/confirm", {"token": token}) for token in tokens])

        assert sorted(status for status, _ in answers) == [204, 400]
        assert get_user_model().objects.filter(email=f"new{number}@example.com").count() == 1


def test_the_page_of_the_link_uses_nothing_up(api: Api, user: Any) -> None:
    token = link_for(api)

    page = api.get("email/change")

    assert '"/confirm"' in page.content.decode()
    assert confirm(api, token).status_code == 204


@pytest.mark.security("SES-19", "VER-04")
def test_whoever_writes_to_the_database_cannot_give_a_mailed_token_another_address(api: Api, user: Any) -> None:
    token = api.pair()["access_token"]
    api.post("email/change", {"new_email": "new@example.com", "password": PASSWORD}, token=token)
    OneTimeToken.objects.update(email="never.proved@example.com")

    assert api.post("email/change/confirm", {"token": mailed_token(-2)}).status_code == 400
