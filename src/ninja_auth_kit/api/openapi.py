"""How an operation is described in OpenAPI: its id, its responses, and the code of every error that it can raise."""

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
    convert_failures,
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
# Raised by `request_checks`, which checks the body of every request but GET and HEAD.
WRITING: Errors = (MalformedBodyError, LengthRequiredError, BodyTooLargeError, UnsupportedMediaTypeError)
WITH_BODY: Errors = (*WRITING, InvalidInputError)
# An operation that could be abused to guess, to send emails or to cause load has a rate limit.
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
            "description": "Names an error if a token was sent and rejected, and no error if no token was sent.",
            "required": True,
            "schema": {"type": "string", "enum": ["Bearer", 'Bearer error="invalid_token"']},
        }
    },
    HTTPStatus.TOO_MANY_REQUESTS: {
        "Retry-After": {
            "description": "The number of seconds after which the request can be repeated.",
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
    """Return the keyword arguments that describe an operation to Django Ninja.

    The docstring of the endpoint is the description of the operation.

    Args:
        name: the operation id in OpenAPI and the name of the URL, without the prefix `auth_`.
        summary: the title of the operation in a few words.
        success: the successful statuses and their schemas.
        errors: the errors that the operation can raise. OpenAPI lists each with its code.
        auth: the authenticator, or None if the operation needs no access token. It is always passed on, because the
            API of your project can have an authenticator for all its routes.
        body_is_optional: whether the body can be left out.
    """
    if auth is not None:  # Ninja calls it before the endpoint, so its failures must be converted as well
        auth = copy.copy(auth)  # the same object can protect other routes
        auth.authenticate = convert_failures(auth.authenticate)
    with translation.override(None):  # the document is for developers: English, whatever LANGUAGE_CODE is
        extra: dict[str, Any] = {"responses": _responses((*errors, *ALWAYS))}
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


def _responses(errors: Errors) -> dict[int, Any]:
    by_status: defaultdict[HTTPStatus, list[type[AuthKitError]]] = defaultdict(list)
    for error in errors:
        by_status[status_of(error)].append(error)
    return {status.value: _response(status, kinds) for status, kinds in sorted(by_status.items())}


def _response(status: HTTPStatus, kinds: list[type[AuthKitError]]) -> dict[str, Any]:
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
    response: dict[str, Any] = {
        "description": " ".join(dict.fromkeys(str(kind.message) for kind in kinds)),
        "content": {"application/problem+json": {"schema": schema, "example": example}},
    }
    if status in _HEADERS:
        response["headers"] = _HEADERS[status]
    return response
