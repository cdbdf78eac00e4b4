"""A promised email is sent, once, even if the process that promised it ends or the mail server is away.

`tests/faults/test_emails.py` stops and kills real servers.
"""

import json
import logging
import smtplib
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.core.management import CommandError, call_command
from django.db import connection, connections, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.utils import translation
from pytest_django import Settings

from ninja_auth_kit import emails
from ninja_auth_kit.conf import DEFAULT_THROTTLES
from ninja_auth_kit.models import OneTimeToken, PromisedEmail, ThrottleBucket
from ninja_auth_kit.services.promised_emails import send_due
from tests.audit.test_operating import requeue, status
from tests.conftest import EMAIL, PASSWORD, Api, mailed_token
from tests.servers import ROOT, Server
from tests.test_login import STRONGER

pytestmark = pytest.mark.django_db(transaction=True)

NEW_PASSWORD = "a brand new password"


@contextmanager
def stopped() -> Iterator[None]:
    """Answer requests like a process that is killed right after each response."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(emails, "after_answer", lambda job, using: None)
        yield


def let_time_pass(by: timedelta = timedelta(minutes=10)) -> None:
    """Make every waiting email older, because the clock is that of the database."""
    PromisedEmail.objects.update(
        created_at=F("created_at") - by, due_at=F("due_at") - by, retry_until=F("retry_until") - by
    )


@contextmanager
def mail_server(error: Exception | Callable[[], None]) -> Iterator[list[int]]:
    """Let the mail server fail, and return a list that grows with each attempt."""
    attempts: list[int] = []

    def fail(self: Any, messages: Any) -> int:
        attempts.append(len(messages))
        if isinstance(error, Exception):
            raise error
        error()
        return 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EmailBackend, "send_messages", fail)
        yield attempts


AWAY = ConnectionRefusedError(111, "Connection refused: smtp.example.com for grace@example.com")


def change_address(api: Api) -> None:
    body = {"new_email": "grace@example.com", "password": PASSWORD}
    assert api.post("email/change", body, token=api.pair()["access_token"]).status_code == 202


def confirm_change(api: Api) -> None:
    change_address(api)
    (token,) = [mailed_token(number) for number, sent in enumerate(mail.outbox) if sent.to == ["grace@example.com"]]
    mail.outbox.clear()
    with stopped():
        assert api.post("email/change/confirm", {"token": token}).status_code == 204


def change_password(api: Api) -> None:
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    assert api.post("password/change", body, token=api.pair()["access_token"]).status_code == 204


def reset_password(api: Api) -> None:
    api.post("password/reset", {"email": EMAIL})
    body = {"token": mailed_token(), "new_password": NEW_PASSWORD}
    mail.outbox.clear()
    with stopped():
        assert api.post("password/reset/confirm", body).status_code == 204


# What is done, before which process is killed, and who gets an email.
ACTIONS: dict[str, tuple[Callable[[Api], Any], list[str]]] = {
    "a registration": (lambda api: api.register("newcomer@example.com"), ["newcomer@example.com"]),
    "a registration of an address in use": (lambda api: api.register(EMAIL, username="other"), [EMAIL]),
    "a reset": (lambda api: api.post("password/reset", {"email": EMAIL}), [EMAIL]),
    "a new address": (change_address, [EMAIL, "grace@example.com"]),
    "a changed password": (change_password, [EMAIL]),
    "nothing that concerns anyone": (lambda api: api.post("password/reset", {"email": "nobody@example.com"}), []),
}
CONFIRMED: dict[str, tuple[Callable[[Api], Any], list[str]]] = {
    "a confirmed address": (confirm_change, [EMAIL]),
    "a password that was reset": (reset_password, [EMAIL]),
}


@pytest.mark.parametrize("action", [*ACTIONS, *CONFIRMED])
def test_what_a_killed_process_has_promised_another_one_sends_once(api: Api, user: Any, action: str) -> None:
    if action in ACTIONS:
        act, recipients = ACTIONS[action]
        with stopped():
            act(api)
    else:
        act, recipients = CONFIRMED[action]
        act(api)
    assert mail.outbox == []
    assert send_due() == 0, "the process that promised an email sends it first"

    let_time_pass()
    while send_due():
        pass

    assert sorted(message.to[0] for message in mail.outbox) == recipients
    assert not PromisedEmail.objects.exists()


def test_a_link_that_another_process_sends_works_and_its_time_begins_when_it_is_sent(api: Api) -> None:
    with stopped():
        api.register()

    let_time_pass(timedelta(hours=23))
    send_due()

    assert "24" in str(mail.outbox[0].body) or "1\xa0day" in str(mail.outbox[0].body)
    assert api.post("verify-email", {"token": mailed_token(), "password": PASSWORD}).status_code == 200
    assert api.login().status_code == 200


def test_a_link_that_waits_is_sent_although_a_login_has_renewed_the_hash_of_the_password(
    api: Api, user: Any, settings: Settings
) -> None:
    with stopped():
        change_address(api)
    settings.PASSWORD_HASHERS = STRONGER
    assert api.login().status_code == 200

    let_time_pass()
    send_due()

    (token,) = [mailed_token(number) for number, sent in enumerate(mail.outbox) if sent.to == ["grace@example.com"]]
    assert api.post("email/change/confirm", {"token": token}).status_code == 204


def test_an_email_is_promised_with_the_change_that_it_is_about_or_not_at_all(api: Api, user: Any) -> None:
    with transaction.atomic():
        api.post("password/reset", {"email": EMAIL})
        assert PromisedEmail.objects.count() == 1
        transaction.set_rollback(True)

    assert not PromisedEmail.objects.exists()
    assert mail.outbox == []


@pytest.mark.security("AUD-03", "CRED-07")
@pytest.mark.parametrize("path", ["verify-email/resend", "password/reset"])
def test_a_promised_link_has_no_token_no_link_and_no_address(
    api: Api, make_user: Callable[..., Any], path: str
) -> None:
    make_user(verified=path == "password/reset")
    with stopped():
        for email in (EMAIL, "nobody@example.com"):
            api.post(path, {"email": email})

    known, unknown = PromisedEmail.objects.order_by("pk").values()
    for row in (known, unknown):
        assert "nako_" not in str(row)
        assert "example.com" not in str({**row, "page": ""})
    differing = {name for name in known if known[name] != unknown[name]}
    assert differing <= {"id", "user_id", "auth_hash", "client", "created_at", "due_at", "retry_until"}


@pytest.mark.security("CRED-01", "CRED-07")
@pytest.mark.parametrize("path", ["register", "verify-email/resend", "password/reset"])
def test_a_promise_is_one_statement_more_whoever_has_the_address(
    api: Api, make_user: Callable[..., Any], path: str
) -> None:
    make_user("verified@example.com")
    make_user("pending@example.com", verified=False)
    table, seen = PromisedEmail._meta.db_table, []
    for number, name in enumerate(("verified", "pending", "unknown")):
        email = f"{name}@example.com"
        with stopped(), CaptureQueriesContext(connection) as queries:
            response = (
                api.register(email, username=f"name{number}")
                if path == "register"
                else api.post(path, {"email": email})
            )
            assert response.status_code == 202
        seen.append([query["sql"].split()[0] for query in queries if table in query["sql"]])

    assert seen == [["INSERT"]] * 3


PROGRAM = """
import os, django
django.setup()
from ninja_auth_kit import services
from ninja_auth_kit.client import ClientInfo
services.request_password_reset(email="ada@example.com", client=ClientInfo())
{end}
"""


@pytest.mark.one_user_model
@pytest.mark.parametrize(("end", "left"), [("", 0), ("os._exit(0)", 1)], ids=["a command", "a child of Celery"])
def test_a_process_without_requests_sends_its_emails_when_it_exits_or_leaves_them(
    user: Any, tmp_path: Path, end: str, left: int
) -> None:
    backend = "django.core.mail.backends.filebased.EmailBackend"
    process = Server(environment={"TEST_MAIL_BACKEND": backend, "TEST_MAIL_PATH": str(tmp_path)})

    subprocess.run(
        [sys.executable, "-c", PROGRAM.format(end=end)], env=process.environment, cwd=ROOT, check=True, timeout=60
    )

    assert PromisedEmail.objects.count() == left
    assert len(list(tmp_path.iterdir())) == 1 - left
    let_time_pass()
    assert send_due() == len(mail.outbox) == left


@pytest.mark.race
def test_two_processes_that_look_at_the_same_time_send_each_email_once(
    api: Api, make_user: Callable[..., Any]
) -> None:
    recipients = [f"reader{number}@example.com" for number in range(24)]
    with stopped():
        for email in recipients:
            make_user(email)
            api.post("password/reset", {"email": email})
    let_time_pass()
    start = threading.Barrier(4)

    def take(_: int) -> int:
        start.wait()
        try:
            return send_due()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as processes:
        taken = list(processes.map(take, range(4)))

    assert sum(taken) == 24
    assert Counter(message.to[0] for message in mail.outbox) == Counter(recipients)


def test_a_process_that_is_late_with_its_own_email_leaves_it_to_the_one_that_has_claimed_it(
    api: Api, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    late: list[Callable[[], None]] = []
    with monkeypatch.context() as patched:
        patched.setattr(emails, "after_answer", lambda job, using: late.append(job))
        api.post("password/reset", {"email": EMAIL})
    let_time_pass()
    send_due()

    late[0]()

    assert len(mail.outbox) == 1


def test_an_email_whose_process_was_killed_while_sending_is_sent_when_its_lease_is_over(api: Api, user: Any) -> None:
    def die() -> None:
        raise KeyboardInterrupt

    with mail_server(die), stopped():
        api.post("password/reset", {"email": EMAIL})
        let_time_pass()
        with pytest.raises(KeyboardInterrupt):
            send_due()

    assert send_due() == 0
    let_time_pass(timedelta(minutes=2))
    assert send_due() == 1
    assert len(mail.outbox) == 1


@pytest.mark.security("CRED-07")
def test_while_the_mail_server_is_away_an_email_is_tried_again_and_counts_once(
    api: Api, user: Any, kit: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    kit(THROTTLES=DEFAULT_THROTTLES)
    with mail_server(AWAY) as attempts:
        assert api.post("password/reset", {"email": EMAIL}).status_code == 202
        for _ in range(5):
            let_time_pass(timedelta(minutes=1))
            send_due()
    assert len(attempts) == 5, "at once, and after 5, 10, 20 and 40 seconds; then not before 80"
    assert not OneTimeToken.objects.exists(), "an attempt that failed leaves no token"
    assert "ConnectionRefusedError" in caplog.text
    assert "example.com" not in caplog.text

    let_time_pass()
    send_due()

    assert len(mail.outbox) == 1
    reset = {"token": mailed_token(), "new_password": NEW_PASSWORD}
    assert api.post("password/reset/confirm", reset).status_code == 204
    counted = ThrottleBucket.objects.filter(rule__startswith="mail_recipient").values_list("hits", flat=True)
    assert set(counted) == {1}


def test_an_email_that_cannot_be_sent_for_a_day_is_given_up_loudly_and_can_be_sent_later(
    api: Api, user: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with mail_server(AWAY):
        api.post("password/reset", {"email": EMAIL})
        let_time_pass(timedelta(days=1))
        send_due()
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert "given up" in errors[0]
    assert "example.com" not in errors[0]
    code, said = status()
    assert code == 1
    assert "0 waiting, 0 tried again; 1 given up, 0 refused" in said
    assert "authkit_requeue --emails" in said
    let_time_pass()
    assert send_due() == 0

    assert requeue("--emails", "--dry-run") == "1 email would be put back.\n"
    assert requeue("--emails") == "1 email put back.\n"

    assert status()[0] == 0
    send_due()
    assert [message.to for message in mail.outbox] == [[EMAIL]]
    assert json.loads(requeue("--emails", "--json")) == {"requeued": 0, "dry_run": False}


@pytest.mark.parametrize(
    "error",
    [
        smtplib.SMTPRecipientsRefused({EMAIL: (550, b"no such user ada@example.com")}),
        smtplib.SMTPDataError(554, b"ada@example.com does not want this"),
    ],
)
def test_a_recipient_whom_the_mail_server_refuses_is_not_tried_again_and_alarms_nobody(
    api: Api, user: Any, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    with mail_server(error) as attempts:
        api.post("password/reset", {"email": EMAIL})
        let_time_pass(timedelta(hours=1))
        send_due()

    assert attempts == [1]
    assert type(error).__name__ in caplog.text
    assert EMAIL not in caplog.text
    code, said = status()
    assert code == 0
    assert "1 refused" in said


@pytest.mark.parametrize(
    "error",
    [
        smtplib.SMTPRecipientsRefused({EMAIL: (451, b"try again later")}),
        smtplib.SMTPSenderRefused(550, b"not your sender", "me@example.com"),
        smtplib.SMTPAuthenticationError(535, b"wrong password"),
        RuntimeError("a template has an error"),
    ],
)
def test_what_an_operator_can_repair_is_tried_again(api: Api, user: Any, error: Exception) -> None:
    with mail_server(error):
        api.post("password/reset", {"email": EMAIL})
    assert PromisedEmail.objects.get().state == "waiting"

    let_time_pass()
    send_due()

    assert [message.to for message in mail.outbox] == [[EMAIL]]


def test_one_round_does_not_wait_for_a_dead_mail_server_once_per_email(
    api: Api, make_user: Callable[..., Any]
) -> None:
    with stopped():
        for number in range(5):
            make_user(f"reader{number}@example.com")
            api.post("password/reset", {"email": f"reader{number}@example.com"})
    let_time_pass()

    with mail_server(TimeoutError("timed out")) as attempts:
        send_due()

    assert attempts == [1]


def test_a_recipient_who_is_refused_holds_up_no_other_email(api: Api, make_user: Callable[..., Any]) -> None:
    with stopped():
        for number in range(5):
            make_user(f"reader{number}@example.com")
            api.post("password/reset", {"email": f"reader{number}@example.com"})
    let_time_pass()

    with mail_server(smtplib.SMTPRecipientsRefused({"reader0@example.com": (550, b"no such user")})) as attempts:
        send_due()

    assert attempts == [1] * 5


def test_the_status_shows_how_many_emails_wait_and_for_how_long(api: Api, make_user: Callable[..., Any]) -> None:
    for number in range(3):
        make_user(f"reader{number}@example.com")
    with stopped():
        api.post("password/reset", {"email": "reader0@example.com"})
        api.post("password/reset", {"email": "reader1@example.com"})
    with mail_server(AWAY):
        api.post("password/reset", {"email": "reader2@example.com"})
    assert status()[0] == 0
    let_time_pass(timedelta(minutes=6))

    code, said = status("--json")

    assert code == 1
    report = json.loads(said)
    seconds = report["emails"].pop("oldest_seconds")
    assert 360 <= seconds < 400
    assert report["emails"] == {"waiting": 2, "retrying": 1, "given_up": 0, "refused": 0}
    assert any("mail server" in problem for problem in report["problems"])
    assert status("--max-age", "900")[0] == 0


def test_given_up_emails_are_deleted_when_they_are_old_or_when_an_operator_says_so(api: Api, user: Any) -> None:
    with mail_server(AWAY):
        for _ in range(2):
            api.post("password/reset", {"email": EMAIL})
            let_time_pass(timedelta(days=1))
            send_due()
    oldest = PromisedEmail.objects.earliest("pk")
    PromisedEmail.objects.filter(pk=oldest.pk).update(ended_at=Now() - timedelta(days=31))

    call_command("authkit_prune", verbosity=0, stdout=StringIO())
    assert PromisedEmail.objects.count() == 1
    assert requeue("--emails", "--discard") == "1 email deleted.\n"
    assert not PromisedEmail.objects.exists()


def test_emails_are_put_back_all_together() -> None:
    with pytest.raises(CommandError, match="--emails cannot be combined"):
        requeue("--emails", "--reason", "unroutable")


@pytest.mark.security("CRED-02", "VER-07")
@pytest.mark.parametrize(
    ("path", "planted"),
    [
        ("password/reset", {"page": "https://evil.example/reset"}),
        ("verify-email/resend", {"page": "https://evil.example/verify"}),
        ("email/change", {"address": "mallory@evil.example"}),
    ],
)
def test_a_row_that_somebody_else_has_written_causes_no_email(
    api: Api, make_user: Callable[..., Any], path: str, planted: dict[str, str]
) -> None:
    make_user("victim@example.com", verified=path != "verify-email/resend")
    with stopped():
        if path == "email/change":
            token = api.pair("victim@example.com")["access_token"]
            api.post(path, {"new_email": "new@example.com", "password": PASSWORD}, token=token)
        else:
            api.post(path, {"email": "victim@example.com"})
    PromisedEmail.objects.update(**planted)

    let_time_pass()
    while send_due():
        pass

    assert mail.outbox == []
    assert not PromisedEmail.objects.exists()


def test_a_notice_goes_to_the_address_that_the_account_had(api: Api, user: Any) -> None:
    with stopped():
        change_password(api)
    user.refresh_from_db()
    user.email = "mallory@example.com"
    user.save()

    let_time_pass()
    send_due()

    assert [message.to for message in mail.outbox] == [[EMAIL]]


def test_of_two_promised_changes_of_the_address_only_the_later_one_is_sent(api: Api, user: Any) -> None:
    token = api.pair()["access_token"]
    with mail_server(AWAY):
        for address in ("slip@example.com", "right@example.com"):
            api.post("email/change", {"new_email": address, "password": PASSWORD}, token=token)
    let_time_pass()

    while send_due():
        pass

    links = [message for message in mail.outbox if "#token=" in str(message.body)]
    assert [message.to for message in links] == [["right@example.com"]]
    assert api.post("email/change/confirm", {"token": mailed_token(mail.outbox.index(links[0]))}).status_code == 204


def test_another_process_writes_in_the_language_of_the_request(api: Api) -> None:
    with stopped(), translation.override("de"):
        api.register()

    let_time_pass()
    send_due()

    assert "Bestätigen" in str(mail.outbox[0].subject)


@pytest.mark.parametrize("gone", ["deleted", "disabled", "verified"])
def test_an_account_that_needs_the_link_no_more_gets_none(api: Api, make_user: Callable[..., Any], gone: str) -> None:
    user = make_user(verified=False)
    with stopped():
        api.post("verify-email/resend", {"email": EMAIL})
    if gone == "deleted":
        user.delete()
    elif gone == "disabled":
        user.is_active = False
        user.save()
    else:
        user.authkit_email.verified_at = Now()
        user.authkit_email.save()

    let_time_pass()
    send_due()

    assert mail.outbox == []
    assert not PromisedEmail.objects.exists()
