"""`JWTAuth`, which protects a route with an access token."""

import re
from contextlib import nullcontext
from contextvars import ContextVar
from datetime import timedelta
from functools import cache, partial
from typing import Any, cast

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ImproperlyConfigured
from django.db import Error
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject, empty
from django.views.decorators.debug import sensitive_variables
from ninja.errors import AuthenticationError, HttpError
from ninja.security import HttpBearer
from pydantic import SecretStr

from ninja_auth_kit import services
from ninja_auth_kit.api import ninja_hooks  # noqa: F401  # importing it lets every NinjaAPI answer the errors
from ninja_auth_kit.api.errors import status_of
from ninja_auth_kit.api.shared_checks import AwaitedOnly, shared_check
from ninja_auth_kit.exceptions import (
    AuthKitError,
    InvalidTokenError,
    ServiceUnavailableError,
    SessionEndedError,
    StepUpRequiredError,
)
from ninja_auth_kit.kept_connections import kept_connection, may_share_checks
from ninja_auth_kit.levels import AAL1, AAL2
from ninja_auth_kit.models import UserSession
from ninja_auth_kit.models.compiled_query import is_filtered
from ninja_auth_kit.models.users import may_authenticate, user_by_pk
from ninja_auth_kit.services.sessions import require_level, session_for
from ninja_auth_kit.tokens import AccessClaims, read_access_token

# RFC 9110 section 5.6.2 defines the characters of a scheme, RFC 6750 section 2.1 those of a token.
# Tokens in the query, the body or a cookie are not accepted.
_SCHEME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_TOKEN = r"[A-Za-z0-9._~+/-]+=*"  # noqa: S105  # a pattern
_NO_USER = object()  # true, because Ninja takes a false result for a rejection


# The authenticator that was asked last, and said that its call returns an awaitable. Code of your project that calls
# one without asking gets a user or an error, as in a thread: a coroutine that it does not await would be true.
_to_be_awaited: ContextVar["JWTAuth | None"] = ContextVar("ninja_auth_kit_to_be_awaited", default=None)


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

    A rejected request is answered with a problem and the header `WWW-Authenticate`, on any NinjaAPI. Exception
    handlers of your API win: see `add_error_handlers`.

    Put `JWTAuth` last in a list of authenticators, such as after `APIKeyAuth`. It raises an error if it rejects a
    request, and Django Ninja then does not call the authenticators after it. With `optional=True` it accepts each
    request without the header.

    With `acr` or `max_age`, the user must have been authenticated well enough, and lately enough. Otherwise the
    response is a 401 whose challenge says what is required (RFC 9470), and the client makes a step-up:

        @api.post("/transfers", auth=JWTAuth(acr="aal2", max_age=300))

    The token must say so, and the session must confirm the level. So the copy of a token that was stolen before a
    step-up does not rise with it, and the level of all tokens falls when the user removes the last second factor.

    One object can protect sync and async endpoints, under WSGI and ASGI.

    Args:
        check_session: whether to check the session. If False, the token of an ended session is accepted until
            it expires, and `request.auth_session` is not set. No query is made until the user is used, and a
            user who was deleted or deactivated is rejected at that moment. In an async endpoint, call
            `await request.auser()`, because `request.user` would query the database in the event loop.
        with_email: whether the same query loads `user.authkit_email`, the `EmailAddress` of the user.
        optional: whether a request without the `Authorization` header is let through. It has no user: `request.auth`,
            `request.auth_session` and `request.auth_claims` are None, and `request.user` is an `AnonymousUser`, even
            if Django's session has a user. Any other header is checked, so a token that is malformed, expired or of
            an ended session is a 401, and so is a header of another scheme.
        scheme: the scheme of the `Authorization` header, for clients that cannot send `Bearer`. It is compared without
            case (RFC 9110 section 11.1). The endpoints of the kit accept `Bearer` only.
        acr: "aal1" or "aal2": see `docs/features/step-up.md`. With `check_session=False`, the token alone decides.
        max_age: how long ago the user may have been authenticated, in seconds or as a timedelta.
        with_level: whether the same query loads what `services.require_fresh` reads; `acr` and `max_age` imply it.

    Raises:
        ImproperlyConfigured: `scheme` is not one word.
        ValueError: `acr` is not a level, or `max_age` is not at least one second.
    """

    openapi_bearerFormat = "JWT"  # noqa: N815  # OpenAPI's spelling

    def __init__(
        self,
        *,
        check_session: bool = True,
        with_email: bool = False,
        optional: bool = False,
        scheme: str = "Bearer",
        acr: str | None = None,
        max_age: timedelta | int | None = None,
        with_level: bool = False,
    ) -> None:
        if not _SCHEME.fullmatch(scheme):
            raise ImproperlyConfigured(f"JWTAuth(scheme={scheme!r}): a scheme is one word, such as 'Token'.")
        self.openapi_scheme = scheme.lower()
        super().__init__()
        self.required = None if acr is None and max_age is None else _required_level(acr, max_age)
        self.check_session, self.with_email = check_session, with_email
        self.with_level = with_level or self.required is not None
        self.scheme, self.is_optional_token = scheme, optional
        if self.openapi_scheme != "bearer":
            self.openapi_security_schema.pop("bearerFormat", None)  # OpenAPI has it for bearer only
            self.__class__ = _class_of_scheme(type(self), self.openapi_scheme)

    @property
    def is_async(self) -> bool:
        """Whether the next call returns an awaitable: Ninja asks before each one.

        Ninja sets it if `authenticate` is async. In an event loop the check is shared with other requests, unless a
        subclass has code of its own.
        """
        is_shared = not self._has_async_code and self._is_shared()
        _to_be_awaited.set(self if is_shared else None)
        return self._has_async_code or is_shared

    @is_async.setter
    def is_async(self, value: bool) -> None:
        self._has_async_code = value

    def _is_shared(self) -> bool:
        kind = type(self)
        is_own = kind.__call__ is JWTAuth.__call__ and kind.authenticate is JWTAuth.authenticate
        return is_own and may_share_checks() and not is_filtered(get_user_model()._default_manager)

    def __call__(self, request: HttpRequest) -> Any:
        """Return the user of a request, or an awaitable if `is_async` was just true. Django Ninja calls this method.

        Raises:
            InvalidTokenError: the token is missing or rejected. The error is also an `AuthenticationError`
                of Django Ninja.
            StepUpRequiredError: `acr` or `max_age` is not met. It is an `AuthenticationError`, too.
            ServiceUnavailableError: the database does not answer. The error is also an `HttpError` of Django
                Ninja.
        """
        if _to_be_awaited.get() is self:
            _to_be_awaited.set(None)
            return AwaitedOnly(partial(self._authenticate_in_event_loop, request))
        if self.is_optional_token and not authorization(request):
            return _let_through(request)
        try:
            token = _token(request, self.scheme)
            with kept_connection() if self.check_session else nullcontext():
                return self.authenticate(request, token)
        except (InvalidTokenError, StepUpRequiredError, ServiceUnavailableError) as error:
            raise as_ninja_error(error, self.scheme) from error

    async def _authenticate_in_event_loop(self, request: HttpRequest) -> Any:
        if self.is_optional_token and not authorization(request):
            return _let_through(request)
        try:
            claims, session = read_access_token(_token(request, self.scheme)), None
            if self.check_session:
                session = await shared_check(claims, with_email=self.with_email, with_level=self.with_level)
            return self._accept(request, claims, session)
        except (InvalidTokenError, StepUpRequiredError, ServiceUnavailableError) as error:
            raise as_ninja_error(error, self.scheme) from error

    @sensitive_variables()
    def authenticate(self, request: HttpRequest, token: str) -> Any:
        """Return the user of a token, and set the attributes of the request."""
        claims, session = read_access_token(token), None
        if self.check_session:
            session = session_for(claims, with_email=self.with_email, with_level=self.with_level)
        return self._accept(request, claims, session)

    def _accept(self, request: HttpRequest, claims: AccessClaims, session: UserSession | None) -> Any:
        if session is not None:
            request.auth_session = session  # type: ignore[attr-defined]
        if self.required is not None:
            require_level(claims, session, acr=self.required.acr, max_age=self.required.max_age)
        request.auth_claims = claims  # type: ignore[attr-defined]
        return set_user(request, session.user if session is not None else _LazyUser(claims, self.scheme))


def _required_level(acr: str | None, max_age: timedelta | int | None) -> StepUpRequiredError:
    """Return what a route requires, as the error that says so."""
    if acr not in (None, AAL1, AAL2):
        raise ValueError(f"JWTAuth(acr={acr!r}): acr must be 'aal1', 'aal2' or None.")
    seconds: object = max_age.total_seconds() if isinstance(max_age, timedelta) else max_age
    if isinstance(seconds, float) and seconds.is_integer():
        seconds = int(seconds)
    if seconds is not None and (type(seconds) is not int or seconds < 1):
        raise ValueError(f"JWTAuth(max_age={max_age!r}): max_age must be a whole number of seconds, at least 1.")
    return StepUpRequiredError(acr=acr, max_age=seconds)


class _LazyUser(SimpleLazyObject):  # type: ignore[type-arg]  # generic in the stubs alone
    """The user of a token whose session is not checked: loaded at first use, and rejected if deleted or inactive."""

    def __init__(self, claims: AccessClaims, scheme: str) -> None:
        super().__init__(lambda: _load_user(claims, scheme))

    def __bool__(self) -> bool:
        return True  # Ninja tests the result of each authenticator, and that must not make a query

    def loaded(self) -> Any:
        """Return the user."""
        if self._wrapped is empty:
            self._setup()
        return self._wrapped


def _load_user(claims: AccessClaims, scheme: str) -> Any:
    try:
        with kept_connection():
            user = user_by_pk(get_user_model()._meta.pk.to_python(claims.user_id))
    except (Error, ServiceUnavailableError) as error:
        raise as_ninja_error(ServiceUnavailableError(), scheme) from error
    if user is None or not may_authenticate(user):
        raise as_ninja_error(SessionEndedError(), scheme)
    return user


def current_session(request: HttpRequest) -> UserSession:
    """Return the session of a request that `JWTAuth()` has authenticated."""
    session: UserSession = request.auth_session  # type: ignore[attr-defined]
    return session


def require_fresh(request: HttpRequest) -> None:
    """Require that the user was authenticated lately, and well enough: see `services.require_fresh`.

    Args:
        request: one that `JWTAuth(with_level=True)` has authenticated.
    """
    services.require_fresh(session=current_session(request), claims=_current_claims(request))


@sensitive_variables()
def require_confirmation(request: HttpRequest, sent: SecretStr | None, *, field: str = "password") -> str | None:
    """Require what confirms an operation, and return the password: see `services.require_confirmation`.

    Args:
        request: one that `JWTAuth(with_level=True)` has authenticated.
        sent: the password in its body, if there is one.
        field: the field that has it.
    """
    password = None if sent is None else sent.get_secret_value()
    services.require_confirmation(
        session=current_session(request), claims=_current_claims(request), password=password, field=field
    )
    return password


def _current_claims(request: HttpRequest) -> AccessClaims:
    claims: AccessClaims = request.auth_claims  # type: ignore[attr-defined]
    return claims


def optional_bearer_token(request: HttpRequest) -> str | None:
    """Return the bearer token of a request, or None if it is missing or malformed."""
    try:
        return _token(request, "Bearer")
    except InvalidTokenError:
        return None


def _token(request: HttpRequest, scheme: str) -> str:
    """Return the token of a scheme, which at least one space separates from it (RFC 9110 section 11.4)."""
    header = authorization(request)
    match = _credentials(scheme).fullmatch(header)
    if match is not None:
        return match[1]
    if header.partition(" ")[0].lower() == scheme.lower():
        raise InvalidTokenError
    raise MissingTokenError


@cache
def _credentials(scheme: str) -> re.Pattern[str]:
    return re.compile(rf"{re.escape(scheme)} +({_TOKEN})", re.IGNORECASE | re.ASCII)


def authorization(request: HttpRequest) -> str:
    """Return the header without the white space around it, which does not belong to it (RFC 9110 section 5.5).

    Servers set META. The test clients of Ninja keep the case of the header, and `headers` ignores it. Both test
    clients also pass on None and other objects.
    """
    header = request.META.get("HTTP_AUTHORIZATION")
    header = request.headers.get("Authorization") if header is None else header
    return "" if header is None else str(header).strip(" \t")


def _let_through(request: HttpRequest) -> Any:
    """Return a result that Ninja accepts for a request without a token, and let `request.auth` be None."""
    set_user(request, AnonymousUser())
    request.auth_session = request.auth_claims = None  # type: ignore[attr-defined]
    request.__class__ = _class_without_user(type(request))  # type: ignore[arg-type]  # as _ninja_class
    return _NO_USER


class _RequestWithoutUser(HttpRequest):
    """A request that was let through without a token.

    Ninja sets `auth` to what the authenticator returned. It treats None as a rejection, so the authenticator cannot
    return None.
    """

    @property
    def auth(self) -> Any:
        return vars(self).get("auth")

    @auth.setter
    def auth(self, value: Any) -> None:
        vars(self)["auth"] = None if value is _NO_USER else value


@cache
def _class_without_user(kind: type[HttpRequest]) -> type[HttpRequest]:
    """Return a class of requests whose `auth` is None although Ninja sets it. It is in all else the same class."""
    if issubclass(kind, _RequestWithoutUser):
        return kind
    return type(kind.__name__, (_RequestWithoutUser, kind), {"__doc__": kind.__doc__})


@cache
def _class_of_scheme(kind: type[Any], scheme: str) -> type[Any]:
    """Return a subclass, because Ninja names the security schemes of OpenAPI by the class of the authenticator."""
    name = kind.__name__ + re.sub("[^a-z0-9]", "", scheme).capitalize()
    return type(name, (kind,), {"__doc__": kind.__doc__, "__module__": kind.__module__})


def set_user(request: HttpRequest, user: Any) -> Any:
    """Set `request.user` and `request.auser`, and return the user.

    Args:
        request: the request.
        user: a user, or one that is loaded when it is used.
    """

    async def auser() -> Any:
        return await sync_to_async(user.loaded)() if isinstance(user, _LazyUser) else user

    request.user = user
    request.auser = auser
    return user


def as_ninja_error(error: AuthKitError, scheme: str) -> Exception:
    """Return the error as one that Ninja's handlers know, too, with the challenge that a 401 has for the scheme.

    Args:
        error: an error that has a status.
        scheme: the scheme of the `Authorization` header.
    """
    ninja_class: Any = _ninja_class(type(error))  # type: ignore[arg-type]  # mypy takes a class for unhashable
    converted = ninja_class.__new__(ninja_class)
    HttpError.__init__(converted, status_of(type(error)).value, str(error))
    vars(converted).update(vars(error), scheme=scheme)
    if isinstance(error, InvalidTokenError):
        converted.challenge = scheme if isinstance(error, MissingTokenError) else f'{scheme} error="invalid_token"'
    return cast("Exception", converted)


@cache
def _ninja_class(kind: type[Any]) -> type[Any]:
    """Return a class that derives from an error of the kit and from one of Django Ninja."""
    base = AuthenticationError if issubclass(kind, InvalidTokenError | StepUpRequiredError) else HttpError
    return type(kind.__name__, (kind, base), {"__doc__": kind.__doc__})
