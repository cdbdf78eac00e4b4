"""`JWTAuth`, which protects a route with an access token."""

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

# RFC 6750 section 2.1: the scheme in any case, one space, one token. Tokens in the query, the body
# or a cookie are not accepted.
_BEARER = re.compile(r"bearer ([A-Za-z0-9._~+/=-]+)", re.IGNORECASE)


class MissingTokenError(InvalidTokenError):
    """No bearer token was sent. Only the challenge differs from that of a rejected token: it names no error."""

    challenge = "Bearer"


class AuthenticatedRequest(HttpRequest):
    """The type of a request that `JWTAuth` has authenticated.

    For annotations only: Django does not create requests of this class.
    """

    auth: Any
    auth_claims: AccessClaims
    auth_session: UserSession  # not set with check_session=False


class JWTAuth(HttpBearer):
    """Require the access token of a valid session.

        @api.get("/notes", auth=JWTAuth())
        def notes(request: AuthenticatedRequest) -> list[str]: ...

    The request has these attributes in the endpoint:

    - `request.user` and `request.auth`: the user.
    - `request.auth_session`: the `UserSession`. Fields that only the kit uses are deferred: reading one
      makes another query.
    - `request.auth_claims`: the claims of the token, an `AccessClaims`. Claims that
      `ACCESS_TOKEN_CLAIMS` added are in `extra`.

    Each request checks the session with one indexed query, which also loads the user. A token is rejected
    from the next request on if its session ended (by a logout, another login or a changed password), or if
    the user was deleted or deactivated. If the database does not answer, the response is a 503
    (ASVS 7.4.1, 16.5.3).

    Put `JWTAuth` last in a list of authenticators. It raises an error if it rejects a request, and Django
    Ninja then does not call the authenticators after it.

    One object can protect sync and async endpoints, under WSGI and ASGI.

    Args:
        check_session: whether to check the session. If False, the token of an ended session is accepted until
            it expires, and `request.auth_session` is not set. No query is made until the user is used, and a
            user who was deleted or deactivated is rejected at that moment. In an async endpoint, call
            `await request.auser()`, because `request.user` would query the database in the event loop.
        with_email: whether the same query loads `user.authkit_email`, the `EmailAddress` of the user.
    """

    openapi_bearerFormat = "JWT"  # noqa: N815  # OpenAPI's spelling

    def __init__(self, *, check_session: bool = True, with_email: bool = False) -> None:
        super().__init__()
        self.check_session, self.with_email = check_session, with_email

    def __call__(self, request: HttpRequest) -> Any:
        """Return the user of a request. Django Ninja calls this method.

        Raises:
            InvalidTokenError: the token is missing or rejected. The error is also an `AuthenticationError`
                of Django Ninja.
            ServiceUnavailableError: the database does not answer. The error is also an `HttpError` of Django
                Ninja.
        """
        try:
            return self.authenticate(request, _bearer_token(request))
        except (InvalidTokenError, ServiceUnavailableError) as error:
            raise _as_ninja_error(error) from error

    @sensitive_variables()
    def authenticate(self, request: HttpRequest, token: str) -> Any:
        """Return the user of a token, and set the attributes of the request."""
        claims = read_access_token(token)
        if self.check_session:
            session = session_for(claims, with_email=self.with_email)
            request.auth_session = session  # type: ignore[attr-defined]
        request.auth_claims = claims  # type: ignore[attr-defined]
        return _set_user(request, session.user if self.check_session else _LazyUser(claims))


class _LazyUser(SimpleLazyObject):  # type: ignore[type-arg]  # generic in the stubs alone
    """The user of a token whose session is not checked: loaded at first use, and rejected if deleted or inactive."""

    def __init__(self, claims: AccessClaims) -> None:
        super().__init__(lambda: _load_user(claims))

    def __bool__(self) -> bool:
        return True  # Ninja tests the result of each authenticator, and that must not make a query

    def loaded(self) -> Any:
        """Return the user."""
        if self._wrapped is empty:
            self._setup()
        return self._wrapped


def _load_user(claims: AccessClaims) -> Any:
    try:
        user = user_by_pk(get_user_model()._meta.pk.to_python(claims.user_id))
    except Error as error:
        raise _as_ninja_error(ServiceUnavailableError()) from error
    if user is None or not may_authenticate(user):
        raise _as_ninja_error(SessionEndedError())
    return user


def current_session(request: HttpRequest) -> UserSession:
    """Return the session of a request that `JWTAuth()` has authenticated."""
    session: UserSession = request.auth_session  # type: ignore[attr-defined]
    return session


def optional_bearer_token(request: HttpRequest) -> str | None:
    """Return the bearer token of a request, or None if it is missing or malformed."""
    try:
        return _bearer_token(request)
    except InvalidTokenError:
        return None


def _bearer_token(request: HttpRequest) -> str:
    # Servers set META. The test clients of Ninja keep the case of the header, and `headers` ignores
    # it.
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


def _as_ninja_error(error: AuthKitError) -> Exception:
    """Return the error as one that Django Ninja handles, because an API may not have the kit's error handlers."""
    ninja_class = _ninja_class(type(error))  # type: ignore[arg-type]  # mypy takes a class for unhashable
    converted: Exception = ninja_class(status_of(type(error)).value, str(error))
    return converted


@cache
def _ninja_class(kind: type[Any]) -> type[Any]:
    """Return a class that derives from an error of the kit and from one of Django Ninja."""
    base = AuthenticationError if issubclass(kind, InvalidTokenError) else HttpError
    return type(kind.__name__, (kind, base), {"__doc__": kind.__doc__})
