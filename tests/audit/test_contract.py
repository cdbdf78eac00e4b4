"""The contract with consumers: schemas, examples and documents, and incompatible changes to them."""

import copy
import json
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from django.core.management import call_command

from docs.generators import events as generate
from ninja_auth_kit.audit.events import (
    Event,
    RegistrationFailed,
    SessionRevoked,
    all_events,
    event_class,
    parse,
)
from ninja_auth_kit.audit.events.base import NoDetails, event
from ninja_auth_kit.audit.events.schemas import schema_of
from ninja_auth_kit.models import AuditOutbox
from ninja_auth_kit.models.sessions import EndReason
from tests.audit.compatibility import breaks
from tests.audit.test_events import play_every_flow
from tests.conftest import Api
from tests.servers import ROOT

DRAFT = "https://json-schema.org/draft/2020-12/schema"
RELEASED = Path(__file__).parent / "released_schemas.json"
RECORD = bool(os.environ.get("AUTHKIT_RECORD"))

KIT = [kind for kind in all_events() if kind.signal]


def validator(kind: type[Event]) -> Any:
    return jsonschema_rs.Draft202012Validator(schema_of(kind), validate_formats=True)


@pytest.fixture
def messages(
    transactional_db: None, audited: None, host_api: Callable[..., Api], kit: Callable[..., None]
) -> list[dict[str, Any]]:
    """Return every message that a run of all flows records."""
    play_every_flow(host_api, kit)
    return [json.loads(row.payload) for row in AuditOutbox.objects.order_by("id")]


def normalized(message: dict[str, Any]) -> dict[str, Any]:
    """Replace the values that differ from run to run with fixed ones."""
    text = json.dumps(message)
    user = message.get("subject", "user/").removeprefix("user/")
    if user:
        text = text.replace(f'"{user}"', '"0191b2c4-77aa-7d3e-8f7e-5a2b1c9d0e11"')
        text = text.replace(f"user/{user}", "user/0191b2c4-77aa-7d3e-8f7e-5a2b1c9d0e11")
    text = re.sub(r'"id": "0[0-9a-f]{7}-[0-9a-f]{4}-7[0-9a-f-]{17,}", "source"', '"id": "ID", "source"', text)
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "2026-01-31T09:15:04.123456Z", text)
    text = re.sub(r'"correlationid": "[0-9a-f]{32}"', '"correlationid": "8d1f6c0a4b7e4d0f9a52c3e1b6a7d901"', text)
    text = re.sub(
        r'"session": {"id": "[0-9a-f-]{36}"}', '"session": {"id": "6a1d7a64-0a0e-4d0f-8f5e-0b6f2d1c9e77"}', text
    )
    text = re.sub(r"[0-9a-f]{8}:[0-9a-f]{32}", "48eea3d3:9f2c6b1e0d4a8c7f5e3b2a1908d7c6b5", text)
    text = text.replace('"ID"', '"0197f3a2-5d1c-7c3e-9a55-0c1b6f2f7d10"').replace('"127.0.0.1"', '"203.0.113.7"')
    made: dict[str, Any] = json.loads(text)
    if not made["partitionkey"].startswith("user/"):
        made["partitionkey"] = made["data"]["target"]["identifier_hash"] or made["data"]["session"]["id"] or made["id"]
    return made


@pytest.mark.security("AUD-02")
def test_every_message_that_is_sent_fits_its_schema(messages: list[dict[str, Any]]) -> None:
    assert {message["type"] for message in messages} == {kind.type for kind in KIT}
    for message in messages:
        kind = event_class(message["type"])
        assert kind is not None
        validator(kind).validate(message)
        assert isinstance(parse(json.dumps(message)), kind)


def test_every_reason_that_is_sent_is_documented(messages: list[dict[str, Any]]) -> None:
    for message in messages:
        kind, reason = event_class(message["type"]), message["data"]["reason"]
        assert kind is not None
        # It has the codes of all validation rules.
        if reason is not None and kind is not RegistrationFailed:
            assert reason in kind.reasons, (kind.name, reason)
    ends = {EndReason.REPLACED, EndReason.REVOKED, EndReason.EXPIRED, EndReason.PASSWORD_CHANGED}
    assert ends <= set(SessionRevoked.reasons)


def test_the_documented_examples_are_those_of_a_run(messages: list[dict[str, Any]]) -> None:
    examples = {message["type"]: normalized(message) for message in reversed(messages)}
    if RECORD:
        generate.EXAMPLES.write_text(json.dumps(dict(sorted(examples.items())), indent=2) + "\n")

    assert json.loads(generate.EXAMPLES.read_text()) == examples


def test_every_schema_is_one_and_takes_its_example() -> None:
    examples = json.loads(generate.EXAMPLES.read_text())

    for kind in all_events():
        jsonschema_rs.meta.validate({"$schema": DRAFT, **schema_of(kind)})
    for kind in KIT:
        validator(kind).validate(examples[kind.type])


@pytest.mark.parametrize(
    "break_it",
    [
        lambda message: message.pop("id"),
        lambda message: message.update(type="ninja-auth-kit.session.logged_in.v1"),
        lambda message: message.update(time="yesterday"),
        lambda message: message["data"].pop("details"),
        lambda message: message["data"].update(outcome="success"),
        lambda message: message["data"]["actor"].update(type="root"),
        lambda message: message["data"].update(count=0),
    ],
)
def test_a_schema_refuses_what_is_no_such_event(break_it: Callable[[dict[str, Any]], Any]) -> None:
    message = json.loads(generate.EXAMPLES.read_text())["ninja-auth-kit.session.login_failed.v1"]
    kind = event_class(message["type"])
    assert kind is not None
    break_it(message)

    with pytest.raises(jsonschema_rs.ValidationError):
        validator(kind).validate(message)


@pytest.fixture(scope="module")
def asyncapi_schema(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the official schema of AsyncAPI 3.0.0, from its npm package."""
    if shutil.which("npm") is None:
        assert not os.environ.get("CI"), "npm must be installed in CI, to get AsyncAPI's schema"
        pytest.skip("npm is not installed, so AsyncAPI's schema cannot be downloaded")
    folder = tmp_path_factory.mktemp("npm")
    pack = ["npm", "pack", "--silent", "@asyncapi/specs@6.11.1"]
    done = subprocess.run(pack, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode != 0:
        assert not os.environ.get("CI"), done.stderr
        pytest.skip("npm cannot download AsyncAPI's schema")
    with tarfile.open(folder / done.stdout.strip().splitlines()[-1]) as package:
        member = package.extractfile("package/schemas/3.0.0.json")
        assert member is not None
        return json.load(member)


def test_the_document_is_asyncapi_by_its_authors_own_schema(asyncapi_schema: Any, capsys: Any) -> None:
    shipped = json.loads((ROOT / "docs" / "asyncapi.json").read_text())
    call_command("authkit_asyncapi")
    printed = json.loads(capsys.readouterr().out)

    check = jsonschema_rs.Draft7Validator(asyncapi_schema)
    for document in (shipped, printed):
        assert [error.message for error in check.iter_errors(document)] == []
    assert not check.is_valid({**shipped, "channels": {"x": {"adress": "y"}}})
    # The shipped one also has the events of the optional apps: see tests/features/test_event_contract.py.
    assert {channel["address"] for channel in shipped["channels"].values()} >= {kind.routing_key for kind in KIT}


def test_no_released_schema_is_broken() -> None:
    current = {kind.type: schema_of(kind) for kind in KIT}
    if RECORD:
        RELEASED.write_text(json.dumps(current, indent=1) + "\n")

    assert breaks(json.loads(RELEASED.read_text()), current) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda data: data["properties"].pop("client"), "data.client is gone"),
        (lambda data: data["required"].remove("session"), "data.session was always there"),
        (lambda data: data["properties"].update(reason={"type": ["string", "null", "integer"]}), "now may be integer"),
        (lambda data: data["properties"].update(details={}), "data.details was object, and now may be anything"),
        (lambda data: data["properties"].update(outcome={"const": "done"}), "had the const 'success'"),
        (
            lambda data: data["properties"]["details"]["properties"]["scope"].update(enum=["one", "all", "some"]),
            "details.scope was one of ['one', 'all']",
        ),
        (lambda data: data["properties"]["first_time"].pop("format"), "data.first_time had the format"),
    ],
)
def test_a_change_that_breaks_consumers_is_found(change: Callable[[dict[str, Any]], Any], fault: str) -> None:
    kind = event_class("ninja-auth-kit.session.logged_out.v1")
    assert kind is not None
    new = copy.deepcopy(schema_of(kind))
    change(new["properties"]["data"])

    found = breaks({kind.type: schema_of(kind)}, {kind.type: new})

    assert any(fault in sentence for sentence in found), found


def test_what_only_adds_breaks_nothing_and_what_is_gone_does() -> None:
    kind = event_class("ninja-auth-kit.session.logged_out.v1")
    assert kind is not None
    new = copy.deepcopy(schema_of(kind))
    new["properties"]["tenantid"] = {"type": "string"}
    new["properties"]["data"]["properties"]["risk"] = {"type": "object"}
    new["properties"]["data"]["properties"]["reason"]["description"] = "other words"

    assert breaks({kind.type: schema_of(kind)}, {kind.type: new, "another": {}}) == []
    assert "is gone" in breaks({kind.type: schema_of(kind)}, {})[0]


@pytest.mark.parametrize(("name", "route"), [("order", "order.x.success"), ("order.approved", "order.approved")])
def test_a_name_or_a_route_that_is_none_is_refused(name: str, route: str) -> None:
    with pytest.raises(ValueError, match="is not a valid"):
        event(name, route=route, signal="", by="user")


def test_a_type_is_given_once() -> None:
    with pytest.raises(ValueError, match=r"The event 'ninja-auth-kit\.session\.logged_in\.v1' exists already"):

        @event("session.logged_in", route="session.login.success", signal="", by="user")
        class Another(Event):
            details: NoDetails
