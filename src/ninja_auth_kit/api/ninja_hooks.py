"""What the kit adds to every NinjaAPI: answers to its own errors, and parts of the OpenAPI document.

`JWTAuth` is called with the request alone, and Django Ninja has no hook through which an authenticator could set the
headers of a 401 or say in OpenAPI that it is optional. Importing this module therefore wraps two methods of Django
Ninja. Both change nothing for an API that does not use the kit.
"""

from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja import errors as ninja_errors
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation

from ninja_auth_kit.api.errors import has_status, problem_response
from ninja_auth_kit.api.openapi import DESCRIPTION, Description, problems_of
from ninja_auth_kit.exceptions import AuthKitError

# The attribute of a request with the error to answer if no other authenticator of the list accepts the request.
PASSED_ON = "authkit_passed_on"
# The attribute of an authenticator of the kit with the scopes that it requires. Those of others are not read.
SCOPES = "authkit_scopes"

_on_exception = NinjaAPI.on_exception
_operation_details = OpenAPISchema.operation_details


@wraps(_on_exception)
def on_exception(self: NinjaAPI, request: HttpRequest, exc: Any) -> HttpResponse:
    """Answer an error of the kit as a problem, unless the project has added a handler for it or for its base class.

    A 401 must have a challenge (RFC 9110 section 15.5.2), and the handlers of Ninja set no header. If no authenticator
    of a list has accepted the request, Ninja's own error becomes that of an authenticator of the kit that has let the
    others decide.
    """
    is_accepted = "auth" in vars(request)  # Ninja sets it, so the error is one of the endpoint
    if type(exc) is ninja_errors.AuthenticationError and not is_accepted:
        exc = getattr(request, PASSED_ON, exc)
    is_known = isinstance(exc, AuthKitError) and has_status(type(exc))
    if is_known and _is_of_ninja(self._lookup_exception_handler(exc)):
        return problem_response(exc)
    return _on_exception(self, request, exc)


def _is_of_ninja(handler: Any) -> bool:
    """Return whether an exception handler is one of Ninja's defaults, which are partial functions."""
    function = getattr(handler, "func", handler)
    return handler is None or getattr(function, "__module__", None) == ninja_errors.__name__


@wraps(_operation_details)
def operation_details(self: OpenAPISchema, operation: Operation) -> dict[str, Any]:
    """Describe an operation, and add what Ninja cannot know: the problems, the scopes, and that a token is optional.

    An empty requirement makes security optional (OpenAPI 3.1, "Operation Object"). A scheme that is not OAuth 2 lists
    the names that are required (OpenAPI 3.1, "Security Requirement Object").
    """
    details: dict[str, Any] = _operation_details(self, operation)
    description: Description | None = details.pop(DESCRIPTION, None)
    if description is not None:
        self.deep_dict_update(details, description.made())
    self.schemas.update(problems_of(details))
    scopes = {type(auth).__name__: list(getattr(auth, SCOPES, ())) for auth in operation.auth_callbacks}
    if any(scopes.values()):
        details["security"] = [{name: scopes.get(name, []) for name in one} for one in details["security"]]
    if any(getattr(auth, "is_optional_token", False) for auth in operation.auth_callbacks):
        details["security"] = [*details.get("security", ()), {}]
    return details


NinjaAPI.on_exception = on_exception  # type: ignore[method-assign]
OpenAPISchema.operation_details = operation_details  # type: ignore[method-assign]
