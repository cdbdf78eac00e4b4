"""`JWTAuth`: guards a route with an access token. One object for sync and async routes, under WSGI and ASGI."""

import re
from functools import cache
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.db import Error
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject, empty
from django.views.decorators.debug import sensitive_variables
from ninja.errors import AuthenticationError, HttpError
from ninja.security import HttpBearer

from ninja_auth_kit.api.errors import status_of
from ninja_auth_kit.exceptions import (
    AuthKitError,
    InvalidTokenError,
    ServiceUnavailableError,
    SessionEndedError,
)
from ninja_auth_kit.models import UserSession
from ninja_auth_kit.models.users import may_authenticate, user_by_pk
from ninja_auth_kit.services.sessions import session_for
from ninja_auth_kit.tokens import AccessClaims, read_access_token

# RFC 6750 section 2.1: the scheme in any case, one space, one token. Not the query, not the body, not a cookie.
_BEARER = re.compile(r"bearer ([A-Za-z0-9._~+/=-]+)", re.IGNORECASE)


class MissingTokenError(InvalidTokenError):
    """There is no bearer token at all: the same body as for a bad one, but the challenge names no error."""

    challenge = "Bearer"


class AuthenticatedRequest(HttpRequest):
    """What a request is behind `JWTAuth`: for annotations alone, no request is made of this class."""

    auth: Any
    auth_claims: AccessClaims
    auth_session: UserSession  # not with check_session=False


class JWTAuth(HttpBearer):
    """Let in who has a live session.

    `request.auth` and `request.user` become the user, `request.auth_session` the `UserSession` (without those of its
    fields that are for the kit), and `request.auth_claims` what the token says, an `AccessClaims` with the claims of
    `ACCESS_TOKEN_CLAIMS` in `extra`; annotate a request as `AuthenticatedRequest`, and its type is known. The check is
    one indexed query that fetches the user too; logout, replacement, a ban, deletion and a changed password count on
    the very next request, and a database that does not answer is a 503, never a 200 (ASVS 7.4.1, 16.5.3). In a list of
    authenticators it comes last: it refuses, where others pass on.

    Args:
        check_session: False trusts the token alone until it expires: no query until the user is used, and nothing
            that ended the session counts until then. `request.auth_session` is not set. Async code gets the user by
            `await request.auser()`: using `request.user` would query the database in the event loop.
        with_email: True loads `user.authkit_email` by the same query, for routes that look at it.
    """

    openapi_bearerFormat = "JWT"  # noqa: N815  # OpenAPI's spelling

    def __init__(self, *, check_session: bool = True, with_email: bool = False) -> None:
        super().__init__()
        self.check_session, self.with_email = check_session, with_email

    def __call__(self, request: HttpRequest) -> Any:
        """Authenticate a request; Ninja calls it.

        Raises:
            InvalidTokenError: and the errors derived from it; also a Ninja `AuthenticationError`.
            ServiceUnavailableError: the database did not answer; also a Ninja `HttpError`.
        """
        try:
            return self.authenticate(request, _bearer_token(request))
        except (InvalidTokenError, ServiceUnavailableError) as error:
            raise _known_to_ninja(error) from error

    @sensitive_variables()
    def authenticate(self, request: HttpRequest, token: str) -> Any:
        """Return the user of a token, and put it on the request."""
        claims = read_access_token(token)
        if self.check_session:
            session = session_for(claims, with_email=self.with_email)
            request.auth_session = session  # type: ignore[attr-defined]
        request.auth_claims = claims  # type: ignore[attr-defined]
        return _set_user(request, session.user if self.check_session else _LazyUser(claims))


class _LazyUser(SimpleLazyObject):  # type: ignore[type-arg]  # generic in the stubs alone
    """The user of a token that was trusted alone: fetched at first use, and still refused if gone or disabled."""

    def __init__(self, claims: AccessClaims) -> None:
        super().__init__(lambda: _user_of(claims))

    def __bool__(self) -> bool:
        return True  # Ninja asks it of every authenticator's answer, and asking must not cost a query

    def loaded(self) -> Any:
        """Return the user itself."""
        if self._wrapped is empty:
            self._setup()
        return self._wrapped


def _user_of(claims: AccessClaims) -> Any:
    try:
        user = user_by_pk(get_user_model()._meta.pk.to_python(claims.user_id))
    except Error as error:
        raise _known_to_ninja(ServiceUnavailableError()) from error
    if user is None or not may_authenticate(user):
        raise _known_to_ninja(SessionEndedError())
    return user


def current_session(request: HttpRequest) -> UserSession:
    """Return the session of a request that `JWTAuth()` let in."""
    session: UserSession = request.auth_session  # type: ignore[attr-defined]
    return session


def optional_bearer_token(request: HttpRequest) -> str | None:
    """Return the bearer token of a request, or None where there is none or it cannot be one."""
    try:
        return _bearer_token(request)
    except InvalidTokenError:
        return None


def _bearer_token(request: HttpRequest) -> str:
    # Servers write it so; Ninja's test clients keep the case of the caller, which `headers` does not mind.
    header = request.META.get("HTTP_AUTHORIZATION") or request.headers.get("Authorization", "")
    if header.partition(" ")[0].lower() != "bearer":
        raise MissingTokenError
    match = _BEARER.fullmatch(header)
    if match is None:
        raise InvalidTokenError
    return match[1]


def _set_user(request: HttpRequest, user: Any) -> Any:
    async def auser() -> Any:
        return await sync_to_async(user.loaded)() if isinstance(user, _LazyUser) else user

    request.user = user
    request.auser = auser
    return user


def _known_to_ninja(error: AuthKitError) -> Exception:
    """Return the error as one that Ninja answers too, on a host's API that has not been taught the kit's errors."""
    twin = _twin(type(error))  # type: ignore[arg-type]  # mypy takes a class for unhashable
    known: Exception = twin(status_of(type(error)).value, str(error))
    return known


@cache
def _twin(kind: type[Any]) -> type[Any]:
    ninja_kind = AuthenticationError if issubclass(kind, InvalidTokenError) else HttpError
    return type(kind.__name__, (kind, ninja_kind), {"__doc__": kind.__doc__})
