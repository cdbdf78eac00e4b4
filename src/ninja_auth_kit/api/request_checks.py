"""The checks of every request to the kit: method, size, type and JSON of the body. Caches store public keys only."""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.db import InterfaceError, OperationalError, connections, transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.views.decorators.csrf import csrf_exempt
from ninja.operation import PathView

from ninja_auth_kit.api.errors import (
    BodyTooLargeError,
    MalformedBodyError,
    MethodNotAllowedError,
    UnsupportedContentCodingError,
    UnsupportedMediaTypeError,
    problem_response,
)
from ninja_auth_kit.api.request_body import (
    MAXIMUM_BODY,
    declared_length,
    empty_body,
    form_as_json,
    is_form_endpoint,
    keep_for_parser,
    read_body,
)
from ninja_auth_kit.exceptions import AuthKitError, ServiceUnavailableError, clear_local_variables
from ninja_auth_kit.strict_json import DuplicateMemberError, parse_object

# For a response that is the same for everyone. An operation that sets it may be stored by caches.
PUBLIC_FOR_FIVE_MINUTES = "public, max-age=300"
FORM = "application/x-www-form-urlencoded"
_MAY_BE_FORM = "_ninja_auth_kit_may_be_form"  # an attribute of requests

logger = logging.getLogger("ninja_auth_kit.api")


def with_checked_body(run: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Decorate an operation: check the body before anything else reads it, and let no cache store the response.

    The body is taken out of the request, and what an exception has in its local variables is removed.
    """

    @wraps(run)
    def view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            _take_body(request)
        except AuthKitError as error:
            return _stored_only_if_public(problem_response(error))
        try:
            return _stored_only_if_public(_in_transactions(run)(request, *args, **kwargs))
        except (OperationalError, InterfaceError) as error:  # of a transaction that ATOMIC_REQUESTS opens
            clear_local_variables(error)
            logger.error("The database is not available.", exc_info=error)
            return _stored_only_if_public(problem_response(ServiceUnavailableError()))
        except Exception as error:
            clear_local_variables(error)
            raise

    return view


def _in_transactions(run: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Open the transactions of ATOMIC_REQUESTS, which Django would open before the body is taken out of the request.

    If the database is away, the error that Django reports would have the body.
    """
    for alias, database in connections.settings.items():
        if database["ATOMIC_REQUESTS"]:
            run = transaction.atomic(using=alias)(run)
    return run


def _take_body(request: HttpRequest) -> None:
    """Take the body out of a request. Raise an error unless it is one strict JSON object of a limited size.

    A missing body counts as `{}`.
    """
    try:
        body = b"" if request.method in {"GET", "HEAD", "OPTIONS"} else _checked_body(request)
    finally:
        empty_body(request)  # also a form, which is rejected and may have a password in it
    keep_for_parser(request, body or b"{}")


def _checked_body(request: HttpRequest) -> bytes:
    length = declared_length(request)
    if length > MAXIMUM_BODY:  # before the body is read into memory
        raise BodyTooLargeError
    if request.content_type == FORM and getattr(request, _MAY_BE_FORM, False):
        return form_as_json(read_body(request))
    if length and not _is_json(request):
        raise UnsupportedMediaTypeError
    body = read_body(request)
    if body:
        if not _is_json(request):
            raise UnsupportedMediaTypeError
        _check_json(request, body)
    return body


def _check_json(request: HttpRequest, body: bytes) -> None:
    try:
        parse_object(body)
    except DuplicateMemberError as error:
        raise MalformedBodyError(duplicate=error.member) from error
    except ValueError as error:
        # A middleware may have decoded the body, and left the header.
        is_compressed = request.META.get("HTTP_CONTENT_ENCODING", "identity").lower() != "identity"
        raise (UnsupportedContentCodingError if is_compressed else MalformedBodyError) from error


def _is_json(request: HttpRequest) -> bool:
    """Return whether the body is called JSON. Only Ninja's test clients have None: servers set at least ""."""
    return request.content_type is None or request.content_type == "application/json"


def _stored_only_if_public(response: HttpResponse) -> HttpResponse:
    """Keep a response out of every cache (RFC 6749 section 5.1; ASVS 14.3.2), unless it is the same for everyone."""
    if response.get("Cache-Control") == PUBLIC_FOR_FIVE_MINUTES:
        return response
    response["Cache-Control"] = "no-store"
    patch_vary_headers(response, ["Authorization"])
    return response


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
        may_be_form = any(is_form_endpoint(operation.view_func) for operation in self.operations)

        @_opens_transactions
        @csrf_exempt
        def strict_view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if request.method in allowed:
                setattr(request, _MAY_BE_FORM, may_be_form)
                response: HttpResponseBase = view(request, *args, **kwargs)
                return response
            return method_not_allowed(request, allowed)

        return strict_view


def _opens_transactions(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Decorate a view: Django does not open the transactions of ATOMIC_REQUESTS, because `_in_transactions` does."""
    for alias in connections:
        view = transaction.non_atomic_requests(using=alias)(view)
    return view


@with_checked_body
def method_not_allowed(request: HttpRequest, allowed: list[str]) -> HttpResponse:
    """Return the answer to a method that a path does not have."""
    response = problem_response(MethodNotAllowedError())
    response["Allow"] = ", ".join(allowed)
    return response
