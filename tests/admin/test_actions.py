"""The admin's actions: what they change, what they skip, and what the audit trail records."""

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.core import mail
from pytest_django import Settings

from ninja_auth_kit.models import (
    AuditDeferred,
    AuditOutbox,
    BlacklistedToken,
    EmailAddress,
    OneTimeToken,
    UserSession,
)
from tests.admin.conftest import Pages, told
from tests.conftest import EMAIL, PASSWORD, Api, events, mailed_token

pytestmark = pytest.mark.django_db(transaction=True)


def last_event(name: str) -> dict[str, Any]:
    """Return the only event of that type."""
    (event,) = [event for event in events() if event["type"] == f"ninja-auth-kit.{name}.v1"]
    return event


def history(pages: Pages, row: Any) -> str:
    return str(pages.page(type(row), "history", row.pk).content.decode())


@pytest.mark.security("SES-22")
def test_an_ended_session_is_out_on_the_next_request(
    pages: Pages, api: Api, make_user: Callable[..., Any], kit: Callable[..., None]
) -> None:
    kit(SESSION_LIMIT=2)
    make_user()
    make_user("grace@example.com")
    stolen, other, grace = api.pair(), api.pair(), api.pair("grace@example.com")
    chosen = [UserSession.objects.get(pk=pair["session_id"]) for pair in (stolen, grace)]

    response = pages.act(UserSession, "end_selected", *chosen)

    assert told(response) == ["2 sessions were ended."]
    assert [api.is_in(pair["access_token"]) for pair in (stolen, other, grace)] == [False, True, False]
    assert api.post("refresh", {"refresh_token": stolen["refresh_token"]}).status_code == 401
    assert BlacklistedToken.objects.count() == 2
    assert {session.end_reason for session in UserSession.objects.filter(is_active=False)} == {"revoked"}
    assert "Ended the session." in history(pages, chosen[0])


@pytest.mark.security("AUD-01")
def test_each_ended_session_is_one_event_that_says_who_ended_it(pages: Pages, api: Api, user: Any) -> None:
    session = UserSession.objects.get(pk=api.pair()["session_id"])

    pages.act(UserSession, "end_selected", session)

    event = last_event("session.revoked")
    assert event["authtype"] == "user"
    assert event["subject"] == f"user/{user.pk}"
    assert event["data"]["reason"] == "revoked"
    assert event["data"]["actor"] == {"type": "admin", "id": str(pages.user.pk)}
    assert event["data"]["target"]["id"] == str(user.pk)
    assert event["data"]["session"] == {"id": str(session.pk)}
    assert event["data"]["client"] == {"ip": "192.0.2.7", "user_agent": "the admin's browser"}


def test_an_administrator_is_told_in_the_language_of_the_site(
    pages: Pages, api: Api, user: Any, settings: Settings
) -> None:
    for _ in range(3):
        api.login()
    settings.LANGUAGE_CODE = "de"

    listed = pages.list(UserSession).content.decode()
    response = pages.act(UserSession, "end_selected", *UserSession.objects.all())

    assert told(response) == ["1 Sitzung wurde beendet. 2 Sitzungen waren bereits beendet."]
    assert "Ausgewählte Sitzungen beenden" in listed
    assert "durch eine andere Anmeldung ersetzt" in listed


def test_what_has_ended_is_not_ended_again(pages: Pages, api: Api, user: Any) -> None:
    for _ in range(3):
        api.login()
    sessions = list(UserSession.objects.all())

    assert told(pages.act(UserSession, "end_selected", *sessions)) == [
        "1 session was ended. 2 sessions had already ended."
    ]
    before = len(events())
    assert told(pages.act(UserSession, "end_selected", *sessions)) == [
        "0 sessions were ended. 3 sessions had already ended."
    ]

    assert len(events()) == before
    replaced = UserSession.objects.filter(end_reason="replaced").first()
    assert "Ended the session." not in history(pages, replaced)


def test_the_session_of_a_user_whom_the_default_manager_hides_can_be_ended(
    pages: Pages, api: Api, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = UserSession.objects.get(pk=api.pair()["session_id"])
    manager = get_user_model()._default_manager
    shown = manager.get_queryset
    monkeypatch.setattr(manager, "get_queryset", lambda: shown().exclude(pk=user.pk))

    assert told(pages.act(UserSession, "end_selected", session)) == ["1 session was ended."]


def test_an_administrator_can_vouch_for_an_address(pages: Pages, api: Api, make_user: Callable[..., Any]) -> None:
    user = make_user(verified=False)
    assert api.login().json()["code"] == "email_not_verified"

    response = pages.act(EmailAddress, "mark_verified", user.authkit_email)

    assert told(response) == ["1 email address was marked as verified."]
    assert api.login().status_code == 200
    event = last_event("email.verified")
    assert event["data"]["actor"] == {"type": "admin", "id": str(pages.user.pk)}
    assert event["subject"] == f"user/{user.pk}"
    assert EMAIL not in str(event)
    assert "Marked as verified." in history(pages, user.authkit_email)


@pytest.mark.security("VER-11")
def test_an_administrator_is_told_before_whose_password_it_will_be(
    pages: Pages, make_user: Callable[..., Any]
) -> None:
    make_user(verified=False)

    page = pages.list(EmailAddress).content.decode()

    said = "the person who last registered it can log in with the password chosen at registration"
    assert said in page[: page.index("Mark as verified")]


@pytest.mark.security("VER-11")
def test_vouching_does_not_undo_a_ban(pages: Pages, api: Api, make_user: Callable[..., Any]) -> None:
    user = make_user(verified=False, is_active=False)

    assert told(pages.act(EmailAddress, "mark_verified", user.authkit_email)) == [
        "1 email address was marked as verified."
    ]

    user.refresh_from_db()
    assert not user.is_active
    assert api.login().json()["code"] == "invalid_credentials"


def test_what_cannot_be_vouched_for_is_skipped_with_the_reason(pages: Pages, make_user: Callable[..., Any]) -> None:
    done, moved = make_user("done@example.com"), make_user("moved@example.com", verified=False)
    waits = make_user("waits@example.com", verified=False)
    verified_at = done.authkit_email.verified_at
    type(moved).objects.filter(pk=moved.pk).update(email="elsewhere@example.com")

    response = pages.act(EmailAddress, "mark_verified", done.authkit_email, moved.authkit_email, waits.authkit_email)

    assert sorted(told(response)) == [
        "1 email address was marked as verified.",
        "1 skipped (done@example.com): the email address is already verified.",
        "1 skipped (moved@example.com): the account now has a different email address or has been deleted.",
    ]
    found = dict(EmailAddress.objects.values_list("email", "verified_at"))
    assert (found["done@example.com"], found["moved@example.com"]) == (verified_at, None)
    assert last_event("email.verified")["subject"] == f"user/{waits.pk}"


def test_an_address_that_two_accounts_have_is_nobody_s_to_vouch_for(
    pages: Pages, make_user: Callable[..., Any]
) -> None:
    user, twin = make_user(EMAIL.upper(), verified=False), make_user("twin@example.com")
    # Like a user who was created before the kit was installed.
    EmailAddress.objects.filter(user=twin).delete()
    type(twin).objects.filter(pk=twin.pk).update(email=EMAIL)

    response = pages.act(EmailAddress, "mark_verified", user.authkit_email)

    assert told(response) == [
        (
            f"1 skipped ({EMAIL.upper()}): another account has the same email address, or the default manager of the "
            "user model hides this account."
        ),
        "0 email addresses were marked as verified.",
    ]
    assert EmailAddress.objects.get(user=user).verified_at is None


def test_a_long_list_of_skipped_addresses_is_cut(pages: Pages, make_user: Callable[..., Any]) -> None:
    addresses = [make_user(f"u{number}@example.com").authkit_email for number in range(12)]

    (text, _) = told(pages.act(EmailAddress, "mark_verified", *addresses))

    assert text.startswith("12 skipped (")
    assert text.count("@") == 10
    assert ", …" in text


def test_a_link_is_mailed_to_an_address_that_waits_and_to_no_other(
    pages: Pages, api: Api, make_user: Callable[..., Any]
) -> None:
    waits, done = make_user(verified=False), make_user("done@example.com")
    banned = make_user("banned@example.com", verified=False, is_active=False)
    moved = make_user("moved@example.com", verified=False)
    type(moved).objects.filter(pk=moved.pk).update(email="elsewhere@example.com")

    response = pages.act(EmailAddress, "send_link", *(user.authkit_email for user in (waits, done, banned, moved)))

    assert sorted(told(response)) == [
        "1 skipped (banned@example.com): the account is disabled.",
        "1 skipped (done@example.com): the email address is already verified.",
        "1 skipped (moved@example.com): the account now has a different email address or has been deleted.",
        "1 verification link is being sent.",
    ]
    assert [message.to for message in mail.outbox] == [[EMAIL]]
    event = last_event("email.verification_requested")
    assert event["data"]["actor"] == {"type": "admin", "id": str(pages.user.pk)}
    assert EMAIL not in str(event)
    assert api.post("verify-email", {"token": mailed_token(), "password": PASSWORD}).status_code == 200


def test_without_a_page_for_the_link_the_administrator_is_told_so(
    pages: Pages, make_user: Callable[..., Any], kit: Callable[..., None], outside_tests: None
) -> None:
    kit(BASE_URL=None)
    user = make_user(verified=False)

    (text,) = told(pages.act(EmailAddress, "send_link", user.authkit_email))

    assert "BASE_URL" in text
    assert not OneTimeToken.objects.exists()


def test_deferred_events_go_back_into_the_outbox_in_their_order_and_poison_stays(
    pages: Pages, api: Api, user: Any
) -> None:
    api.login()
    api.login()
    waiting = list(AuditOutbox.objects.order_by("pk").values())
    assert len(waiting) == 3
    for row, reason in zip(waiting, ("unroutable", "poison", "nacked"), strict=True):
        AuditDeferred.objects.create(**row, state="parked", reason=reason)
    AuditOutbox.objects.all().delete()
    api.login(password="wrong wrong wrong")  # newer than the events that are requeued

    response = pages.act(AuditDeferred, "requeue_selected", *AuditDeferred.objects.order_by("-pk"))

    assert told(response) == [
        (
            "2 events were moved back to the outbox. "
            "1 event was not moved: it can never be sent (reason poison) or is being processed."
        )
    ]
    assert [row.reason for row in AuditDeferred.objects.all()] == ["poison"]
    assert list(AuditOutbox.objects.order_by("pk").values())[:2] == [waiting[0], waiting[2]]
    assert AuditOutbox.objects.count() == 3
    api.login()  # and new rows still get an unused id
    assert AuditOutbox.objects.count() == 5


def test_a_second_administrator_who_requeues_the_same_events_moves_none(pages: Pages, rows: dict[Any, Any]) -> None:
    (event,) = AuditDeferred.objects.all()

    assert told(pages.act(AuditDeferred, "requeue_selected", event)) == ["1 event was moved back to the outbox."]
    assert told(pages.act(AuditDeferred, "requeue_selected", event)) == ["0 events were moved back to the outbox."]
    assert AuditOutbox.objects.filter(event_id=event.event_id).count() == 1


def test_without_a_form_token_no_action_runs(pages: Pages, rows: dict[Any, Any], settings: Settings) -> None:
    assert "django.middleware.csrf.CsrfViewMiddleware" in django_settings.MIDDLEWARE
    pages.client.handler.enforce_csrf_checks = True

    assert pages.act(UserSession, "end_selected", rows[UserSession]).status_code == 403
    assert UserSession.objects.get(pk=rows[UserSession].pk).is_active
