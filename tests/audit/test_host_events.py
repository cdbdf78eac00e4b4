"""Custom events of a project: in the same stream and documents, with the same promises."""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

import pytest
from django.core.management import call_command
from django.db import transaction

from ninja_auth_kit import audit_event
from ninja_auth_kit.audit.events import all_events, parse
from ninja_auth_kit.checks.settings import check_settings
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.models import AuditOutbox
from tests.conftest import events

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("audited")]


@audit_event("order.approved", prefix="shop", reasons={"limit": "it was below the limit"})
class OrderApproved:
    """An order was approved."""

    order_id: int
    lines: list[str]
    note: str | None = None
    how: Literal["by hand", "by rule"] = "by hand"


@audit_event("order.fraud_suspected", outcome="failure", fact=True, by="system", version=2)
class FraudSuspected:
    """An order looks like fraud."""

    order_id: int


class UndoneError(Exception):
    """The exception that makes the project roll back."""


def test_an_event_of_the_host_is_like_those_of_the_kit(user: Any) -> None:
    client = ClientInfo(ip_address="203.0.113.7", request_id="abc")

    OrderApproved.announce(user=user, client=client, order_id=7, lines=["a"], reason="limit")

    (message,) = events()
    assert message["type"] == "shop.order.approved.v1"
    assert AuditOutbox.objects.get().routing_key == "auth.order.approved.success"
    assert message["subject"] == message["partitionkey"] == f"user/{user.pk}"
    assert message["correlationid"] == "abc"
    assert message["data"]["details"] == {"order_id": 7, "lines": ["a"], "note": None, "how": "by hand"}
    assert message["data"]["reason"] == "limit"
    event = parse(json.dumps(message))
    assert isinstance(event, OrderApproved)
    assert event.details.order_id == 7


def test_it_is_undone_with_its_action_unless_it_is_a_fact() -> None:
    with suppress(UndoneError), transaction.atomic():
        OrderApproved.announce(order_id=7, lines=[])
        FraudSuspected.announce(order_id=7)
        raise UndoneError

    (message,) = events()
    assert message["type"] == "host.order.fraud_suspected.v2"
    assert (message["authtype"], message["data"]["outcome"]) == ("system", "failure")


def test_the_host_hears_its_own_signal_after_the_commit() -> None:
    heard: list[int] = []

    def hear(order_id: int, **_: Any) -> None:
        heard.append(order_id)

    OrderApproved.sent_by.connect(hear)
    with transaction.atomic():
        OrderApproved.announce(order_id=7, lines=[])
        assert heard == []

    assert heard == [7]


def test_it_can_be_switched_off_by_its_name(kit: Callable[..., None]) -> None:
    kit(AUDIT_DISABLED_TYPES=["order.approved"])
    assert check_settings() == []

    OrderApproved.announce(order_id=7, lines=[])
    FraudSuspected.announce(order_id=7)

    assert [event["type"] for event in events()] == ["host.order.fraud_suspected.v2"]


def test_it_is_in_the_document(capsys: Any) -> None:
    call_command("authkit_asyncapi")
    document = json.loads(capsys.readouterr().out)

    payload = document["components"]["messages"]["order.approved"]["payload"]
    assert document["channels"]["order.approved"]["address"] == "auth.order.approved.success"
    assert payload == {"$ref": "#/components/schemas/OrderApproved"}
    schemas = document["components"]["schemas"]
    details = schemas["OrderApprovedDetails"]["properties"]
    assert details["order_id"] == {"type": "integer"}
    assert details["note"] == {"type": ["string", "null"]}
    assert details["how"] == {"$ref": "#/components/schemas/OrderApprovedHow"}
    assert schemas["OrderApprovedHow"]["enum"] == ["by hand", "by rule"]


@pytest.mark.parametrize("details", [{}, {"order_id": 7}, {"order_id": 7, "lines": [], "password": "x"}])
def test_details_that_are_not_those_of_the_class_are_refused(details: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        OrderApproved.announce(**details)

    assert not AuditOutbox.objects.exists()


@pytest.mark.parametrize(
    "member", [datetime, Decimal, object, bytes, Any, list, dict[int, str], list[datetime], int | bytes]
)
def test_a_member_that_json_does_not_have_is_refused(member: Any) -> None:
    before = all_events()

    with pytest.raises(TypeError, match="Odd"):
        audit_event("order.odd")(type("Odd", (), {"__annotations__": {"member": member}}))

    assert all_events() == before


@pytest.mark.parametrize("name", ["reason", "session_id", "by", "actor_id", "user", "client", "identifier", "using"])
def test_a_member_that_says_something_else_already_is_refused(name: str) -> None:
    before = all_events()

    with pytest.raises(TypeError, match=f"Odd.{name}"):
        audit_event("order.odd")(type("Odd", (), {"__annotations__": {name: str}}))

    assert all_events() == before


@pytest.mark.parametrize(
    ("name", "options", "error"),
    [
        ("order", {}, "'order' is not a valid event name"),
        ("Order.Approved", {}, "is not a valid event name"),
        ("order.approved", {"prefix": "ninja-auth-kit"}, "the prefix of the kit's own"),
        ("order.approved", {"prefix": "shop"}, r"The event 'shop\.order\.approved\.v1' exists already"),
    ],
)
def test_a_name_that_is_none_or_taken_is_refused(name: str, options: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):

        @audit_event(name, **options)
        class Another:
            """Another."""
