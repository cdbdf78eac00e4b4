"""The router of the kit: the endpoints of every feature, and what they have in common.

Importing this module imports the schemas of your project and builds the endpoints with them. `install` imports it
when it is called.
"""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt
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
from ninja_auth_kit.api.errors import MethodNotAllowedError, convert_failures, problem_response
from ninja_auth_kit.api.request_checks import with_checked_body

FEATURES = (registration, verification, login, refresh, logout, account, sessions, passwords, email_change, jwks)


class StrictPathView(PathView):
    """The operations of one path. HEAD is answered like GET, and any other method with a problem.

    Django Ninja answers HEAD with 405, and 405 with plain text, and has no hook for either.
    """

    @classmethod
    def of(cls, view: PathView) -> "StrictPathView":
        """Return a path with the same operations."""
        strict = cls()
        vars(strict).update(vars(view))
        return strict

    def clone(self) -> "StrictPathView":
        """Return a copy for one API. Django Ninja's own method always returns a plain `PathView`."""
        return self.of(super().clone())

    def add_head(self) -> None:
        """Answer HEAD where GET is answered (RFC 9110 section 9.1): scanners of links in emails send it.

        A second operation, because every method of an operation appears in OpenAPI.
        """
        for operation in [operation for operation in self.operations if "GET" in operation.methods]:
            head = operation.clone()
            head.methods, head.include_in_schema = ["HEAD"], False
            self.operations.append(head)

    def get_view(self) -> Callable[..., HttpResponseBase]:
        """Return the view of the path.

        The response 405 is not an operation, because an operation lists its methods, and clients can send any method.
        """
        view = super().get_view()
        allowed = sorted({method for operation in self.operations for method in operation.methods})

        @csrf_exempt
        def strict_view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if request.method in allowed:
                response: HttpResponseBase = view(request, *args, **kwargs)
                return response
            return method_not_allowed(request, allowed)

        return strict_view


@with_checked_body
def method_not_allowed(request: HttpRequest, allowed: list[str]) -> HttpResponse:
    """Return the answer to a method that a path does not have."""
    response = problem_response(MethodNotAllowedError())
    response["Allow"] = ", ".join(allowed)
    return response


router = Router()
router.add_decorator(convert_failures, mode="operation")
router.add_decorator(with_checked_body, mode="view")

for feature in FEATURES:
    paths = feature.router.path_operations
    for path, view in paths.items():
        paths[path] = strict = StrictPathView.of(view)
        strict.add_head()
    router.add_router("", feature.router)
