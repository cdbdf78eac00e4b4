"""Errors as HTTP responses: the status of each error, and the problem body (RFC 9457)."""

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
from ninja_auth_kit.conf import close_accounts_connection
from ninja_auth_kit.exceptions import (
    AuthKitError,
    FieldError,
    InvalidInputError,
    clear_local_variables,
    input_name,
    is_read_only,
)

logger = logging.getLogger("ninja_auth_kit.api")


class MalformedBodyError(AuthKitError):
    """The body is not one JSON object in UTF-8, or has a member twice. `errors` names that member."""

    code = "malformed_body"
    message = _("The request body must be a single JSON object, encoded in UTF-8, without duplicate keys.")

    def __init__(self, *, duplicate: str | None = None) -> None:
        super().__init__()
        fault = FieldError(input_name(duplicate or ""), "duplicate_field", _("The request contains this field twice."))
        self.errors = () if duplicate is None else (fault,)


class BodyTooLargeError(AuthKitError):
    """The body is larger than 64 KiB."""

    code = "body_too_large"
    message = _("The request body is too large. It must not exceed 64 KiB.")


class LengthRequiredError(AuthKitError):
    """There may be a body, and the server does not say where it ends (RFC 9110 section 15.5.12)."""

    code = "length_required"
    message = _("The length of the request body is missing. Send the Content-Length header.")


class UnsupportedMediaTypeError(AuthKitError):
    """The content type is not application/json. A cross-site form can send other types without a preflight request."""

    code = "unsupported_media_type"
    message = _("The media type of the request body is not supported. Send the body as application/json.")


class UnsupportedContentCodingError(AuthKitError):
    """The body is compressed (RFC 9110 section 15.5.16). The header Accept-Encoding names what is accepted."""

    code = "unsupported_content_coding"
    message = _("The request body is compressed. Send it without compression and without the Content-Encoding header.")


class MethodNotAllowedError(AuthKitError):
    """The path exists and does not allow the method."""

    code = "method_not_allowed"
    message = _("This HTTP method is not allowed for this URL. Use one of the methods in the Allow header.")


class PathNotFoundError(AuthKitError):
    """The path does not exist below `ninja_auth_kit.urls`, or there are no public keys to publish.

    With `install`, an unknown path gets the 404 of your project.
    """

    code = "not_found"
    message = _("This URL does not exist. Check the path.")


class OriginNotAllowedError(AuthKitError):
    """In cookie mode, a page of another origin sent the request, or a client that names no origin."""

    code = "origin_not_allowed"
    message = _("Requests from this origin are not allowed. Open the site at its usual address.")


class UnknownTransportError(AuthKitError):
    """The header X-AuthKit-Transport has a value other than `cookie`."""

    code = "unknown_transport"
    message = _(
        "The value of the X-AuthKit-Transport header is not valid. Send the value cookie, or leave the header out."
    )


class ServerError(AuthKitError):
    """An unexpected exception was raised. It is logged, and the response does not describe it."""

    code = "server_error"
    message = _("An internal server error occurred. Try again later.")


STATUSES: dict[type[AuthKitError], HTTPStatus] = {
    MalformedBodyError: HTTPStatus.BAD_REQUEST,
    UnknownTransportError: HTTPStatus.BAD_REQUEST,
    exceptions.InvalidOneTimeTokenError: HTTPStatus.BAD_REQUEST,
    exceptions.InvalidCredentialsError: HTTPStatus.UNAUTHORIZED,
    exceptions.InvalidTokenError: HTTPStatus.UNAUTHORIZED,
    exceptions.TokenExpiredError: HTTPStatus.UNAUTHORIZED,
    exceptions.TokenReusedError: HTTPStatus.UNAUTHORIZED,
    exceptions.SessionEndedError: HTTPStatus.UNAUTHORIZED,
    exceptions.StepUpRequiredError: HTTPStatus.UNAUTHORIZED,
    exceptions.EmailNotVerifiedError: HTTPStatus.FORBIDDEN,
    OriginNotAllowedError: HTTPStatus.FORBIDDEN,
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
    UnsupportedContentCodingError: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    InvalidInputError: HTTPStatus.UNPROCESSABLE_ENTITY,
    exceptions.ThrottledError: HTTPStatus.TOO_MANY_REQUESTS,
    ServerError: HTTPStatus.INTERNAL_SERVER_ERROR,
    exceptions.ServiceUnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
}


def status_of(error: type[AuthKitError]) -> HTTPStatus:
    """Return the status of an error class, or of its nearest base class that has one."""
    return next(STATUSES[cls] for cls in error.__mro__ if cls in STATUSES)


def has_status(error: type[AuthKitError]) -> bool:
    """Return whether `status_of` knows a class. A class of your project can derive from `AuthKitError` itself."""
    return any(cls in STATUSES for cls in error.__mro__)


def problem_response(error: AuthKitError) -> HttpResponse:
    """Return the response to an error, as `application/problem+json`.

    It never repeats a value that the client sent, and repeats a name only as `exceptions.input_name` allows.
    """
    status = status_of(type(error))
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": str(error),
        "code": error.code,
    }
    if isinstance(error, InvalidInputError | MalformedBodyError) and error.errors:
        body["errors"] = [
            {"field": fault.field, "code": fault.code, "message": str(fault.message)} for fault in error.errors
        ]
    if isinstance(error, exceptions.ThrottledError):
        body["retry_after"] = error.retry_after  # scripts of other sites cannot read the header (Fetch, section 3.3.6)
    if isinstance(error, exceptions.StepUpRequiredError):
        body |= error.required
    response = JsonResponse(body, status=status.value, content_type="application/problem+json")
    response["Cache-Control"] = "no-store"
    if status == HTTPStatus.UNAUTHORIZED or hasattr(error, "challenge"):
        response["WWW-Authenticate"] = _challenge(error)
    if isinstance(error, UnsupportedContentCodingError):
        response["Accept-Encoding"] = "identity"
    if isinstance(error, exceptions.ThrottledError):
        response["Retry-After"] = str(error.retry_after)
    return response


def _challenge(error: AuthKitError) -> str:
    """Return the challenge that a 401 must have (RFC 9110 section 11.6.1), or a 403 for a missing scope.

    It names an error only if a token was rejected (RFC 6750 section 3).
    """
    if isinstance(error, exceptions.StepUpRequiredError):
        return step_up_challenge(error, getattr(error, "scheme", "Bearer"))
    is_token_rejected = isinstance(error, exceptions.InvalidTokenError)
    return getattr(error, "challenge", 'Bearer error="invalid_token"' if is_token_rejected else "Bearer")


def step_up_challenge(error: exceptions.StepUpRequiredError, scheme: str) -> str:
    """Return the challenge that names what is required (RFC 9470 section 3). Parameters are strings in a header."""
    required = {"error": error.code, **error.required}
    return f"{scheme} " + ", ".join(f'{name}="{value}"' for name, value in required.items())


def add_error_handlers(api: NinjaAPI) -> None:
    """Make an API answer the kit's errors as problems, even if it has handlers of its own for their base classes.

    Without this call, an API answers them as problems, too, unless you have added an exception handler for one of
    their base classes, such as Ninja's `AuthenticationError` or `HttpError`, or `Exception`. Such a handler then
    answers the errors of the kit. A handler for a class of the kit wins over both.

    Args:
        api: an API of your project. `install` calls this function itself.
    """

    def respond(request: HttpRequest, error: Any) -> HttpResponse:
        if not has_status(type(error)):
            raise error  # an unexpected error, which Django logs
        return problem_response(error)

    api.add_exception_handler(AuthKitError, respond)


def _is_unavailable(error: Exception) -> bool:
    """Return whether the database is away or read-only, and leave a server that is read-only.

    Django keeps a connection on which a SELECT works. After a failover, it would keep the one to the former primary,
    and each request that writes would fail until `CONN_MAX_AGE` has passed.
    """
    if is_read_only(error):
        close_accounts_connection()
        return True
    return isinstance(error, OperationalError | InterfaceError)


def convert_failures(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate an endpoint: convert an unavailable database to a 503, and other exceptions to a 500 without details.

    The exception is logged and reported without local variables, because passwords and tokens are among them: see
    `clear_local_variables`.
    """

    @sensitive_variables()
    @wraps(endpoint)
    def converted(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return endpoint(request, *args, **kwargs)
        except AuthKitError:
            raise
        except Exception as error:
            args, kwargs = (), {}  # the variables of a frame that is still running cannot be cleared
            clear_local_variables(error)
            if _is_unavailable(error):
                logger.error("The database is not available.", exc_info=error)
                raise exceptions.ServiceUnavailableError from error
            # Django's own handler sends it too. Error trackers and the test client rely on it.
            got_request_exception.send(sender=None, request=request)
            logger.error("An endpoint of ninja_auth_kit raised an exception.", exc_info=error)
            raise ServerError from error

    return converted
