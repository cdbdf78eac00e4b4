"""Emails are sent after the commit and after the response, and their failures affect no request."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction
from django.urls import clear_script_prefix, set_script_prefix
from pytest_django import Settings

from ninja_auth_kit import emails
from ninja_auth_kit.emails import background
from tests.conftest import EMAIL, Api

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def outside_test_run(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Remove `mail.outbox`, as outside of a test run, so that jobs run in threads."""
    monkeypatch.delattr(mail, "outbox")
    # Seconds, which `flush` does not wait for; a slow machine may stall.
    monkeypatch.setattr(background, "DELAY", (5, 6))
    yield
    assert emails.flush()


def test_a_job_waits_for_the_commit() -> None:
    done: list[int] = []

    with transaction.atomic():
        emails.after_answer(lambda: done.append(1), using="default")
        assert done == []

    assert done == [1]


def test_a_job_of_a_rolled_back_transaction_never_runs() -> None:
    done: list[int] = []

    with transaction.atomic():
        emails.after_answer(lambda: done.append(1), using="default")
        transaction.set_rollback(True)

    assert done == []


def test_a_job_runs_in_another_thread_and_nobody_waits_for_it(outside_test_run: None) -> None:
    threads: list[str] = []

    start = time.monotonic()
    emails.after_answer(lambda: threads.append(threading.current_thread().name), using="default")

    assert time.monotonic() - start < background.DELAY[0]
    assert threads == []
    assert emails.flush()
    assert threads[0].startswith("ninja_auth_kit-mail")


def test_a_job_leaves_no_connection_behind(outside_test_run: None) -> None:
    def count() -> int:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE datname = current_database() AND backend_type = 'client backend'"
            )
            return int(cursor.fetchone()[0])

    before = count()
    for _ in range(5):
        emails.after_answer(lambda: count() and None, using="default")
    assert emails.flush()

    deadline = time.monotonic() + 10  # PostgreSQL notices the end of a connection after a moment
    while count() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert count() <= before  # a connection of an earlier test may end meanwhile


@pytest.mark.security("CRED-07")
def test_a_failing_job_is_logged_without_its_text(outside_test_run: None, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise RuntimeError("the row of ada@example.com is locked")

    emails.after_answer(fail, using="default")
    assert emails.flush()

    assert "RuntimeError" in caplog.text
    assert "ada@example.com" not in caplog.text


@pytest.mark.security("DOS-04")
def test_with_a_dead_mail_server_the_queue_of_a_process_is_bounded(
    outside_test_run: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "MAXIMUM_WAITING", 3)
    done: list[int] = []

    for number in range(5):
        emails.after_answer(lambda number=number: done.append(number), using="default")  # type: ignore[misc]

    assert emails.flush()
    assert sorted(done) == [0, 1, 2]  # the others are left to their rows


def test_without_a_base_url_a_link_is_refused_and_not_guessed(kit: Callable[..., None], outside_tests: None) -> None:
    kit(BASE_URL=None)

    with pytest.raises(ImproperlyConfigured, match="BASE_URL"):
        emails.page_url("verify_email")


@pytest.mark.urls("django.contrib.auth.urls")
def test_without_a_mount_a_link_is_refused_and_not_guessed() -> None:
    with pytest.raises(ImproperlyConfigured, match="FRONTEND_URLS"):
        emails.page_url("verify_email")


@pytest.mark.urls("tests.host_app.urls_installed")
def test_a_kit_that_is_only_installed_links_to_its_place_on_the_hosts_api(settings: Settings) -> None:
    assert emails.page_url("verify_email") == "https://example.com/only/auth/verify-email"


@pytest.mark.security("VER-07")
def test_a_link_takes_no_path_from_the_request(kit: Callable[..., None]) -> None:
    set_script_prefix("/evil/")
    try:
        assert emails.page_url("verify_email") == "https://example.com/api/auth/verify-email"
        kit(BASE_URL="https://example.com/below")
        assert emails.page_url("verify_email") == "https://example.com/below/api/auth/verify-email"
    finally:
        clear_script_prefix()


def test_a_job_about_nobody_does_as_much_work(api: Api, user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rendered: list[str] = []
    render = emails.render
    monkeypatch.setattr(emails, "render", lambda name, **values: rendered.append(name) or render(name, **values))

    for email in (EMAIL, "nobody@example.com"):
        api.post("verify-email/resend", {"email": email})
    user.is_active = False
    user.save()
    api.register(username="other")

    assert rendered == ["verify_email", "verify_email", "account_exists"]
    assert mail.outbox == []


def test_every_mail_has_text_and_html(api: Api, user: Any) -> None:
    api.register("new@example.com")
    api.register(username="other")

    assert len(mail.outbox) == 2
    for message in mail.outbox:
        ((html, kind),) = message.alternatives  # type: ignore[attr-defined]
        assert kind == "text/html"
        assert html.startswith("<!doctype html>")
        assert "\n" not in message.subject
        assert "example.com" in message.subject
