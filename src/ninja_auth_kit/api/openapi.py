"""What OpenAPI says about an operation: its id, its answer, and every error it can give with the codes of each."""

import copy
from collections import defaultdict
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from django.utils import translation

from ninja_auth_kit.api.errors import (
    BodyTooLargeError,
    LengthRequiredError,
    MalformedBodyError,
    ServerError,
    UnsupportedMediaTypeError,
    converting_failures,
    status_of,
)
from ninja_auth_kit.exceptions import (
    AuthKitError,
    InvalidInputError,
    InvalidTokenError,
    ServiceUnavailableError,
    SessionEndedError,
    ThrottledError,
    TokenExpiredError,
)

Errors = Iterable[type[AuthKitError]]

ALWAYS: Errors = (ServerError, ServiceUnavailableError)
# `bodies` looks at any body.
WRITING: Errors = (MalformedBodyError, LengthRequiredError, BodyTooLargeError, UnsupportedMediaTypeError)
WITH_BODY: Errors = (*WRITING, InvalidInputError)
# Somebody could guess by it, cause mails or flood.
LIMITED: Errors = (*WITH_BODY, ThrottledError)
WITH_BEARER: Errors = (InvalidTokenError, TokenExpiredError, SessionEndedError)

_FIELD_ERRORS = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["field", "code", "message"],
        "properties": {name: {"type": "string"} for name in ("field", "code", "message")},
    },
}

_HEADERS: dict[HTTPStatus, dict[str, Any]] = {
    HTTPStatus.UNAUTHORIZED: {
        "WWW-Authenticate": {
            "description": "Names an error where the token was bad, and none where there was no token.",
            "required": True,
            "schema": {"type": "string", "enum": ["Bearer", 'Bearer error="invalid_token"']},
        }
    },
    HTTPStatus.TOO_MANY_REQUESTS: {
        "Retry-After": {
            "description": "In how many seconds it makes sense to try again.",
            "required": True,
            "schema": {"type": "integer", "minimum": 1},
        }
    },
}


def operation(
    name: str,
    *,
    summary: str,
    success: dict[int, Any],
    errors: Errors = (),
    auth: Any = None,
    body_is_optional: bool = False,
) -> dict[str, Any]:
    """Return the keyword arguments that describe an operation to Ninja; the endpoint's docstring is its description.

    Args:
        name: `auth_<name>` is the operation id in OpenAPI and the name of the URL.
        summary: a few words.
        success: the statuses of success and their schemas.
        errors: what it can raise; each stands in OpenAPI with its code.
        auth: the authenticator, or None for everybody. Never left out: a host's API may have one for all its routes.
        body_is_optional: whether no body is as good as one.
    """
    if auth is not None:  # Ninja runs it before the endpoint, and it can fail as well
        auth = copy.copy(auth)  # it may guard others
        auth.authenticate = converting_failures(auth.authenticate)
    with translation.override(None):  # the document is for developers: English, whatever LANGUAGE_CODE says
        extra: dict[str, Any] = {"responses": _problems((*errors, *ALWAYS))}
    if body_is_optional:
        extra["requestBody"] = {"required": False}
    return {
        "operation_id": f"auth_{name}",
        "url_name": f"auth_{name}",
        "summary": summary,
        "tags": ["auth"],
        "auth": auth,
        "response": success,
        "openapi_extra": extra,
    }


def _problems(errors: Errors) -> dict[int, Any]:
    by_status: defaultdict[HTTPStatus, list[type[AuthKitError]]] = defaultdict(list)
    for error in errors:
        by_status[status_of(error)].append(error)
    return {status.value: _problem(status, kinds) for status, kinds in sorted(by_status.items())}


def _problem(status: HTTPStatus, kinds: list[type[AuthKitError]]) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer", "const": status.value},
        "detail": {"type": "string"},
        "code": {"type": "string", "enum": sorted({kind.code for kind in kinds})},
    }
    example: dict[str, Any] = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": str(kinds[0].message),
        "code": kinds[0].code,
    }
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        properties["errors"] = _FIELD_ERRORS
        example["errors"] = [{"field": "password", "code": "required", "message": "This field is required."}]
    schema = {"type": "object", "title": "Problem", "required": sorted(properties), "properties": properties}
    problem: dict[str, Any] = {
        "description": " ".join(dict.fromkeys(str(kind.message) for kind in kinds)),
        "content": {"application/problem+json": {"schema": schema, "example": example}},
    }
    if status in _HEADERS:
        problem["headers"] = _HEADERS[status]
    return problem
