"""The operations of the OpenAPI document, and what every response to an attack must satisfy."""

import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from django.apps import apps
from django.db import transaction
from django.test import RequestFactory, TestCase
from django.urls import resolve
from django.utils import timezone
from hypothesis import HealthCheck, settings

from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import settings as kit_settings
from ninja_auth_kit.models import OneTimeToken
from ninja_auth_kit.models.one_time_tokens import Purpose
from ninja_auth_kit.services.internal.finish_login import Proof, insert_session, new_session, password_proof
from ninja_auth_kit.services.internal.session_tokens import TokenPair
from tests.conftest import EMAIL, PASSWORD

DOCUMENT = "/api/auth/openapi.json"
PURPOSES = {"password/reset": Purpose.RESET_PASSWORD, "email/change": Purpose.CHANGE_EMAIL}


def bounded(examples: int) -> settings:
    """Return the settings of Hypothesis: the same examples in every run, without a deadline.

    A test run may share a busy machine, so slow examples are not a defect of the kit. No example
    database is written.
    """
    return settings(
        derandomize=True,
        database=None,
        deadline=None,
        max_examples=examples,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@dataclass(frozen=True)
class Operation:
    """An operation of the document."""

    method: str
    path: str
    description: dict[str, Any]
    schemas: dict[str, Any]

    def __str__(self) -> str:
        return str(self.description["operationId"])

    @property
    def is_protected(self) -> bool:
        """Return whether the operation requires an access token."""
        return "security" in self.description

    @property
    def members(self) -> list[str]:
        """Return the names of the members of the body, if it has one."""
        return list(self._body.get("properties", []))

    @property
    def required(self) -> list[str]:
        """Return the names of the required members."""
        return list(self._body.get("required", []))

    @property
    def _body(self) -> dict[str, Any]:
        if "requestBody" not in self.description:
            return {}
        (content,) = self.description["requestBody"]["content"].values()
        reference = content["schema"].get("$ref", "").rpartition("/")[2]
        return dict(self.schemas.get(reference, content["schema"]))

    def path_of(self, genuine: Mapping[str, Any]) -> str:
        """Return the path with valid values for its parameters."""
        return re.sub(r"{(\w+)}", lambda match: str(genuine[match[1]]), self.path)

    def assert_documented(self, response: Any) -> None:
        """Assert that the response is documented and `no-store`, and that an error is a problem."""
        status = response.status_code
        assert status < 500, (status, response.content)
        assert response["Cache-Control"] == "no-store"
        assert str(status) in self.description["responses"], (str(self), status, response.content)
        content = self.description["responses"][str(status)].get("content")
        if content is None:
            assert response.content == b""
            return
        assert list(content) == [response["Content-Type"].partition(";")[0]]
        if status < 400:
            return
        body = response.json()
        (kind,) = content.values()
        schema = self.schemas[kind["schema"]["$ref"].rpartition("/")[2]]
        assert set(schema["required"]) <= set(body) <= set(schema["properties"])
        assert body["status"] == status
        assert body["code"] in kind["examples"]
        assert ("WWW-Authenticate" in response.headers) is (status == 401)


@pytest.fixture(autouse=True)
def _provider(kit: Callable[..., None]) -> Iterator[None]:
    """Answer in place of the provider of the settings, if the optional app for providers is installed."""
    if not apps.is_installed("ninja_auth_kit.contrib.oidc"):
        yield
        return
    from tests.features.genuine import OIDC, provider

    kit(OIDC=OIDC)
    with provider:
        yield


@functools.cache
def document() -> dict[str, Any]:
    """Return the OpenAPI document.

    The view is called without a request of a client: tests are collected before Django's test environment is set up,
    and the first request of a web process starts the thread that sends promised emails.
    """
    return dict(json.loads(resolve(DOCUMENT).func(RequestFactory().get(DOCUMENT)).content))


@functools.cache
def operations() -> list[Operation]:
    """Return every operation of the document, so that a new operation is attacked automatically."""
    schemas = document()["components"]["schemas"]
    return [
        Operation(method.upper(), path, description, schemas)
        for path, methods in document()["paths"].items()
        for method, description in methods.items()
    ]


@contextmanager
def undone() -> Iterator[None]:
    """Run one example including its `on_commit` callbacks, and roll it back.

    Each example thus starts from the same state.
    """
    with transaction.atomic():
        with TestCase.captureOnCommitCallbacks(execute=True):
            yield
        transaction.set_rollback(True)


def started(user: Any, proof: Proof | None = None) -> TokenPair:
    """Start a session without a login, which would be slow."""
    client = ClientInfo(ip_address="127.0.0.1")
    proof = proof or password_proof(user.password)
    return insert_session(
        new_session(user=user, client=client, proof=proof), user=user, claims={}, client=client, proof=proof
    )


def genuine_values(user: Any, operation: Operation) -> dict[str, Any]:
    """Return a valid value for each member of an operation's body and path, and an access token."""
    pair = started(user)
    purpose = next((one for part, one in PURPOSES.items() if part in operation.path), Purpose.VERIFY_EMAIL)
    expires_at = timezone.now() + kit_settings.PASSWORD_RESET_LIFETIME
    return {
        "access_token": pair.access_token,
        "refresh_token": pair.refresh_token,
        "session_id": str(pair.session_id),
        "token": OneTimeToken.objects.issue(purpose=purpose, user=user, email=EMAIL, expires_at=expires_at),
        "email": EMAIL,
        "new_email": "new@example.com",
        # A login takes one identifier.
        "username": None if operation.path.endswith("/login") else "somebody_else",
        "password": PASSWORD,
        "current_password": PASSWORD,
        "new_password": "another long walk in the hills",
        **_genuine_factors(user, operation),
    }


def _genuine_factors(user: Any, operation: Operation) -> dict[str, Any]:
    """Return the valid values for an operation of second factors, if they are installed."""
    if not apps.is_installed("ninja_auth_kit.contrib.totp"):
        return {}
    from tests.features.genuine import values_of

    return values_of(user, operation.description.get("operationId", ""), started)
