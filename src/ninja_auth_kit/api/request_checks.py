"""The checks of every request to the kit: method, size, type and JSON of the body. No response may be cached."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.http.request import UnreadablePostError
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.views.decorators.csrf import csrf_exempt
from ninja.operation import PathView

from ninja_auth_kit.api.errors import (
    BodyTooLargeError,
    LengthRequiredError,
    MalformedBodyError,
    MethodNotAllowedError,
    UnsupportedMediaTypeError,
    problem_response,
)
from ninja_auth_kit.exceptions import AuthKitError
from ninja_auth_kit.strict_json import DuplicateMemberError, parse_object

MAXIMUM_BODY = 65_536  # bytes; the largest ordinary body, a registration, has less than 2,000


def with_checked_body(run: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Decorate an operation: check the body before anything else reads it, and let no cache store the response."""

    @wraps(run)
    def view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            _check_body(request)
        except AuthKitError as error:
            return _never_stored(problem_response(error))
        return _never_stored(run(request, *args, **kwargs))

    return view


def _check_body(request: HttpRequest) -> None:
    """Raise an error unless the body is one strict JSON object of a limited size. A missing body counts as `{}`."""
    if request.method in {"GET", "HEAD", "OPTIONS"}:
        return
    length = _declared_length(request)
    if length > MAXIMUM_BODY:  # before the body is read into memory
        raise BodyTooLargeError
    if length and not _is_json(request):
        raise UnsupportedMediaTypeError
    body = _read_body(request)
    if not body:
        if "HTTP_TRANSFER_ENCODING" in request.META:  # under WSGI, Django reads a chunked body as an empty one
            raise LengthRequiredError
        request._body = b"{}"
        return
    if not _is_json(request):
        raise UnsupportedMediaTypeError
    _check_json(body)


def _check_json(body: bytes) -> None:
    try:
        parse_object(body)
    except DuplicateMemberError as error:
        raise MalformedBodyError(duplicate=error.member) from error
    except ValueError as error:
        raise MalformedBodyError from error


def _is_json(request: HttpRequest) -> bool:
    """Return whether the body is called JSON. Only Ninja's test clients have None: servers set at least ""."""
    return request.content_type is None or request.content_type == "application/json"


def _declared_length(request: HttpRequest) -> int:
    declared = str(request.META.get("CONTENT_LENGTH") or "0")
    if not declared.isdecimal():  # Django's development server passes it on, and Django would raise ValueError
        raise MalformedBodyError
    return int(declared[:20])


def _read_body(request: HttpRequest) -> bytes:
    try:
        body = request.body
    except RequestDataTooBig as error:
        raise BodyTooLargeError from error
    except UnreadablePostError as error:  # the client closed the connection
        raise MalformedBodyError from error
    if len(body) > MAXIMUM_BODY:
        raise BodyTooLargeError
    return body


def _never_stored(response: HttpResponse) -> HttpResponse:
    """Keep a response out of every cache (RFC 6749 section 5.1; ASVS 14.3.2)."""
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
