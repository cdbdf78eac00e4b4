"""The OpenAPI document as generators of clients read it: named problems, examples, and what is always there."""

import json
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from datetime import date, datetime
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest
from django.test import Client
from ninja import NinjaAPI, Schema
from pydantic import Field

import ninja_auth_kit
from ninja_auth_kit import JWTAuth
from ninja_auth_kit.api.examples import example_of
from ninja_auth_kit.testing import auth_headers
from tests.conftest import Api

pytestmark = pytest.mark.django_db

HOST = "tests.host_app.schemas."
OF_THE_SHAPE = {"required", "unknown_field", "invalid", "too_long", "control_character", "one_identifier"}
Operation = tuple[str, str, dict[str, Any]]


def operations(document: dict[str, Any]) -> Iterator[Operation]:
    for route, methods in document["paths"].items():
        for method, operation in methods.items():
            yield route, method, operation


@pytest.fixture(params=["mounted", "installed", "installed with custom schemas"])
def document(request: pytest.FixtureRequest, host_api: Callable[..., Api]) -> dict[str, Any]:
    """Return the document of each way to mount the kit."""
    if request.param == "mounted":
        return dict(Client().get("/api/auth/openapi.json").json())
    if request.param == "installed":
        return dict(Client().get("/host/openapi.json").json())
    api = host_api(REGISTRATION_SCHEMA=HOST + "Registration", PROFILE_SCHEMA=HOST + "Profile", USER_SCHEMA=HOST + "Me")
    return dict(api.get("openapi.json").json())


def test_every_problem_is_a_named_component(document: dict[str, Any]) -> None:
    problems = [
        (operation["operationId"], status, response["content"])
        for _, _, operation in operations(document)
        for status, response in operation["responses"].items()
        if int(status) >= 400
    ]

    assert len(problems) > 100
    for name, status, content in problems:
        assert list(content) == ["application/problem+json"], (name, status)
        schema = content["application/problem+json"]["schema"]
        assert list(schema) == ["$ref"], (name, status)
        component = document["components"]["schemas"][schema["$ref"].removeprefix("#/components/schemas/")]
        assert {"type", "title", "status", "detail", "code"} <= set(component["required"])


def test_no_schema_is_without_a_name_or_refers_to_nothing(document: dict[str, Any]) -> None:
    text = json.dumps(document["paths"])
    named = document["components"]["schemas"]

    assert '"properties"' not in text
    for reference in {part.split('"')[0] for part in json.dumps(document).split('"$ref": "')[1:]}:
        assert reference.removeprefix("#/components/schemas/") in named


def test_an_answer_has_what_its_problem_requires(document: dict[str, Any], kit: Callable[..., None]) -> None:
    kit(THROTTLES={"login_account": "1/h"})
    api, body = Api(), {"email": "ada@example.com", "password": "x"}
    answers = [
        api.post("login", {**body, "x": 1}),
        api.post("login", b'{"email": "a", "email": "b"}'),
        api.post("login", body),
        api.post("login", body),
        api.get("me"),
        api.post("logout", b"{}", content_type="text/plain"),
    ]

    assert [answer.status_code for answer in answers] == [422, 400, 401, 429, 401, 415]
    described = next(
        operation["responses"] for _, _, operation in operations(document) if operation["operationId"] == "auth_login"
    )
    for answer in answers:
        content = described[str(answer.status_code)]["content"]["application/problem+json"]
        component = document["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
        assert set(component["required"]) <= set(answer.json()) <= set(component["properties"])


def test_every_request_body_has_an_example_with_every_required_member(document: dict[str, Any]) -> None:
    bodies = {
        operation["operationId"]: operation["requestBody"]["content"]["application/json"]
        for _, _, operation in operations(document)
        if "requestBody" in operation
    }

    assert len(bodies) == 13
    for name, body in bodies.items():
        component = document["components"]["schemas"][body["schema"]["$ref"].rpartition("/")[2]]
        assert set(component.get("required", ())) <= set(body["example"]) <= set(component.get("properties", ())), name


def test_every_example_is_accepted(document: dict[str, Any], make_user: Callable[..., Any]) -> None:
    user = make_user(password="which no example knows")
    for route, method, operation in operations(document):
        if "requestBody" not in operation:
            continue
        example = operation["requestBody"]["content"]["application/json"]["example"]

        answer = Client().generic(
            method.upper(),
            route,
            json.dumps(example),
            content_type="application/json",
            headers=auth_headers(user) if operation.get("security") else {},
        )

        errors = answer.json().get("errors", []) if answer.content else []
        assert answer.status_code not in {400, 404, 405, 415} or answer.json()["code"] == "invalid_token"
        assert not OF_THE_SHAPE & {error["code"] for error in errors}, (route, errors)


def test_members_that_are_always_there_are_required(document: dict[str, Any]) -> None:
    components = document["components"]["schemas"]
    optional = {
        name: set(component["properties"]) - set(component["required"])
        for name, component in components.items()
        if name.startswith("Auth") or name.endswith("Out") or name in {"Detail", "Me", "VerifiedEmail"}
    }

    # The members of a JWK depend on its algorithm.
    assert optional.pop("PublicKeyOut") == {"crv", "x", "y", "n", "e"}
    assert optional.pop("AuthMalformedBodyProblem") == {"errors"}
    assert optional.pop("AuthStepUpProblem") == {"acr_values", "max_age"}
    assert not any(optional.values()), optional


def test_a_user_schema_of_the_project_requires_its_members_too(host_api: Callable[..., Api]) -> None:
    components = host_api(USER_SCHEMA=HOST + "Me").get("openapi.json").json()["components"]["schemas"]

    assert {"id", "email", "first_name", "initials"} <= set(components["Me"]["required"])


class Colour(Enum):
    """A choice."""

    RED = "red"


class Address(Schema):
    """A nested object."""

    city: str = Field(min_length=5, max_length=20)
    since: date


class Everything(Schema):
    """A body with fields of many types, none of which has an example."""

    text: str
    short: str = Field(max_length=2)
    long: str = Field(min_length=40)
    count: int = Field(ge=18)
    ratio: float
    flag: bool
    colour: Colour
    kind: Literal["a", "b"]
    when: datetime
    key: uuid.UUID
    address: Address
    more: list[Address]
    perhaps: int | None
    either: Address | str
    left_out: str | None = None
    default: int = 7


@pytest.mark.one_user_model
@pytest.mark.one_django
def test_an_example_of_a_schema_of_the_project_is_valid() -> None:
    example = example_of(Everything)

    assert Everything.model_validate(example).address.city
    assert "left_out" not in example


@pytest.mark.one_user_model
def test_the_document_of_the_project_is_left_alone() -> None:
    api = NinjaAPI(urls_namespace="left alone")

    @api.get("/guarded", auth=JWTAuth(), response={200: str, 404: Address})
    def guarded(request: Any) -> str:
        return "in"

    document = api.get_openapi_schema(path_prefix="")

    assert list(document["components"]["schemas"]) == ["Address"]
    assert set(document["paths"]["/guarded"]["get"]["responses"]) == {200, 404}
    assert document["paths"]["/guarded"]["get"]["security"] == [{"JWTAuth": []}]


@pytest.mark.one_user_model
@pytest.mark.one_django
def test_a_problem_of_the_project_keeps_its_name() -> None:
    class Problem(Schema):
        wrong: int

    api = NinjaAPI(urls_namespace="with a problem")
    api.get("/own", response={200: None, 418: Problem})(lambda request: None)
    ninja_auth_kit.install(api)

    components = api.get_openapi_schema(path_prefix="")["components"]["schemas"]

    assert list(components["Problem"]["properties"]) == ["wrong"]


@pytest.mark.one_user_model
@pytest.mark.one_django
@pytest.mark.skipif(
    shutil.which("openapi-python-client") is None, reason="openapi-python-client is not installed: pip install it"
)
def test_openapi_python_client_leaves_nothing_out(document: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    command = ["openapi-python-client", "generate", "--path", "openapi.json", "--output-path", "out", "--meta", "none"]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)

    assert done.returncode == 0, done.stderr
    assert "warning" not in (done.stdout + done.stderr).lower()
    names = {found.stem for found in (tmp_path / "out" / "models").glob("*problem.py")}
    assert names == {f"auth_{kind}problem" for kind in ("", "malformed_body_", "validation_", "throttled_")}
    text = (tmp_path / "out" / "api" / "auth" / "auth_login.py").read_text()
    assert all(f"status_code == {status}:" in text for status in (200, 400, 401, 403, 409, 422, 429, 500, 503))
