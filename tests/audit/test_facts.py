"""Facts survive a rollback: a failed login is recorded even if its transaction is rolled back."""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connection, connections, transaction
from django.db.models.functions import Now
from django.test import RequestFactory, TestCase

from ninja_auth_kit import services
from ninja_auth_kit.audit.record import outbox
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.exceptions import AuthKitError
from ninja_auth_kit.models import AuditOutbox
from tests.conftest import EMAIL, PASSWORD, Api, event_names
from tests.servers import database_url

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("audited")]


class UndoneError(Exception):
    """The exception that makes the project roll back."""


@pytest.fixture
def login(rf: RequestFactory, user: Any) -> Callable[[str], None]:
    """Log in by the service, as a project does in its own transaction."""

    def attempt(password: str) -> None:
        with suppress(AuthKitError):
            services.login(request=rf.post("/"), email=EMAIL, password=password)

    return attempt


@pytest.mark.security("AUD-05")
def test_what_a_host_rolls_back_takes_its_changes_along_and_no_facts(login: Callable[[str], None]) -> None:
    with suppress(UndoneError), transaction.atomic():
        login("wrong wrong wrong")
        login(PASSWORD)
        assert event_names() == ["session.login_failed", "session.logged_in"]
        raise UndoneError

    assert event_names() == ["session.login_failed"]


@pytest.mark.security("AUD-05")
def test_a_savepoint_that_is_rolled_back_is_no_different(login: Callable[[str], None]) -> None:
    with transaction.atomic():
        with suppress(UndoneError), transaction.atomic():
            login("wrong wrong wrong")
            login(PASSWORD)
            raise UndoneError
        login(PASSWORD)

    assert event_names() == ["session.login_failed", "session.logged_in"]


@pytest.mark.security("AUD-05")
def test_a_reuse_that_a_host_rolls_back_was_one(api: Api, user: Any, kit: Callable[..., None]) -> None:
    kit(REFRESH_GRACE_PERIOD=0)
    old = api.pair()["refresh_token"]
    api.post("refresh", {"refresh_token": old})

    with suppress(UndoneError), transaction.atomic():
        with suppress(AuthKitError):
            services.refresh(token=old, client=ClientInfo())
        raise UndoneError

    assert event_names()[2:] == ["session.reuse_detected"]


def test_a_fact_is_there_for_others_before_the_host_commits(login: Callable[[str], None]) -> None:
    with transaction.atomic():
        login("wrong wrong wrong")
        with psycopg.connect(database_url().replace("postgres://", "postgresql://")) as other:
            ((count,),) = other.execute("SELECT count(*) FROM ninja_auth_kit_auditoutbox").fetchall()

    assert count == 1


def test_outside_a_transaction_a_fact_costs_one_statement_and_no_connection(
    login: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    monkeypatch.setattr(outbox, "write_separately", lambda *_, **__: pytest.fail("a second connection was opened"))
    said: list[str] = []

    def watch(execute: Any, statement: str, *rest: Any) -> Any:
        said.append(statement)
        return execute(statement, *rest)

    with connection.execute_wrapper(watch):
        login("wrong wrong wrong")

    assert len([statement for statement in said if AuditOutbox._meta.db_table in statement]) == 1


def test_in_a_test_case_of_django_nothing_outlives_the_test(login: Callable[[str], None]) -> None:
    class Case(TestCase):
        def runTest(self) -> None:  # noqa: N802  # the name that unittest requires
            with suppress(UndoneError), transaction.atomic():
                login("wrong wrong wrong")
                raise UndoneError
            login("wrong wrong wrong")
            self.rows = AuditOutbox.objects.count()

    case = Case()
    case.debug()

    assert case.rows == 1
    assert not AuditOutbox.objects.exists()


def test_where_no_second_connection_is_to_be_had_the_login_goes_on_and_it_is_said(
    login: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: Any) -> None:
        raise OperationalError("FATAL: sorry, too many clients already")

    caplog.set_level(logging.WARNING, "ninja_auth_kit.audit")
    with transaction.atomic():
        monkeypatch.setattr(type(connections["default"]), "get_new_connection", refuse)
        login("wrong wrong wrong")

    assert event_names() == ["session.login_failed"]
    (message,) = caplog.messages
    assert message.startswith("Could not open a second connection to the database (OperationalError).")
    assert "was written in the open transaction, and is lost if that is rolled back." in message


@pytest.fixture
def listening() -> Iterator[Callable[[], int]]:
    """Return a function that counts the notifications that have arrived."""
    with psycopg.connect(database_url().replace("postgres://", "postgresql://"), autocommit=True) as listener:
        listener.execute(f"LISTEN {outbox.CHANNEL}")
        # If none is expected, the timeout is always waited out. A slow machine may need it for the
        # first.
        yield lambda: len(list(listener.notifies(timeout=0.5)))


def test_a_burst_of_events_wakes_the_relay_once_after_the_commit(
    login: Callable[[str], None], listening: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "_notified_at", 0.0)
    monkeypatch.setattr(outbox, "NOTIFY_EVERY", 60.0)

    with transaction.atomic():
        login(PASSWORD)
        assert listening() == 0
    for _ in range(20):
        login(PASSWORD)

    assert listening() == 1


def test_each_event_is_one_statement_with_a_notification_or_without(
    login: Callable[[str], None],
    kit: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    listening: Callable[[], int],
) -> None:
    monkeypatch.setattr(outbox, "NOTIFY_EVERY", 0.0)
    said: list[str] = []

    def watch(execute: Any, statement: str, *rest: Any) -> Any:
        said.append(statement)
        return execute(statement, *rest)

    with connection.execute_wrapper(watch):
        login(PASSWORD)
        login("wrong wrong wrong")
    assert len([one for one in said if AuditOutbox._meta.db_table in one]) == 2

    assert listening() >= 2
    kit(AUDIT_LISTEN=False)
    login(PASSWORD)
    assert listening() == 0


def test_events_that_nobody_publishes_are_told_now_and_then(
    login: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outbox, "CHECK_EVERY", 2)
    monkeypatch.setattr(outbox, "_written", 0)
    login("wrong wrong wrong")
    login("wrong wrong wrong")
    assert "Is authkit_relay running?" not in caplog.text

    AuditOutbox.objects.update(created_at=Now() - timedelta(minutes=6))
    login("wrong wrong wrong")
    login("wrong wrong wrong")

    said = r"Audit events wait for 36\d seconds\. Is authkit_relay running\? See authkit_status\."
    assert any(re.fullmatch(said, message) for message in caplog.messages)
