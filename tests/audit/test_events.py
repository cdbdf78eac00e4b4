"""The recorded events: one CloudEvent for each action, without any secret."""

import json
import uuid
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import time_machine
from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings.rabbitmq import RabbitMQMessage, from_structured
from cloudevents.core.formats.json import JSONFormat
from django.contrib.auth import get_user_model
from django.utils import timezone

from ninja_auth_kit.audit.events import UserRegistered, all_events
from ninja_auth_kit.audit.events.base import CONTENT_TYPE
from ninja_auth_kit.audit.record.cloudevent import SHARDS, build_cloudevent
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.models import AuditOutbox, BlacklistedToken, OneTimeToken, UserSession
from ninja_auth_kit.models.users import has_username
from tests.conftest import EMAIL, PASSWORD, Api, event_names, events, mailed_token

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("audited")]


OTHER_PASSWORD = "another horse, another battery"


def cloud_event(row: AuditOutbox) -> BaseCloudEvent:
    """Return the event of a row as the official SDK parses it. It raises for an invalid event."""
    return from_structured(RabbitMQMessage({}, CONTENT_TYPE, row.payload.encode()), JSONFormat())


def new_events(before: int) -> list[str]:
    return event_names()[before:]


def play_every_flow(host_api: Callable[..., Api], kit: Callable[..., None]) -> list[tuple[str, list[str]]]:
    """Run every flow, valid and invalid, and return what each step has recorded."""
    api = host_api(SESSION_LIMIT=2, PROFILE_SCHEMA="tests.host_app.schemas.Profile")
    recorded: list[tuple[str, list[str]]] = []

    def step(name: str, call: Callable[[], Any], status: int) -> Any:
        before = AuditOutbox.objects.count()
        response = call()
        assert response.status_code == status, (name, response.content)
        recorded.append((name, new_events(before)))
        return response

    with time_machine.travel(timezone.now(), tick=False) as clock:
        step("register", api.register, 202)
        step("login, unverified", api.login, 403)
        step("resend", lambda: api.post("verify-email/resend", {"email": EMAIL}), 202)
        step("resend, unknown", lambda: api.post("verify-email/resend", {"email": "x@example.com"}), 202)
        body = {"token": mailed_token(), "password": PASSWORD}
        step("verify, wrong password", lambda: api.post("verify-email", {**body, "password": "x"}), 400)
        step("verify, wrong token", lambda: api.post("verify-email", {**body, "token": "x"}), 400)
        step("verify", lambda: api.post("verify-email", body), 200)
        step("register, in use", lambda: api.register(username="other"), 202)
        step("register, weak", lambda: api.register("y@example.com", "short"), 422)
        step("login, wrong", lambda: api.login(password="wrong wrong wrong"), 401)
        step("login, unknown", lambda: api.login("x@example.com"), 401)
        pair = step("login", api.login, 200).json()
        step("refresh", lambda: api.post("refresh", {"refresh_token": pair["refresh_token"]}), 200)
        step("refresh, in grace", lambda: api.post("refresh", {"refresh_token": pair["refresh_token"]}), 200)
        step("refresh, garbage", lambda: api.post("refresh", {"refresh_token": "garbage"}), 401)
        clock.shift(timedelta(minutes=1))
        step("refresh, reused", lambda: api.post("refresh", {"refresh_token": pair["refresh_token"]}), 401)
        one, two = (step("login", api.login, 200).json() for _ in range(2))
        step(
            "end a session",
            lambda: api.delete(f"sessions/{one['session_id']}", token=two["access_token"]),
            204,
        )
        step("logout", lambda: api.post("logout", token=two["access_token"]), 204)
        step("logout, again", lambda: api.post("logout", token=two["access_token"]), 204)
        three = step("login", api.login, 200).json()
        step("logout everywhere", lambda: api.post("logout/all", token=three["access_token"]), 204)
        step("me, refused", lambda: api.get("me", token=three["access_token"]), 401)
        step("ask for a new password", lambda: api.post("password/reset", {"email": EMAIL}), 202)
        step("ask, unknown", lambda: api.post("password/reset", {"email": "x@example.com"}), 202)
        reset = {"token": mailed_token(), "new_password": OTHER_PASSWORD}
        step("reset, wrong token", lambda: api.post("password/reset/confirm", {**reset, "token": "x"}), 400)
        step("reset", lambda: api.post("password/reset/confirm", reset), 204)
        four = step("login", lambda: api.login(password=OTHER_PASSWORD), 200).json()
        change = {"current_password": OTHER_PASSWORD, "new_password": PASSWORD}
        wrong = {**change, "current_password": "x"}
        step("change, wrong", lambda: api.post("password/change", wrong, token=four["access_token"]), 403)
        step("change", lambda: api.post("password/change", change, token=four["access_token"]), 204)
        move = {"new_email": "new@example.com", "password": PASSWORD}
        wrong = {**move, "password": "x"}
        step("move, wrong", lambda: api.post("email/change", wrong, token=four["access_token"]), 403)
        step("move", lambda: api.post("email/change", move, token=four["access_token"]), 202)
        link = mailed_token(-2)
        step("confirm, wrong token", lambda: api.post("email/change/confirm", {"token": "x"}), 400)
        step("confirm", lambda: api.post("email/change/confirm", {"token": link}), 204)
        five = step("login", lambda: api.login("new@example.com"), 200).json()
        for name, first_name, status in (
            ("update", "Ada", 200),
            ("update, nothing", "Ada", 200),
            ("update, wrong", 7, 422),
        ):
            step(name, partial(api.patch, "me", {"first_name": first_name}, token=five["access_token"]), status)
        for name, password, status in (("delete, wrong", "x", 403), ("delete", PASSWORD, 204)):
            step(name, partial(api, "DELETE", "me", {"password": password}, token=five["access_token"]), status)
        kit(THROTTLES={"login_network": "1/m"})
        step("login, the last that is allowed", lambda: api.login("x@example.com"), 401)
        step("login, throttled", lambda: api.login("x@example.com"), 429)
        step("login, throttled again", lambda: api.login("x@example.com"), 429)
    return recorded


@pytest.mark.security("AUD-01")
def test_every_flow_records_exactly_one_event_whether_it_succeeds_or_fails(
    host_api: Callable[..., Api], kit: Callable[..., None]
) -> None:
    recorded = play_every_flow(host_api, kit)

    assert recorded == [
        ("register", ["user.registered"]),
        ("login, unverified", ["session.login_failed"]),
        ("resend", ["email.verification_requested"]),
        ("resend, unknown", ["email.verification_requested"]),
        ("verify, wrong password", ["email.verification_failed"]),
        ("verify, wrong token", ["email.verification_failed"]),
        ("verify", ["email.verified"]),
        ("register, in use", ["user.registration_failed"]),
        ("register, weak", ["user.registration_failed"]),
        ("login, wrong", ["session.login_failed"]),
        ("login, unknown", ["session.login_failed"]),
        ("login", ["session.logged_in"]),
        ("refresh", ["session.refreshed"]),
        ("refresh, in grace", ["session.refreshed"]),
        ("refresh, garbage", ["session.refresh_failed"]),
        ("refresh, reused", ["session.reuse_detected"]),
        ("login", ["session.logged_in"]),
        ("login", ["session.logged_in"]),
        ("end a session", ["session.revoked"]),
        ("logout", ["session.logged_out"]),
        ("logout, again", []),
        ("login", ["session.logged_in"]),
        ("logout everywhere", ["session.logged_out"]),
        ("me, refused", []),
        ("ask for a new password", ["password.reset_requested"]),
        ("ask, unknown", ["password.reset_requested"]),
        ("reset, wrong token", ["password.reset_failed"]),
        ("reset", ["password.reset_completed"]),
        ("login", ["session.logged_in"]),
        ("change, wrong", ["password.change_failed"]),
        ("change", ["password.changed"]),
        ("move, wrong", ["email.change_failed"]),
        ("move", ["email.change_requested"]),
        ("confirm, wrong token", ["email.change_failed"]),
        ("confirm", ["email.changed"]),
        ("login", ["session.logged_in"]),
        ("update", ["user.updated"]),
        ("update, nothing", []),
        ("update, wrong", []),
        ("delete, wrong", ["user.deletion_failed"]),
        ("delete", ["user.deleted"]),
        ("login, the last that is allowed", ["session.login_failed"]),
        ("login, throttled", ["request.throttled"]),
        ("login, throttled again", []),
    ]
    assert {name for _, names in recorded for name in names} == {event.name for event in all_events() if event.signal}
    read = [cloud_event(row).get_type() for row in AuditOutbox.objects.order_by("id")]
    assert read == [f"ninja-auth-kit.{name}.v1" for _, names in recorded for name in names]


@pytest.mark.security("AUD-01")
def test_a_login_that_replaces_another_is_two_actions_in_their_order(api: Api, user: Any) -> None:
    first, second = api.pair(), api.pair()

    assert [(event["type"].split(".")[2], event["data"]["session"]["id"]) for event in events()] == [
        ("logged_in", first["session_id"]),
        ("revoked", first["session_id"]),
        ("logged_in", second["session_id"]),
    ]


@pytest.mark.security("AUD-02")
def test_the_events_of_sessions_say_whose_which_why_and_who_called(
    api: Api, user: Any, kit: Callable[..., None]
) -> None:
    def call(number: int, method: str, path: str, body: Any = None, token: str | None = None) -> Any:
        return api(
            method, path, body, token=token, REMOTE_ADDR=f"203.0.113.{number}", HTTP_USER_AGENT=f"browser {number}"
        )

    credentials = {"email": EMAIL, "password": PASSWORD}
    with time_machine.travel(timezone.now(), tick=False) as clock:
        first = call(1, "POST", "login", credentials).json()
        spent = {"refresh_token": first["refresh_token"]}
        call(2, "POST", "refresh", spent)
        call(3, "POST", "refresh", spent)
        clock.shift(timedelta(minutes=1))
        call(4, "POST", "refresh", spent)
        call(5, "POST", "refresh", spent)
        call(6, "POST", "refresh", {"refresh_token": "garbage"})
        second = call(7, "POST", "login", credentials).json()
        third = call(8, "POST", "login", credentials).json()
        call(9, "DELETE", f"sessions/{third['session_id']}", token=third["access_token"])
        fourth = call(10, "POST", "login", credentials).json()
        clock.shift(timedelta(days=7))
        kit(THROTTLES={"login_account": "1/m"})
        fifth = call(11, "POST", "login", credentials).json()
        call(12, "POST", "login", {**credentials, "password": "wrong wrong wrong"})
        call(13, "POST", "login", credentials)

    one, two, three, four, five = (pair["session_id"] for pair in (first, second, third, fourth, fifth))
    whose, by_system = ("user", str(user.pk)), ("system", None)
    nobody, by_password = ("anonymous", None), {"methods": ["pwd"], "acr": "aal1"}
    assert [
        (
            event["type"].split(".", 1)[1].removesuffix(".v1"),
            tuple(event["data"]["actor"].values()),
            event["data"]["session"]["id"],
            event["data"]["reason"],
            event["data"]["details"],
            event["data"]["client"]["ip"],
        )
        for event in events()
    ] == [
        ("session.logged_in", whose, one, None, by_password, "203.0.113.1"),
        ("session.refreshed", whose, one, None, {"generation": 1, "rotated": True}, "203.0.113.2"),
        ("session.refreshed", whose, one, None, {"generation": 1, "rotated": False}, "203.0.113.3"),
        ("session.reuse_detected", nobody, one, None, {"generation": 0}, "203.0.113.4"),
        ("session.refresh_failed", nobody, one, "session_ended", {}, "203.0.113.5"),
        ("session.refresh_failed", nobody, None, "invalid_token", {}, "203.0.113.6"),
        ("session.logged_in", whose, two, None, by_password, "203.0.113.7"),
        ("session.revoked", by_system, two, "replaced", {}, "203.0.113.8"),
        ("session.logged_in", whose, three, None, by_password, "203.0.113.8"),
        ("session.revoked", whose, three, "revoked", {}, "203.0.113.9"),
        ("session.logged_in", whose, four, None, by_password, "203.0.113.10"),
        ("session.revoked", by_system, four, "expired", {}, "203.0.113.11"),
        ("session.logged_in", whose, five, None, by_password, "203.0.113.11"),
        ("session.login_failed", nobody, None, "invalid_credentials", {}, "203.0.113.12"),
        ("request.throttled", nobody, None, None, {"rule": "login_account"}, "203.0.113.13"),
    ]
    assert [event.get("subject") for event in events()] == [f"user/{user.pk}"] * 5 + [None] + [f"user/{user.pk}"] * 9
    assert {event["data"]["client"]["user_agent"] for event in events()} == {f"browser {n}" for n in range(1, 14)}
    throttled = events()[-1]["data"]["target"]
    assert throttled["identifier_hash"] == events()[-2]["data"]["target"]["identifier_hash"] is not None


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("register", {"email": EMAIL}),
        ("login", {"email": EMAIL}),
        ("login", b"{"),
        ("verify-email", {"token": 7}),
        ("refresh", {}),
        ("refresh", {"refresh_token": ["a"]}),
    ],
)
def test_what_is_malformed_before_a_service_looks_at_it_is_no_action(
    api: Api, user: Any, path: str, body: Any
) -> None:
    assert api.post(path, body).status_code in {400, 422}

    assert events() == []


@pytest.mark.security("AUD-02")
def test_every_message_is_a_cloudevent_that_the_official_sdk_reads(api: Api, user: Any) -> None:
    api.pair()
    api.login(
        password="wrong wrong wrong", HTTP_X_REQUEST_ID="req-7", HTTP_USER_AGENT="Lynx", REMOTE_ADDR="203.0.113.7"
    )

    for row in AuditOutbox.objects.all():
        event = cloud_event(row)
        assert event.get_id() == str(row.event_id)
        assert event.get_source() == "ninja-auth-kit"
        assert event.get_time().utcoffset() == timedelta(0)
        assert event.get_type().startswith("ninja-auth-kit.")
    failed = events()[-1]
    assert failed["correlationid"] == "req-7"
    assert failed["subject"] == f"user/{user.pk}"
    assert failed["data"] == {
        "outcome": "failure",
        "reason": "invalid_credentials",
        "actor": {"type": "anonymous", "id": None},
        "target": {
            "type": "user",
            "id": str(user.pk),
            "identifier_hash": failed["data"]["target"]["identifier_hash"],
        },
        "session": {"id": None},
        "client": {"ip": "203.0.113.7", "user_agent": "Lynx"},
        "details": {},
    }


@pytest.mark.security("AUD-03", "AUD-04")
def test_no_message_and_no_log_line_holds_a_secret_or_an_address(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    password, wrong, typed = "c4n4ry password of Ada", "c4n4ry wrong password", "c4n4ry typed into the address"
    secrets = [password, wrong, typed, EMAIL, "ada_example_com"]

    api.register(password=password)
    secrets.append(mailed_token())
    api.post("verify-email", {"token": mailed_token(), "password": wrong})
    api.post("verify-email", {"token": mailed_token(), "password": password})
    api.register(password=wrong, username="ada_example_com")
    api.post("verify-email/resend", {"email": EMAIL})
    api.login(password=wrong)
    api.login(typed, wrong)
    api.post("login", {"username": typed, "password": wrong})
    pair = api.pair(password=password)
    successor = api.post("refresh", {"refresh_token": pair["refresh_token"]}).json()
    third = api.post("refresh", {"refresh_token": successor["refresh_token"]}).json()
    api.get("me", token=third["access_token"])
    api.get("sessions", token=third["access_token"])
    api.post("refresh", {"refresh_token": pair["refresh_token"]})
    api.post("logout", {"refresh_token": third["refresh_token"]}, token=third["access_token"])
    for each in (pair, successor, third):
        secrets += [each["access_token"], each["refresh_token"], *each["access_token"].split(".")]
    for model, columns in (
        (UserSession, ["refresh_token", "auth_hash"]),
        (BlacklistedToken, ["token"]),
        (OneTimeToken, ["digest"]),
        (get_user_model(), ["password"]),
    ):
        for row in model._base_manager.values_list(*columns):
            secrets += [piece for value in row for piece in (value, value.rpartition("$")[2])]

    payloads = [row.payload + row.routing_key for row in AuditOutbox.objects.all()]
    haystack = "\n".join([*payloads, caplog.text])
    assert len(payloads) >= 12
    assert [secret for secret in secrets if secret in haystack] == []


@pytest.mark.security("AUD-10", "CRED-11")
@pytest.mark.parametrize(
    "user_agent",
    ["\x00\x1b[31m red", "line\r\nfeed\u2028", '"}{{ 7*7 }}', "x" * 1_000_000, "\u202e right to left", ""],
)
def test_a_hostile_browser_name_cannot_break_a_login_or_its_event(api: Api, user: Any, user_agent: str) -> None:
    response = api.login(HTTP_USER_AGENT=user_agent)

    assert response.status_code == 200
    row = AuditOutbox.objects.get()
    assert "\n" not in row.payload
    assert row.payload.isascii()
    kept = json.loads(row.payload)["data"]["client"]["user_agent"]
    assert len(kept) <= 256
    assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in kept)


@pytest.mark.parametrize(
    ("choice", "address", "kept"),
    [
        ("full", "203.0.113.7", "203.0.113.7"),
        ("full", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6"),
        ("truncated", "203.0.113.7", "203.0.113.0"),
        ("truncated", "2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
        ("none", "203.0.113.7", None),
        ("full", None, None),
    ],
)
def test_the_address_of_the_caller_is_kept_as_the_settings_say(
    kit: Callable[..., None], choice: str, address: str | None, kept: str | None
) -> None:
    kit(AUDIT_IP=choice)
    event = UserRegistered

    message = build_cloudevent(event, client=ClientInfo(ip_address=address), user=None, replaced=False)

    assert json.loads(message.payload)["data"]["client"]["ip"] == kept


def test_a_pseudonym_of_the_address_is_stable_and_does_not_tell_it(kit: Callable[..., None]) -> None:
    kit(AUDIT_IP="hmac")
    event = UserRegistered

    one, two = (
        json.loads(
            build_cloudevent(event, client=ClientInfo(ip_address="203.0.113.7"), user=None, replaced=False).payload
        )["data"]["client"]["ip"]
        for _ in range(2)
    )

    assert one == two
    assert "203" not in one.partition(":")[0] or one.count(".") == 0


def test_failed_logins_of_one_identifier_can_be_correlated_however_it_is_typed(api: Api) -> None:
    for spelling in ("eve@example.com", "EVE@example.com", " eve@example.com "):
        api.login(spelling)
    api.login("mallory@example.com")

    hashes = [event["data"]["target"]["identifier_hash"] for event in events()]
    assert len(set(hashes[:3])) == 1
    assert hashes[3] != hashes[0]
    assert len(hashes[0].partition(":")[2]) == 32


def test_events_of_one_user_travel_in_one_lane(api: Api, make_user: Callable[..., Any]) -> None:
    for number in range(12):
        email = f"user{number}@example.com"
        make_user(email)
        pair = api.pair(email)
        api.post("refresh", {"refresh_token": pair["refresh_token"]})
        api.post("logout", token=pair["access_token"])

    lanes: dict[str, set[int]] = {}
    for row in AuditOutbox.objects.all():
        lanes.setdefault(json.loads(row.payload)["subject"], set()).add(row.shard)
    assert len(lanes) == 12
    assert all(len(shards) == 1 for shards in lanes.values())
    assert {shard for shards in lanes.values() for shard in shards} <= set(range(SHARDS))
    assert len({shard for shards in lanes.values() for shard in shards}) > 3


@pytest.mark.parametrize("name", ["session.refreshed", "ninja-auth-kit.session.refreshed.v1"])
def test_a_type_can_be_switched_off(api: Api, user: Any, kit: Callable[..., None], name: str) -> None:
    kit(AUDIT_DISABLED_TYPES=[name])

    pair = api.pair()
    api.post("refresh", {"refresh_token": pair["refresh_token"]})

    assert event_names() == ["session.logged_in"]


def test_ids_are_uuids_of_version_7_in_the_order_of_time(api: Api, user: Any) -> None:
    for _ in range(3):
        api.login()

    ids = [uuid.UUID(event["id"]) for event in events()]
    assert {id.version for id in ids} == {7}
    assert [id.int >> 80 for id in ids] == sorted(id.int >> 80 for id in ids)
    assert len(set(ids)) == len(ids)


def test_the_routing_key_says_entity_action_and_outcome(api: Api, user: Any) -> None:
    api.pair()
    api.login(password="wrong wrong wrong")

    keys = list(AuditOutbox.objects.order_by("id").values_list("routing_key", flat=True))
    assert keys == ["auth.session.login.success", "auth.session.login.failure"]
    assert all(event.routing_key.count(".") == 3 for event in all_events())
    assert all(event.outcome_word in {"success", "failure"} for event in all_events())
    assert has_username() is not None
