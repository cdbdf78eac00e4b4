"""An event is recorded together with its action, or not at all."""

import json
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from django.apps import apps
from django.db import connection, transaction

from ninja_auth_kit import services, signals
from ninja_auth_kit.audit.events import all_events
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.exceptions import InvalidTokenError
from ninja_auth_kit.models import AuditOutbox, UserSession
from tests.conftest import EMAIL, PASSWORD, Api, event_names, registered_name

pytestmark = pytest.mark.django_db(transaction=True)


class UnrelatedError(Exception):
    """An unrelated failure in the same transaction."""


def register(email: str = EMAIL) -> None:
    """Register by the service, which can run in the caller's transaction."""
    name = email.partition("@")[0]
    services.register(email=email, password=PASSWORD, client=ClientInfo(), **registered_name(name))


@pytest.mark.security("AUD-06")
def test_an_action_that_is_rolled_back_records_nothing(audited: None) -> None:
    with suppress(UnrelatedError), transaction.atomic():
        register()
        assert AuditOutbox.objects.count() == 1
        raise UnrelatedError

    assert not AuditOutbox.objects.exists()


@pytest.mark.security("AUD-05")
@pytest.mark.parametrize("atomic_requests", [False, True])
def test_a_failed_login_is_recorded_although_the_request_failed(
    api: Api, user: Any, audited: None, kit: Callable[..., None], atomic_requests: bool
) -> None:
    connection.settings_dict["ATOMIC_REQUESTS"] = atomic_requests
    try:
        api.login(password="wrong wrong wrong")
        api.post("refresh", {"refresh_token": "garbage"})
        kit(THROTTLES={"login_network": "1/m"})
        assert [api.login(password="wrong wrong wrong").status_code for _ in range(2)] == [401, 429]
    finally:
        connection.settings_dict["ATOMIC_REQUESTS"] = False

    assert event_names() == [
        "session.login_failed",
        "session.refresh_failed",
        "session.login_failed",
        "request.throttled",
    ]


def test_a_receiver_in_the_transaction_can_undo_the_action(api: Api, user: Any, audited: None) -> None:
    def refuse(**_: Any) -> None:
        raise UnrelatedError

    signals.logged_in.in_transaction.connect(refuse)
    try:
        assert api.login().status_code == 500
    finally:
        signals.logged_in.in_transaction.disconnect(refuse)

    assert not UserSession.objects.exists()
    assert not AuditOutbox.objects.exists()


def test_an_event_that_cannot_be_written_undoes_its_action(
    api: Api, user: Any, audited: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "ninja_auth_kit.audit.record.outbox.INSERT_EVENT", "INSERT INTO nowhere SELECT event_id FROM new_event"
    )

    assert api.login().status_code == 500

    assert not UserSession.objects.exists()


@pytest.mark.security("AUD-11")
def test_a_failing_receiver_of_the_host_breaks_nothing(
    api: Api, user: Any, audited: None, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(**_: Any) -> None:
        raise UnrelatedError

    def fail_in_the_database(**_: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT nonsense")

    signals.logged_in.connect(fail)
    signals.logged_in.connect(fail_in_the_database)
    try:
        assert api.login().status_code == 200
    finally:
        signals.logged_in.disconnect(fail)
        signals.logged_in.disconnect(fail_in_the_database)

    assert event_names() == ["session.logged_in"]
    assert UserSession.objects.filter(is_active=True).count() == 1
    assert "UnrelatedError" in caplog.text


def test_the_host_hears_after_the_commit_and_of_nothing_that_was_rolled_back(api: Api) -> None:
    heard = []

    def hear(signal: Any, user: Any, **_: Any) -> None:
        heard.append((user.email, transaction.get_connection().in_atomic_block))

    signals.user_registered.connect(hear)
    try:
        with suppress(UnrelatedError), transaction.atomic():
            register("x@example.com")
            raise UnrelatedError
        api.register()
    finally:
        signals.user_registered.disconnect(hear)

    assert heard == [(EMAIL, False)]


@pytest.mark.security("AUD-11")
def test_getting_ready_twice_still_records_once(api: Api, user: Any, audited: None) -> None:
    apps.get_app_config("ninja_auth_kit").ready()

    api.login()

    assert event_names() == ["session.logged_in"]


@pytest.mark.security("AUD-10")
def test_without_a_broker_each_event_is_one_line_of_json_and_no_row(
    api: Api, user: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ninja_auth_kit.audit")

    api.pair()
    api.login(password="wrong wrong wrong")

    lines = [record.getMessage() for record in caplog.records if record.name == "ninja_auth_kit.audit"]
    assert [json.loads(line)["type"] for line in lines] == [
        "ninja-auth-kit.session.logged_in.v1",
        "ninja-auth-kit.session.login_failed.v1",
    ]
    assert all("\n" not in line for line in lines)
    assert not AuditOutbox.objects.exists()


def test_without_a_broker_a_rolled_back_action_leaves_no_line_and_a_fact_does(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "ninja_auth_kit.audit")

    with suppress(UnrelatedError), transaction.atomic():
        register()
        with pytest.raises(InvalidTokenError):
            services.refresh(token="garbage", client=ClientInfo())
        raise UnrelatedError

    lines = [record.getMessage() for record in caplog.records if record.name == "ninja_auth_kit.audit"]
    assert [json.loads(line)["type"] for line in lines] == ["ninja-auth-kit.session.refresh_failed.v1"]


def test_every_signal_has_an_event_and_every_event_a_signal() -> None:
    defined = {name for name, value in vars(signals).items() if isinstance(value, signals.ActionSignal)}
    kinds = [kind for kind in all_events() if kind.type.startswith("ninja-auth-kit.")]

    assert sorted(kind.signal for kind in kinds) == sorted(defined)
    assert len({kind.name for kind in kinds}) == len(kinds)
    assert len({kind.routing_key for kind in kinds}) == len(kinds)
