"""The HTTP surface, on one page: every endpoint module, and what holds for all of them.

Importing it builds the endpoints with the host's schemas, so `install` does, and nothing before it.
"""

from collections.abc import Callable
from inspect import Parameter, Signature
from string import Formatter

from django.http import HttpRequest, HttpResponse
from ninja import Router
from ninja.operation import PathView

from ninja_auth_kit.api.endpoints import (
    account,
    email_change,
    jwks,
    login,
    logout,
    passwords,
    refresh,
    registration,
    sessions,
    verification,
)
from ninja_auth_kit.api.errors import MethodNotAllowedError, converting_failures, problem_response
from ninja_auth_kit.api.request_checks import with_checked_body

FEATURES = (registration, verification, login, refresh, logout, account, sessions, passwords, email_change, jwks)

router = Router()
router.add_decorator(converting_failures, mode="operation")
router.add_decorator(with_checked_body, mode="view")


class _AnyMethod(str):
    """Equals every method, as methods are what callers make up: QUERY, PROPFIND, FOO.

    Ninja asks the operations of a path in their order whether the method is among theirs, so it stands in the last.
    """

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return True


def _refuse_other_methods(feature_router: Router) -> None:
    """Answer the methods that a path does not have with a problem, where Ninja would send plain text."""
    for path, view in feature_router.path_operations.items():
        _serve_head(view)
        allowed = {method for operation in view.operations for method in operation.methods}
        refuse = feature_router.api_operation([_AnyMethod("*")], path, auth=None, include_in_schema=False)
        refuse(_refusal(path, allowed))


def _serve_head(view: PathView) -> None:
    """Answer HEAD where GET is answered (RFC 9110 section 9.1): scanners of mailed links ask so. Not in OpenAPI."""
    for operation in [operation for operation in view.operations if "GET" in operation.methods]:
        head = operation.clone()
        head.methods, head.include_in_schema = ["HEAD"], False
        view.operations.append(head)


def _refusal(path: str, allowed: set[str]) -> Callable[..., HttpResponse]:
    def method_not_allowed(request: HttpRequest, **_: str) -> HttpResponse:
        response = problem_response(MethodNotAllowedError())
        response["Allow"] = ", ".join(sorted(allowed))
        return response

    # Ninja warns of a path whose parameters the function does not name.
    names = ["request", *(name for _, name, _, _ in Formatter().parse(path) if name)]
    parameters = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in names]
    method_not_allowed.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    return method_not_allowed


for feature in FEATURES:
    _refuse_other_methods(feature.router)
    router.add_router("", feature.router)
