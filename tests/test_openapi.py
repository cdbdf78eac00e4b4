"""The OpenAPI document: every operation with its id, and every status with its codes."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from tests.conftest import EMAIL, PASSWORD, Api, mailed_token

pytestmark = pytest.mark.django_db(transaction=True)

OPERATIONS = {
    "auth_register": ("post", "/api/auth/register"),
    "auth_verify_email": ("post", "/api/auth/verify-email"),
    "auth_resend_verification": ("post", "/api/auth/verify-email/resend"),
    "auth_login": ("post", "/api/auth/login"),
    "auth_refresh": ("post", "/api/auth/refresh"),
    "auth_logout": ("post", "/api/auth/logout"),
    "auth_logout_all": ("post", "/api/auth/logout/all"),
    "auth_change_password": ("post", "/api/auth/password/change"),
    "auth_request_password_reset": ("post", "/api/auth/password/reset"),
    "auth_confirm_password_reset": ("post", "/api/auth/password/reset/confirm"),
    "auth_request_email_change": ("post", "/api/auth/email/change"),
    "auth_confirm_email_change": ("post", "/api/auth/email/change/confirm"),
    "auth_update_me": ("patch", "/api/auth/me"),
    "auth_delete_me": ("delete", "/api/auth/me"),
    "auth_me": ("get", "/api/auth/me"),
    "auth_list_sessions": ("get", "/api/auth/sessions"),
    "auth_end_session": ("delete", "/api/auth/sessions/{session_id}"),
    "auth_jwks": ("get", "/api/auth/.well-known/jwks.json"),
}


@pytest.fixture
def schema() -> dict[str, Any]:
    return dict(Client().get("/api/auth/openapi.json").json())


def operations(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        operation["operationId"]: operation for methods in schema["paths"].values() for operation in methods.values()
    }


def test_every_operation_is_there_under_its_id_and_no_other(schema: dict[str, Any]) -> None:
    found = {
        operation["operationId"]: (method, route)
        for route, methods in schema["paths"].items()
        for method, operation in methods.items()
    }

    assert found == OPERATIONS


def test_every_operation_says_what_it_does(schema: dict[str, Any]) -> None:
    for name, operation in operations(schema).items():
        assert operation["summary"], name
        assert len(operation["description"]) > 20, name


def test_every_error_is_a_problem_with_its_codes_and_an_example(schema: dict[str, Any]) -> None:
    for name, operation in operations(schema).items():
        for status, response in operation["responses"].items():
            if int(status) < 400:
                continue
            assert list(response["content"]) == ["application/problem+json"], (name, status)
            content = response["content"]["application/problem+json"]
            assert response["description"]
            for code, example in content["examples"].items():
                assert (example["value"]["code"], example["value"]["status"]) == (code, int(status))


def test_protected_operations_ask_for_a_bearer_jwt_and_the_others_for_nothing(schema: dict[str, Any]) -> None:
    protected = {name for name, operation in operations(schema).items() if "security" in operation}

    assert protected == {
        "auth_logout_all",
        "auth_change_password",
        "auth_request_email_change",
        "auth_update_me",
        "auth_delete_me",
        "auth_me",
        "auth_list_sessions",
        "auth_end_session",
    }
    assert schema["components"]["securitySchemes"] == {
        "JWTAuth": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    }


def test_only_a_logout_needs_no_body(schema: dict[str, Any]) -> None:
    optional = {
        operation["operationId"]
        for path in schema["paths"].values()
        for operation in path.values()
        if not operation.get("requestBody", {"required": True})["required"]
    }

    assert optional == {"auth_logout"}


def test_request_bodies_have_examples_and_hide_passwords(schema: dict[str, Any]) -> None:
    for name in ("auth_register", "auth_login", "auth_verify_email"):
        body = operations(schema)[name]["requestBody"]["content"]["application/json"]["schema"]
        resolved = schema["components"]["schemas"][body["$ref"].rpartition("/")[2]]
        password = resolved["properties"]["password"]
        variants = password.get("anyOf", [password])
        assert any(variant.get("format") == "password" and variant.get("writeOnly") for variant in variants)
        assert resolved["additionalProperties"] is False


def test_every_answer_of_the_flow_is_a_documented_one(
    schema: dict[str, Any], api: Api, kit: Callable[..., None]
) -> None:
    documented = operations(schema)
    answers: list[tuple[str, Any]] = []

    def call(name: str, body: Any = None, token: str | None = None, **headers: Any) -> Any:
        method, route = OPERATIONS[name]
        path = route.replace("{session_id}", "x")
        answers.append((name, api(method.upper(), path, body, token=token, **headers)))
        return answers[-1][1]

    api.register()
    token = mailed_token()
    call("auth_login", {"email": EMAIL, "password": PASSWORD})
    call("auth_verify_email", {"token": "x", "password": PASSWORD})
    call("auth_verify_email", {"token": token, "password": PASSWORD})
    pair = call("auth_login", {"email": EMAIL, "password": PASSWORD}).json()
    kit(SESSION_LIMIT_POLICY="reject", REGISTRATION_OPEN=False)
    call("auth_login", {"email": EMAIL, "password": PASSWORD})
    for name in OPERATIONS:
        for body in (None, {}, {"x": 1}, b"{", b"[]", b" " * 70_000):
            call(name, body)
        call(name, b"x=1", content_type="application/x-www-form-urlencoded")
        call(name, {"email": EMAIL, "password": PASSWORD, "refresh_token": "x"})
        call(name, token="bad")
    for body in ({}, {"is_staff": True}):
        call("auth_update_me", body, token=pair["access_token"])
    for name in ("auth_me", "auth_list_sessions", "auth_end_session", "auth_logout_all", "auth_me"):
        call(name, token=pair["access_token"])
    call("auth_refresh", {"refresh_token": pair["refresh_token"]})

    undocumented = {
        (name, answer.status_code)
        for name, answer in answers
        if str(answer.status_code) not in documented[name]["responses"]
    }
    assert undocumented == set()
    for name, answer in answers:
        if answer.status_code >= 400:
            content = documented[name]["responses"][str(answer.status_code)]["content"]["application/problem+json"]
            assert answer.json()["code"] in content["examples"]
