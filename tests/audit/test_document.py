"""The shape of the AsyncAPI document, on which code generators depend: one definition of each block, by reference."""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ninja_auth_kit.audit.events import Event, all_events, base
from ninja_auth_kit.audit.events.base import event
from ninja_auth_kit.audit.events.schemas import asyncapi_document, schema_of
from tests.servers import ROOT

SHIPPED = ROOT / "docs" / "asyncapi.json"
KIT = [kind for kind in all_events() if kind.signal]


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    """Return every object below a node, and the node itself."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from nodes(child)


def target(document: dict[str, Any], reference: str) -> Any:
    """Return what a reference refers to. Raise KeyError if it refers to nothing."""
    node: Any = document
    for step in reference.removeprefix("#/").split("/"):
        node = node[step]
    return node


def inlined(document: dict[str, Any], node: Any) -> Any:
    """Return a schema with the definitions in the place of the references to them."""
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return inlined(document, target(document, node["$ref"]))
    return {name: inlined(document, member) for name, member in node.items()}


@pytest.fixture(scope="module")
def shipped() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(SHIPPED.read_text())
    return document


def test_a_payload_is_a_schema_and_not_a_wrapper_around_one(shipped: dict[str, Any]) -> None:
    messages = shipped["components"]["messages"].values()

    payloads = {message["payload"]["$ref"] for message in messages}
    assert payloads >= {f"#/components/schemas/{kind.__name__}" for kind in KIT}  # and those of optional apps
    assert all(payload.startswith("#/components/schemas/") for payload in payloads)
    assert not any("schemaFormat" in node for node in nodes(shipped))


def test_every_reference_resolves(shipped: dict[str, Any]) -> None:
    references = [node["$ref"] for node in nodes(shipped) if "$ref" in node]

    assert len(references) > len(KIT)
    for reference in references:
        assert target(shipped, reference)


def test_every_block_is_defined_once_and_referred_to(shipped: dict[str, Any]) -> None:
    schemas = shipped["components"]["schemas"]

    assert {"Actor", "AuthType", "Client", "Session", "Target", "NoDetails", "PasswordDetails"} < set(schemas)
    for name, schema in schemas.items():
        assert schema["title"] == name
        for member, value in schema.get("properties", {}).items():
            assert "properties" not in value, (name, member)
            assert "enum" not in value, (name, member)
            assert "title" not in value, (name, member)


def test_the_definitions_are_the_schemas_of_the_events_and_require_the_same(shipped: dict[str, Any]) -> None:
    by_type = {message["name"]: message["payload"] for message in shipped["components"]["messages"].values()}

    for kind in KIT:
        schema = inlined(shipped, by_type[kind.type])
        assert schema == schema_of(kind)
        assert {"id", "source", "type", "data"} < set(schema["required"])
        assert {"outcome", "actor", "details"} < set(schema["properties"]["data"]["required"])
        assert schema["properties"]["data"]["properties"]["actor"]["required"] == ["id", "type"]


@pytest.fixture
def namesakes(monkeypatch: pytest.MonkeyPatch) -> list[type[Event]]:
    """Return events whose names, and whose classes' names, are those of other events."""
    monkeypatch.setattr(base, "_by_type", dict(base._by_type))

    def made(prefix: str, version: int, member: str) -> type[Event]:
        details = type("LineDetails", (), {"__annotations__": {member: str}})
        body = {"__annotations__": {"details": dataclasses.dataclass(frozen=True, kw_only=True)(details)}}
        kind = type("LoggedIn", (Event,), {**body, "__doc__": f"{prefix}, version {version}."})
        return event(
            "session.logged_in", route="session.login.success", signal="", by="user", prefix=prefix, version=version
        )(kind)

    return [made("app", 1, "a"), made("app", 2, "b"), made("shop", 1, "c")]


def test_events_of_the_same_name_are_all_in_the_document_and_do_not_rename_those_of_the_kit(
    namesakes: list[type[Event]],
) -> None:
    document = asyncapi_document(exchange="x", version="1", kinds=[*namesakes, *KIT])
    messages = document["components"]["messages"]
    schemas = document["components"]["schemas"]

    assert set(messages) == {kind.name for kind in KIT} | {kind.type for kind in namesakes}
    assert set(messages) == set(document["channels"])
    assert messages["session.logged_in"]["payload"] == {"$ref": "#/components/schemas/LoggedIn"}
    assert schemas["LoggedIn"]["properties"]["type"] == {"const": "ninja-auth-kit.session.logged_in.v1"}
    assert {"AppSessionLoggedInV1", "AppSessionLoggedInV2", "ShopSessionLoggedInV1Data"} < set(schemas)
    for kind in namesakes:
        schema = inlined(document, messages[kind.type]["payload"])
        assert schema["properties"]["type"] == {"const": kind.type}
        assert schema["properties"]["data"]["required"] == schema_of(kind)["properties"]["data"]["required"]
        details = schema["properties"]["data"]["properties"]["details"]["properties"]
        assert details == schema_of(kind)["properties"]["data"]["properties"]["details"]["properties"]


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the classes that datamodel-code-generator makes of the document."""
    made = tmp_path_factory.mktemp("models") / "models.py"
    options = [
        "--input-file-type",
        "asyncapi",
        "--output-model-type",
        "pydantic_v2.BaseModel",
        "--formatters",
        "builtin",
    ]
    program = [sys.executable, "-m", "datamodel_code_generator", "--input", str(SHIPPED), "--output", str(made)]
    done = subprocess.run([*program, *options], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return load(made)


def load(path: Path) -> dict[str, Any]:
    """Run a module and return its names."""
    import importlib.util

    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[path.stem]
    return vars(module)


def test_a_code_generator_makes_one_class_of_each_definition(
    generated: dict[str, Any], shipped: dict[str, Any]
) -> None:
    own = {name for name, made in generated.items() if getattr(made, "__module__", "") == "models"}

    assert set(shipped["components"]["schemas"]) <= own
    assert not [name for name in own if name[-1].isdigit()]


def test_the_generated_classes_read_the_examples_and_require_what_the_schemas_do(
    generated: dict[str, Any], shipped: dict[str, Any]
) -> None:
    from pydantic import ValidationError

    for message in shipped["components"]["messages"].values():
        (example,) = message["examples"]
        model = generated[message["title"]]
        assert model.model_validate(example["payload"]).data.target.type == "user"
        for name in schema_required(shipped, message["title"]):
            with pytest.raises(ValidationError, match="Field required"):
                model.model_validate({key: value for key, value in example["payload"].items() if key != name})


def schema_required(document: dict[str, Any], title: str) -> list[str]:
    required: list[str] = document["components"]["schemas"][title]["required"]
    return required
