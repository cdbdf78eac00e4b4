"""Schemathesis: the OpenAPI document describes every response, including its headers."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import schemathesis
from django.apps import apps
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from django.test import TestCase
from hypothesis import given
from hypothesis import strategies as st
from schemathesis.specs.openapi import checks

from ninja_auth_kit.tokens import generate_key
from tests.attacks.conftest import DOCUMENT, Operation, bounded, document, genuine_values, operations, undone
from tests.conftest import EMAIL, PASSWORD, mailed_token, users_have_names

OTHER_PASSWORD = "another long walk in the hills"

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.security("CRED-18", "HTTP-02", "HTTP-04", "HTTP-05"),
    pytest.mark.attack,
]

# Every status that may reject a body. Schemathesis by itself does not expect 413, but sends bodies
# that are over the limit.
REJECTED = [400, 401, 403, 404, 405, 409, 413, 415, 422, 428, 429, "5xx"]
# An explicit configuration, because Schemathesis otherwise searches all parent directories for a
# file.
config = schemathesis.Config.from_dict({"checks": {"negative_data_rejection": {"expected-statuses": REJECTED}}})
schema = schemathesis.openapi.from_dict(document(), config=config)
schema.app, schema.location = get_wsgi_application(), DOCUMENT

# The document cannot say which tokens exist, so well-formed requests with invented tokens are
# rejected.
IMPOSSIBLE = [checks.positive_data_acceptance]
# The pages for links in emails share their path with an operation. They are for browsers, and not
# in the document.
PAGES = [checks.unsupported_method, checks.allow_header_conformance]
# A logout accepts invalid tokens, or its response would show whether a token is valid (RFC 7009
# section 2.2).
NO_ORACLE = [checks.negative_data_rejection]
# In cookie mode, a request from another origin is refused before its token is looked at.
OTHER_ORIGIN = [checks.missing_required_header] if apps.is_installed("ninja_auth_kit.contrib.cookies") else []


def _left_out(path: str) -> list[Any]:
    left_out = [*IMPOSSIBLE, *OTHER_ORIGIN]
    if path.endswith(("/verify-email", "/password/reset", "/email/change")):
        left_out += PAGES
    if path.endswith("/logout"):
        left_out += NO_ORACLE
    return left_out


@pytest.fixture(autouse=True)
def one_connection() -> Iterator[None]:
    """Keep the test's connection open after a request, as Django's test client does."""
    ends = (request_started, request_finished)
    for end in ends:
        end.disconnect(close_old_connections)
    yield
    for end in ends:
        end.connect(close_old_connections)


@schema.parametrize()
@bounded(60)
def test_without_a_session_every_answer_is_as_documented(case: Any) -> None:
    with undone():
        response = case.call()
    case.validate_response(response, excluded_checks=_left_out(case.operation.path))


@pytest.mark.security("HTTP-01")
@pytest.mark.parametrize("operation", [one for one in operations() if one.is_protected], ids=str)
def test_with_a_session_every_answer_is_as_documented(operation: Operation, user: Any) -> None:
    genuine = genuine_values(user, operation)
    authorization = {"Authorization": f"Bearer {genuine['access_token']}"}
    seen = set()

    @bounded(40)
    @given(case=schema[operation.path][operation.method].as_strategy(), is_right=st.booleans())
    def attack(case: Any, is_right: bool) -> None:
        # Some responses to a wrong password are never sent for the right one.
        if is_right:
            case.body = {name: genuine[name] for name in operation.members} or case.body
            case.path_parameters = {name: genuine[name] for name in case.path_parameters}
        with undone():
            response = case.call(headers=authorization)
            case.validate_response(response, headers=authorization, excluded_checks=_left_out(operation.path))
        seen.add(response.status_code)

    attack()
    assert any(status < 300 for status in seen)


def test_every_success_is_seen_and_has_the_shape_that_the_document_promises(kit: Callable[..., None]) -> None:
    seen: set[tuple[str, int]] = set()

    def call(method: str, path: str, body: Any = None, *, status: int, token: str = "", **path_parameters: str) -> Any:
        operation = schema[f"/api/auth/{path}"][method]
        case = operation.Case(path_parameters=path_parameters, **({} if body is None else {"body": body}))
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        with TestCase.captureOnCommitCallbacks(execute=True):
            response = case.call(headers=headers)
        case.validate_response(response, headers=headers, excluded_checks=[checks.ignored_auth])
        assert response.status_code == status, response.content
        seen.add((operation.label, status))
        return response.json() if response.content else None

    name = {"username": "ada"} if users_have_names() else {}
    call("POST", "register", {"email": EMAIL, "password": PASSWORD, **name}, status=202)
    call("POST", "login", {"email": EMAIL, "password": PASSWORD}, status=403)
    call("POST", "verify-email/resend", {"email": EMAIL}, status=202)
    call("POST", "verify-email", {"token": mailed_token(), "password": PASSWORD}, status=200)
    pair = call("POST", "login", {"email": EMAIL, "password": PASSWORD}, status=200)
    pair = call("POST", "refresh", {"refresh_token": pair["refresh_token"]}, status=200)
    token = pair["access_token"]
    call("GET", "me", status=200, token=token)
    call("PATCH", "me", {}, status=200, token=token)
    call("GET", ".well-known/jwks.json", status=404)
    kit(SIGNING_KEYS=[{"alg": "ES256", "key": generate_key("ES256").text, "state": "verify-only"}])
    call("GET", ".well-known/jwks.json", status=200)
    call("GET", "sessions", status=200, token=token)
    call("DELETE", "sessions/{session_id}", status=404, token=token, session_id="x")
    passwords = {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}
    call("POST", "password/change", passwords, status=204, token=token)
    call("POST", "password/change", passwords, status=403, token=token)
    call("DELETE", "sessions/{session_id}", status=204, token=token, session_id=pair["session_id"])
    call("POST", "password/reset", {"email": EMAIL}, status=202)
    reset = {"token": mailed_token(), "new_password": PASSWORD}
    call("POST", "password/reset/confirm", reset, status=204)
    call("POST", "password/reset/confirm", reset, status=400)
    token = call("POST", "login", {"email": EMAIL, "password": PASSWORD}, status=200)["access_token"]
    kit(SESSION_LIMIT_POLICY="reject")
    call("POST", "login", {"email": EMAIL, "password": PASSWORD}, status=409)
    call("POST", "email/change", {"new_email": "new@example.com", "password": PASSWORD}, status=202, token=token)
    call("POST", "email/change/confirm", {"token": mailed_token(-2)}, status=204)
    for _ in range(2):
        pair = call("POST", "login", {"email": "new@example.com", "password": PASSWORD}, status=200)
        call("POST", "logout", {"refresh_token": pair["refresh_token"]}, status=204)
    token = call("POST", "login", {"email": "new@example.com", "password": PASSWORD}, status=200)["access_token"]
    call("POST", "logout/all", status=204, token=token)
    call("GET", "me", status=401, token=token)
    token = call("POST", "login", {"email": "new@example.com", "password": PASSWORD}, status=200)["access_token"]
    if apps.is_installed("ninja_auth_kit.contrib.totp"):
        from tests.features.genuine import play

        token = play(call, kit, email="new@example.com", token=token)
    call("DELETE", "me", {"password": PASSWORD}, status=204, token=token)
    kit(THROTTLES={"login_account": "1/m"}, REGISTRATION_OPEN=False)
    call("POST", "register", {"email": EMAIL, "password": PASSWORD, **name}, status=403)
    call("POST", "login", {"email": EMAIL, "password": PASSWORD}, status=401)
    call("POST", "login", {"email": EMAIL, "password": PASSWORD}, status=429)

    promised = {
        (f"{operation.method} {operation.path}", int(status))
        for operation in operations()
        for status in operation.description["responses"]
        if int(status) < 300
    }
    assert promised <= seen
