"""How an operation is described in OpenAPI: its id, its responses, and the code of every error that it can raise."""

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from django.utils import translation
from pydantic import BaseModel

from ninja_auth_kit.api.errors import (
    BodyTooLargeError,
    LengthRequiredError,
    MalformedBodyError,
    ServerError,
    UnsupportedContentCodingError,
    UnsupportedMediaTypeError,
    convert_failures,
    status_of,
)
from ninja_auth_kit.api.examples import example_of
from ninja_auth_kit.exceptions import (
    AuthKitError,
    InvalidInputError,
    InvalidTokenError,
    ServiceUnavailableError,
    SessionEndedError,
    StepUpRequiredError,
    ThrottledError,
    TokenExpiredError,
)
from ninja_auth_kit.levels import AAL2

Errors = Iterable[type[AuthKitError]]

ALWAYS: Errors = (ServerError, ServiceUnavailableError)
# Raised by `request_checks`, which checks the body of every request but GET and HEAD.
WRITING: Errors = (
    MalformedBodyError,
    LengthRequiredError,
    BodyTooLargeError,
    UnsupportedMediaTypeError,
    UnsupportedContentCodingError,
)
WITH_BODY: Errors = (*WRITING, InvalidInputError)
# An operation that could be abused to guess, to send emails or to cause load has a rate limit.
LIMITED: Errors = (*WITH_BODY, ThrottledError)
WITH_BEARER: Errors = (InvalidTokenError, TokenExpiredError, SessionEndedError)


_PREFIX = "#/components/schemas/"
_MEMBERS: dict[str, Any] = {
    "type": {"type": "string", "format": "uri-reference", "examples": ["about:blank"]},
    "title": {"type": "string", "examples": ["Unauthorized"]},
    "status": {"type": "integer", "examples": [401]},
    "detail": {"type": "string", "description": "For people, in the language of the request."},
    "code": {"type": "string", "description": "For programs. It is never translated.", "examples": ["invalid_token"]},
}
_ERRORS = {"type": "array", "items": {"$ref": f"{_PREFIX}AuthFieldError"}}


def _object(description: str, members: dict[str, Any], *, optional: tuple[str, ...] = ()) -> dict[str, Any]:
    required = [name for name in members if name not in optional]
    return {"type": "object", "description": description, "required": required, "properties": members}


# The components of OpenAPI for the body of an error (RFC 9457). Their names begin with "Auth", because your API may
# have a schema that is called Problem.
PROBLEMS: dict[str, dict[str, Any]] = {
    "AuthProblem": _object("An error.", _MEMBERS),
    "AuthMalformedBodyProblem": _object(
        "The body could not be read. `errors` names a field that was sent twice.",
        {**_MEMBERS, "errors": _ERRORS},
        optional=("errors",),
    ),
    "AuthValidationProblem": _object(
        "The body was read, and is not valid. `errors` names the fields.", {**_MEMBERS, "errors": _ERRORS}
    ),
    "AuthStepUpProblem": _object(
        "The token was rejected; or the user must prove more, or prove it again, as `acr_values` and `max_age` say.",
        {
            **_MEMBERS,
            "acr_values": {"type": "string", "enum": [AAL2], "description": "The level that is required."},
            "max_age": {
                "type": "integer",
                "minimum": 1,
                "description": "How many seconds ago the user may have been authenticated.",
            },
        },
        optional=("acr_values", "max_age"),
    ),
    "AuthThrottledProblem": _object(
        "A rate limit is reached.",
        {
            **_MEMBERS,
            "retry_after": {
                "type": "integer",
                "minimum": 1,
                "description": "The number of seconds after which the request can be repeated, as in Retry-After.",
            },
        },
    ),
    "AuthFieldError": _object(
        "What is wrong with a field.",
        {
            "field": {
                "type": "string",
                "description": "The name of the field, or an empty string for the whole body.",
                "examples": ["password"],
            },
            "code": {"type": "string", "examples": ["required"]},
            "message": {"type": "string", "examples": ["This field is required."]},
        },
    ),
}
_PROBLEM_OF = {
    HTTPStatus.BAD_REQUEST: "AuthMalformedBodyProblem",
    HTTPStatus.UNPROCESSABLE_ENTITY: "AuthValidationProblem",
    HTTPStatus.TOO_MANY_REQUESTS: "AuthThrottledProblem",
}

_EXAMPLE_OF_STEP_UP = 'Bearer error="insufficient_user_authentication", acr_values="aal2", max_age="600"'

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

_HEADER_OF_STEP_UP: dict[str, Any] = {
    "WWW-Authenticate": {
        **_HEADERS[HTTPStatus.UNAUTHORIZED]["WWW-Authenticate"],
        "description": "Names an error if a token was sent and rejected, and what a step-up must prove (RFC 9470).",
        "schema": {"type": "string", "examples": ["Bearer", 'Bearer error="invalid_token"', _EXAMPLE_OF_STEP_UP]},
    }
}


# The member of `openapi_extra` that `ninja_hooks` replaces by what it describes.
DESCRIPTION = "x-authkit-description"


class Description:
    """What is added to an operation in the document. It is made with the document, which most processes never make.

    Args:
        describe: adds it to a dict.
    """

    def __init__(self, describe: Callable[[dict[str, Any]], None]) -> None:
        self._steps = [describe]

    def then(self, describe: Callable[[dict[str, Any]], None]) -> None:
        """Let a function change the description, after those before it."""
        self._steps.append(describe)

    def made(self) -> dict[str, Any]:
        """Return the description in English, whatever LANGUAGE_CODE is: the document is for developers."""
        extra: dict[str, Any] = {}
        with translation.override(None):
            for describe in self._steps:
                describe(extra)
        return extra


def operation(
    name: str,
    *,
    summary: str,
    success: dict[int, Any],
    errors: Errors = (),
    auth: Any = None,
    body: type[BaseModel] | None = None,
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
        body: the schema of the body, for its example.
        body_is_optional: whether the body can be left out.
    """
    if auth is not None:  # Ninja calls it before the endpoint, so its failures must be converted as well
        auth = copy.copy(auth)  # the same object can protect other routes
        auth.authenticate = convert_failures(auth.authenticate)

    def describe(extra: dict[str, Any]) -> None:
        extra["responses"] = _responses((*errors, *ALWAYS))
        if body is not None:
            extra["requestBody"] = {"content": {"application/json": {"example": example_of(body)}}}
        if body_is_optional:
            extra["requestBody"]["required"] = False

    return {
        "operation_id": f"auth_{name}",
        "url_name": f"auth_{name}",
        "summary": summary,
        "tags": ["auth"],
        "auth": auth,
        "response": success,
        "openapi_extra": {DESCRIPTION: Description(describe)},
    }


def _responses(errors: Errors) -> dict[int, Any]:
    by_status: defaultdict[HTTPStatus, list[type[AuthKitError]]] = defaultdict(list)
    for error in errors:
        by_status[status_of(error)].append(error)
    return {status.value: _response(status, kinds) for status, kinds in sorted(by_status.items())}


def add_errors(extra: dict[str, Any], errors: Errors) -> None:
    """Add errors to an operation that `operation` has described.

    Args:
        extra: its description, which is changed.
        errors: the errors.
    """
    for status, response in _responses(errors).items():
        known = extra["responses"].setdefault(status, response)
        if known is not response:
            known["description"] += f" {response['description']}"
            examples, more = (one["content"]["application/problem+json"]["examples"] for one in (known, response))
            examples |= more
    extra["responses"] = dict(sorted(extra["responses"].items()))


def _response(status: HTTPStatus, kinds: list[type[AuthKitError]]) -> dict[str, Any]:
    """Return the description of a response. Its examples list every code that it can have."""
    examples = {kind.code: {"value": _example_of_problem(status, kind)} for kind in reversed(kinds)}
    needs_step_up = StepUpRequiredError in kinds
    schema = "AuthStepUpProblem" if needs_step_up else _PROBLEM_OF.get(status, "AuthProblem")
    content = {
        "schema": {"$ref": _PREFIX + schema},
        "examples": dict(sorted(examples.items())),
    }
    response: dict[str, Any] = {
        "description": " ".join(dict.fromkeys(str(kind.message) for kind in kinds)),
        "content": {"application/problem+json": content},
    }
    if status in _HEADERS:
        response["headers"] = _HEADER_OF_STEP_UP if needs_step_up else _HEADERS[status]
    return response


def _example_of_problem(status: HTTPStatus, kind: type[AuthKitError]) -> dict[str, Any]:
    example: dict[str, Any] = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": str(kind.message),
        "code": kind.code,
    }
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        example["errors"] = [{"field": "password", "code": "required", "message": "This field is required."}]
    if kind is StepUpRequiredError:
        example |= {"acr_values": AAL2, "max_age": 600}
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        example["retry_after"] = 60
    return example


def problems_of(details: dict[str, Any]) -> dict[str, Any]:
    """Return the components that the problems of an operation need; none for an operation that is not the kit's.

    Args:
        details: the description of an operation in OpenAPI.
    """
    contents = [response.get("content", {}) for response in details["responses"].values()]
    names = {
        content["application/problem+json"].get("schema", {}).get("$ref", "").removeprefix(_PREFIX)
        for content in contents
        if "application/problem+json" in content
    }
    used = {name: PROBLEMS[name] for name in PROBLEMS if name in names}
    return {**used, "AuthFieldError": PROBLEMS["AuthFieldError"]} if used else {}
