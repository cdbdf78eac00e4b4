"""Errors on the wire: which status each has, and the problem body (RFC 9457)."""

import logging
from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any

from django.core.signals import got_request_exception
from django.db.utils import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables
from ninja import NinjaAPI

from ninja_auth_kit import exceptions
from ninja_auth_kit.exceptions import AuthKitError, InvalidInputError, clear_local_variables

logger = logging.getLogger("ninja_auth_kit.api")


class MalformedBodyError(AuthKitError):
    """The body is not one JSON object in UTF-8 without repeated members."""

    code = "malformed_body"
    message = _("The request body must be a single JSON object, encoded in UTF-8, without duplicate keys.")


class BodyTooLargeError(AuthKitError):
    """The body is larger than any request to the kit can be."""

    code = "body_too_large"
    message = _("The request body is too large. It must not exceed 64 KiB.")


class LengthRequiredError(AuthKitError):
    """The body comes in chunks, and this server does not read such a body (RFC 9110 section 15.5.12)."""

    code = "length_required"
    message = _("The length of the request body is missing. Send the Content-Length header.")


class UnsupportedMediaTypeError(AuthKitError):
    """The body is not sent as application/json: a cross-site form could send anything else without a preflight."""

    code = "unsupported_media_type"
    message = _("The media type of the request body is not supported. Send the body as application/json.")


class MethodNotAllowedError(AuthKitError):
    """The path exists, but not with this method."""

    code = "method_not_allowed"
    message = _("This HTTP method is not allowed for this URL. Use one of the methods in the Allow header.")


class PathNotFoundError(AuthKitError):
    """There is no such path where `ninja_auth_kit.urls` is mounted; with `install` it is Django's own 404."""

    code = "not_found"
    message = _("This URL does not exist. Check the path.")


class ServerError(AuthKitError):
    """Something failed that is nobody's input; the log has it, the answer does not."""

    code = "server_error"
    message = _("An internal server error occurred. Try again later.")


STATUSES: dict[type[AuthKitError], HTTPStatus] = {
    MalformedBodyError: HTTPStatus.BAD_REQUEST,
    exceptions.InvalidOneTimeTokenError: HTTPStatus.BAD_REQUEST,
    exceptions.InvalidCredentialsError: HTTPStatus.UNAUTHORIZED,
    exceptions.InvalidTokenError: HTTPStatus.UNAUTHORIZED,
    exceptions.TokenExpiredError: HTTPStatus.UNAUTHORIZED,
    exceptions.TokenReusedError: HTTPStatus.UNAUTHORIZED,
    exceptions.SessionEndedError: HTTPStatus.UNAUTHORIZED,
    exceptions.EmailNotVerifiedError: HTTPStatus.FORBIDDEN,
    exceptions.WrongPasswordError: HTTPStatus.FORBIDDEN,
    exceptions.RegistrationClosedError: HTTPStatus.FORBIDDEN,
    exceptions.SessionNotFoundError: HTTPStatus.NOT_FOUND,
    PathNotFoundError: HTTPStatus.NOT_FOUND,
    MethodNotAllowedError: HTTPStatus.METHOD_NOT_ALLOWED,
    exceptions.AccountProtectedError: HTTPStatus.CONFLICT,
    exceptions.SessionLimitReachedError: HTTPStatus.CONFLICT,
    LengthRequiredError: HTTPStatus.LENGTH_REQUIRED,
    BodyTooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    UnsupportedMediaTypeError: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    InvalidInputError: HTTPStatus.UNPROCESSABLE_ENTITY,
    exceptions.ThrottledError: HTTPStatus.TOO_MANY_REQUESTS,
    ServerError: HTTPStatus.INTERNAL_SERVER_ERROR,
    exceptions.ServiceUnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
}


def status_of(error: type[AuthKitError]) -> HTTPStatus:
    """Return the status of an error, or of the nearest error that it derives from."""
    return next(STATUSES[cls] for cls in error.__mro__ if cls in STATUSES)


def problem_response(error: AuthKitError) -> HttpResponse:
    """Return the answer to an error: `application/problem+json`, never with anything of what the caller sent."""
    status = status_of(type(error))
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": str(error),
        "code": error.code,
    }
    if isinstance(error, InvalidInputError):
        body["errors"] = [
            {"field": fault.field, "code": fault.code, "message": str(fault.message)} for fault in error.errors
        ]
    response = JsonResponse(body, status=status.value, content_type="application/problem+json")
    response["Cache-Control"] = "no-store"
    if status == HTTPStatus.UNAUTHORIZED:
        response["WWW-Authenticate"] = _challenge(error)
    if isinstance(error, exceptions.ThrottledError):
        response["Retry-After"] = str(error.retry_after)
    return response


def _challenge(error: AuthKitError) -> str:
    """Return what RFC 9110 section 11.6.1 and RFC 6750 section 3 ask of a 401: only a bad token has an error."""
    bad_token = isinstance(error, exceptions.InvalidTokenError)
    return getattr(error, "challenge", 'Bearer error="invalid_token"' if bad_token else "Bearer")


def add_error_handlers(api: NinjaAPI) -> None:
    """Teach an API to answer the kit's errors as problems, those of `JWTAuth` on the host's own routes among them.

    Args:
        api: one of the host; `install` does it by itself.
    """

    def answer(request: HttpRequest, error: Any) -> HttpResponse:
        return problem_response(error)

    api.add_exception_handler(AuthKitError, answer)


def converting_failures(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate an endpoint so that a database that is away is a 503, and any other failure a 500 without a word.

    Reports of the failure, Django's and others', have no local variables: see `clear_local_variables`.
    """

    @sensitive_variables()
    @wraps(endpoint)
    def translated(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return endpoint(request, *args, **kwargs)
        except AuthKitError:
            raise
        except (OperationalError, InterfaceError) as error:
            args, kwargs = (), {}
            clear_local_variables(error)
            logger.error("The database did not answer.", exc_info=error)
            raise exceptions.ServiceUnavailableError from error
        except Exception as error:
            args, kwargs = (), {}
            clear_local_variables(error)
            # As Django's own handler does, so that error trackers and the test client hear of it.
            got_request_exception.send(sender=None, request=request)
            logger.error("An endpoint of ninja_auth_kit failed.", exc_info=error)
            raise ServerError from error

    return translated
