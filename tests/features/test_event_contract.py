"""The contract with consumers for the events of the optional apps: schemas, examples and other standards."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from docs.generators import events as generate
from docs.generators.standards import ECS_TYPES, OCSF_ACTIVITIES, SHARED_SIGNALS
from ninja_auth_kit.audit.events import Event, all_events, event_class, parse
from ninja_auth_kit.audit.events.schemas import schema_of
from ninja_auth_kit.contrib.factors import enrolment
from ninja_auth_kit.contrib.factors.models import Factor
from ninja_auth_kit.contrib.oidc.testing import FakeProvider
from ninja_auth_kit.contrib.passkeys.models import Passkey
from ninja_auth_kit.models import AuditOutbox
from tests.audit.compatibility import breaks
from tests.audit.test_contract import RECORD, normalized, validator
from tests.conftest import Api
from tests.features.conftest import Enrolled, enrol
from tests.features.email_code.conftest import ask
from tests.features.oidc.conftest import flow
from tests.features.passkeys.conftest import login as login_by_passkey
from tests.features.passkeys.conftest import new_passkey, register

RELEASED = Path(__file__).parent / "released_schemas.json"
OPTIONAL = [kind for kind in all_events() if kind.__module__.startswith("ninja_auth_kit.contrib.")]
EVENTS = pytest.mark.parametrize("kind", OPTIONAL, ids=lambda kind: kind.name)


def play_every_flow(api: Api, user: Any, later: Callable[..., Any]) -> None:
    """Do everything that has an event, once and right, and once wrong if that has an event of its own."""
    app, confirmed = enrol(api, api.pair()["access_token"])
    enrolled = Enrolled(user, app, confirmed.json())
    challenge = api.login().json()["challenge_token"]
    body = {"challenge_token": challenge, "code": app.wrong_code(), "remember_device": True}
    assert api.post("login/totp", body).status_code == 401
    done = api.post("login/totp", {**body, "code": app.code()}).json()
    token = done["access_token"]
    assert api.post("login/totp", {**body, "challenge_token": "nakt_"}).status_code == 401
    assert api.post("step-up/totp", {"code": app.wrong_code()}, token=token).status_code == 403
    assert api.post("step-up/recovery-code", {"code": enrolled.codes[0]}, token=token).status_code == 200
    assert api.post("factors/recovery-codes", token=token).status_code == 200
    assert api.delete("devices", token=token).status_code == 204
    with later(30):
        _, second = enrol(api, token)
        second_token = second.json()["tokens"]["access_token"]
        assert api.delete(f"factors/{enrolled.factor_id}", token=second_token).status_code == 204
    assert enrolment.reset_factors(user_id=user.pk, by="system") == ["totp"]
    passkey = new_passkey()
    assert register(api, api.pair()["access_token"], passkey).status_code == 201
    passkey.sign_count = -1  # so that the next one is that of a copy
    Passkey.objects.update(sign_count=1)
    assert login_by_passkey(api, passkey).status_code == 401
    Passkey.objects.all().delete()
    Factor.objects.all().delete()
    token = api.pair()["access_token"]
    key = api.post("api-keys", {"name": "nightly backup", "scopes": ["notes:read"]}, token=token).json()
    assert api.get("/notes/write", token=key["key"]).status_code == 403
    assert api.delete(f"api-keys/{key['id']}", token=token).status_code == 204
    ask(api)
    play_provider(api, token)


def play_provider(api: Api, token: str) -> None:
    """Link and unlink an identity, and send an answer that is refused."""
    with FakeProvider("example") as provider:
        linked = flow(api, provider, "link", token=token)
        assert flow(api, provider, nonce="wrong").status_code == 400
    assert api.delete(f"identities/{linked.json()['id']}", token=token).status_code == 204


@pytest.fixture
def messages(
    transactional_db: None, audited: None, api: Api, user: Any, kit: Callable[..., None], later: Callable[..., Any]
) -> list[dict[str, Any]]:
    """Return every message of the optional apps that a run of all flows records."""
    kit(FACTORS={"REMEMBER_DEVICE": timedelta(days=30)}, ACCESS_TOKEN_LIFETIME=timedelta(hours=1))
    play_every_flow(api, user, later)
    names = {kind.type for kind in OPTIONAL}
    found = [json.loads(row.payload) for row in AuditOutbox.objects.order_by("id")]
    return [message for message in found if message["type"] in names]


def shown(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message with fixed values in place of those that differ from run to run."""
    text, id = json.dumps(normalized(message)), "3c1f3f0e-6f0b-4d3f-9a55-0c1b6f2f7d10"
    text = re.sub(r'"(factor_id|device_id|key_id)": "[0-9a-f-]{36}"', rf'"\1": "{id}"', text)
    text = re.sub(r'"expires_at": "[^"]+"', '"expires_at": "2026-03-02T09:15:04+00:00"', text)
    made: dict[str, Any] = json.loads(text)
    return made


@pytest.mark.security("AUD-02")
def test_every_message_fits_its_schema_and_has_a_documented_reason(messages: list[dict[str, Any]]) -> None:
    assert {message["type"] for message in messages} == {kind.type for kind in OPTIONAL}
    for message in messages:
        kind, reason = event_class(message["type"]), message["data"]["reason"]
        assert kind is not None
        validator(kind).validate(message)
        assert isinstance(parse(json.dumps(message)), kind)
        assert reason is None or reason in kind.reasons, (kind.name, reason)


def test_the_documented_examples_are_those_of_a_run(messages: list[dict[str, Any]]) -> None:
    examples = {message["type"]: shown(message) for message in reversed(messages)}
    if RECORD:
        text = json.dumps(dict(sorted(examples.items())), indent=2) + "\n"
        generate.EXAMPLES_OF_FEATURES.write_text(text)

    assert json.loads(generate.EXAMPLES_OF_FEATURES.read_text()) == examples


@EVENTS
def test_a_schema_takes_its_example(kind: type[Event]) -> None:
    validator(kind).validate(json.loads(generate.EXAMPLES_OF_FEATURES.read_text())[kind.type])


def test_no_released_schema_is_broken() -> None:
    current = {kind.type: schema_of(kind) for kind in OPTIONAL}
    if RECORD:
        RELEASED.write_text(json.dumps(current, indent=1) + "\n")

    assert breaks(json.loads(RELEASED.read_text()), current) == []


def test_the_document_has_the_events_of_the_optional_apps() -> None:
    shipped = json.loads((generate.DOCS / "asyncapi.json").read_text())

    routes = {channel["address"] for channel in shipped["channels"].values()}
    assert routes == {kind.routing_key for kind in generate.kit_events()}
    assert {kind.routing_key for kind in OPTIONAL} < routes


@EVENTS
def test_an_event_is_mapped_to_published_values_of_other_standards(kind: type[Event]) -> None:
    ids = kind.ocsf.split(", ")
    assert set(ids) <= set(OCSF_ACTIVITIES)
    classes = [id.partition("/")[0] for id in ids]
    assert classes in (["3002"], ["3001", "3007"]), "3001 is deprecated since OCSF 1.9.0, and 3007 new in it"
    if len(ids) == 2:
        earlier, later = (OCSF_ACTIVITIES[id] for id in ids)
        assert later == earlier or (earlier, later) == ("Other", "Update")
    assert not kind.shared_signal or kind.shared_signal in SHARED_SIGNALS
    categories, types = generate.ecs(kind)
    assert all(set(types) <= ECS_TYPES[category] for category in categories)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("session.factor_requested", (["authentication"], ["start"])),
        ("session.factor_failed", (["authentication"], ["start"])),
        ("session.stepped_up", (["authentication"], ["info"])),
        ("passkey.clone_suspected", (["authentication"], ["start"])),
        ("login_code.requested", (["authentication"], ["start"])),
        ("factor.reset", (["iam"], ["user", "change"])),
    ],
)
def test_a_second_factor_is_a_part_of_the_login(name: str, expected: tuple[list[str], list[str]]) -> None:
    kind = event_class(f"ninja-auth-kit.{name}.v1")
    assert kind is not None
    assert generate.ecs(kind) == expected


def test_a_schema_refuses_another_event() -> None:
    examples = json.loads(generate.EXAMPLES_OF_FEATURES.read_text())
    kind = event_class("ninja-auth-kit.factor.added.v1")
    assert kind is not None

    with pytest.raises(jsonschema_rs.ValidationError):
        validator(kind).validate(examples["ninja-auth-kit.factor.removed.v1"])


def test_a_consumer_without_django_knows_the_events() -> None:
    code = """
import sys
import ninja_auth_kit.contrib.factors.events
from ninja_auth_kit.audit.events import parse
print(type(parse(sys.stdin.read())).__name__, [name for name in sys.modules if name.partition(".")[0] == "django"])
"""
    example = json.loads(generate.EXAMPLES_OF_FEATURES.read_text())["ninja-auth-kit.factor.added.v1"]

    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(example), capture_output=True, text=True, check=True
    )

    assert done.stdout == "FactorAdded []\n"
