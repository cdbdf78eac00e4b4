"""Floods: many failures from one network are recorded as a few events and an exact count."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F

from ninja_auth_kit import signals
from ninja_auth_kit.audit.events import LoginFailed, parse
from ninja_auth_kit.audit.record.aggregation import RECORDED_INDIVIDUALLY, WINDOW
from ninja_auth_kit.audit.relay.floods import flush_floods
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import accounts_database
from ninja_auth_kit.models import AuditFlood, AuditOutbox
from tests.conftest import events

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("audited")]

ATTACKER = ClientInfo(ip_address="203.0.113.7", user_agent="hydra", request_id="abc", traceparent="")


def fail(*, client: ClientInfo = ATTACKER, identifier: str = "ada@example.com", user: Any = None, **said: Any) -> None:
    """Announce a failed login."""
    facts = {"reason": "invalid_credentials", **said}
    signals.login_failed.announce(using=accounts_database(), user=user, client=client, identifier=identifier, **facts)


def end_windows() -> int:
    AuditFlood.objects.update(started_at=F("started_at") - timedelta(seconds=WINDOW))
    return flush_floods(using="default")


def recorded_failures() -> int:
    """Return how many failures the events in the outbox represent."""
    return sum(event["data"].get("count", 1) for event in events())


def test_the_first_are_told_singly_and_the_others_are_one_event_with_their_number() -> None:
    for _ in range(RECORDED_INDIVIDUALLY + 25):
        fail()
    assert AuditOutbox.objects.count() == RECORDED_INDIVIDUALLY

    assert flush_floods(using="default") == 0  # the window has not ended
    assert end_windows() == 1

    event = parse(AuditOutbox.objects.latest("id").payload)
    assert isinstance(event, LoginFailed)
    assert event.count == 25
    assert event.first_time is not None
    assert event.last_time is not None
    assert event.first_time <= event.last_time <= event.time
    assert (event.client.ip, event.reason) == ("203.0.113.7", "invalid_credentials")
    assert event.target.identifier_hash == parse(AuditOutbox.objects.earliest("id").payload).target.identifier_hash
    assert not AuditFlood.objects.exists()
    assert recorded_failures() == RECORDED_INDIVIDUALLY + 25


def test_a_few_failures_are_told_as_they_are_and_leave_nothing() -> None:
    for _ in range(RECORDED_INDIVIDUALLY):
        fail()

    assert end_windows() == 0
    assert AuditOutbox.objects.count() == RECORDED_INDIVIDUALLY
    assert all("count" not in event["data"] for event in events())
    assert not AuditFlood.objects.exists()


def test_what_the_failures_do_not_have_in_common_is_in_no_count(make_user: Callable[..., Any]) -> None:
    victim = make_user()
    for number in range(RECORDED_INDIVIDUALLY + 5):
        fail(identifier=f"user{number}@example.com", user=victim if number == RECORDED_INDIVIDUALLY + 4 else None)

    end_windows()

    event = json.loads(AuditOutbox.objects.latest("id").payload)
    assert event["data"]["count"] == 5
    assert "subject" not in event
    assert "correlationid" not in event
    assert event["partitionkey"] == event["id"]
    assert event["data"]["target"] == {"type": "user", "id": None, "identifier_hash": None}
    assert event["data"]["session"] == {"id": None}
    assert datetime.fromisoformat(event["data"]["first_time"]) <= datetime.fromisoformat(event["time"])


@pytest.mark.parametrize(
    "other",
    [
        {"client": ClientInfo(ip_address="203.0.113.8")},
        {"client": ClientInfo(ip_address="2001:db8::1")},
        {"client": None},
        {"reason": "email_not_verified"},
    ],
    ids=["address", "family", "none", "reason"],
)
def test_failures_of_another_network_or_for_another_reason_are_told_apart(other: dict[str, Any]) -> None:
    for _ in range(RECORDED_INDIVIDUALLY + 1):
        fail()
    fail(**other)

    assert AuditOutbox.objects.count() == RECORDED_INDIVIDUALLY + 1


def test_the_addresses_of_one_ipv6_network_are_one_flood() -> None:
    for number in range(RECORDED_INDIVIDUALLY + 5):
        fail(client=ClientInfo(ip_address=f"2001:db8::{number:x}"))

    assert AuditOutbox.objects.count() == RECORDED_INDIVIDUALLY
    assert end_windows() == 1


def test_a_reuse_is_never_merged() -> None:
    reuse = {"user": None, "client": ATTACKER, "session_id": None, "generation": 1}
    for _ in range(RECORDED_INDIVIDUALLY + 5):
        signals.refresh_reuse_detected.announce(using=accounts_database(), **reuse)

    assert AuditOutbox.objects.count() == RECORDED_INDIVIDUALLY + 5


@pytest.mark.race
@pytest.mark.security("AUD-12")
def test_of_five_thousand_failures_at_once_none_is_lost_and_few_rows_are_left() -> None:
    def attack(_: int) -> None:
        for _ in range(625):
            fail()
        connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(attack, range(8)))

    assert AuditOutbox.objects.count() <= RECORDED_INDIVIDUALLY
    assert AuditFlood.objects.count() == 1
    assert end_windows() == 1
    assert recorded_failures() == 5000


@pytest.mark.race
def test_two_relays_that_end_a_window_at_once_make_one_event() -> None:
    for _ in range(RECORDED_INDIVIDUALLY + 7):
        fail()
    AuditFlood.objects.update(started_at=F("started_at") - timedelta(seconds=WINDOW))

    def flush(_: int) -> int:
        done = flush_floods(using="default")
        connection.close()
        return done

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(flush, range(4))) == 1
    assert recorded_failures() == RECORDED_INDIVIDUALLY + 7
