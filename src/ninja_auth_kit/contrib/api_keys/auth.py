"""`APIKeyAuth`, which protects a route with an API key."""

from http import HTTPStatus
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.views.decorators.debug import sensitive_variables
from ninja.security import HttpBearer

from ninja_auth_kit import features
from ninja_auth_kit.api import ninja_hooks
from ninja_auth_kit.api.errors import STATUSES
from ninja_auth_kit.api.jwt_auth import MissingTokenError, as_ninja_error, authorization, set_user
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import settings
from ninja_auth_kit.contrib.api_keys.exceptions import InsufficientScopeError
from ninja_auth_kit.contrib.api_keys.models import PREFIX, ApiKey
from ninja_auth_kit.contrib.api_keys.services import check_key
from ninja_auth_kit.contrib.api_keys.settings import is_scope_token
from ninja_auth_kit.exceptions import InvalidTokenError, ServiceUnavailableError, ThrottledError

STATUSES[InsufficientScopeError] = HTTPStatus.FORBIDDEN


class APIKeyRequest(HttpRequest):
    """The type of a request that `APIKeyAuth` has authenticated.

    For annotations only: Django does not create requests of this class.
    """

    auth: Any
    auth_key: ApiKey  # None if another authenticator of the list has accepted the request


class APIKeyAuth(HttpBearer):
    """Require a valid API key that has all of these scopes.

        @api.get("/notes", auth=[APIKeyAuth("notes:read"), JWTAuth()])
        def notes(request: APIKeyRequest) -> list[str]: ...

    The request has these attributes in the endpoint:

    - `request.user` and `request.auth`: the owner of the key.
    - `request.auth_key`: the `ApiKey`. It is None if the next authenticator of the list has accepted the request.

    A key belongs to no session, so `request.auth_session` and `request.auth_claims` are None, and a key never meets
    `JWTAuth(acr=...)`. The endpoints of the kit accept no keys.

    Each request checks the key with one indexed query, which also loads the user. A key is refused from the next
    request on if it was revoked, or if the user was deleted or deactivated. If the database does not answer, the
    response is a 503.

    A request without a key is passed on to the next authenticator of the list. One with a key that is not valid is a
    401, and one whose key lacks a scope is a 403 with the challenge of RFC 6750. So put `JWTAuth` after it.

    One object can protect sync and async endpoints, under WSGI and ASGI.

    Args:
        scopes: what the key must allow, of `API_KEYS["SCOPES"]`: all of them.

    Raises:
        ValueError: there is no scope, or one is not a scope token (RFC 6749 section 3.3).
        ImproperlyConfigured: the app is not installed, or `API_KEYS["SCOPES"]` does not have one of the scopes.
    """

    openapi_description = f"An API key, which begins with `{PREFIX}`."

    def __init__(self, *scopes: str) -> None:
        if not scopes or not all(map(is_scope_token, scopes)):
            raise ValueError(f"APIKeyAuth() needs one or several scopes, such as 'notes:read' (got {scopes!r}).")
        if not features.is_installed("ninja_auth_kit_api_keys"):
            raise ImproperlyConfigured("APIKeyAuth() needs 'ninja_auth_kit.contrib.api_keys' in INSTALLED_APPS.")
        unknown = [scope for scope in scopes if scope not in settings.API_KEYS["SCOPES"]]
        if unknown:
            raise ImproperlyConfigured(f"NINJA_AUTH_KIT['API_KEYS']['SCOPES'] does not have {', '.join(unknown)}.")
        super().__init__()
        self.required_scopes = scopes
        setattr(self, ninja_hooks.SCOPES, scopes)

    @sensitive_variables()
    def __call__(self, request: HttpRequest) -> Any:
        """Return the user of a request, or None if it has no API key. Django Ninja calls this method.

        Raises:
            InvalidTokenError: the key is refused. The error is also an `AuthenticationError` of Django Ninja.
            InsufficientScopeError: the key lacks a scope. This error and the next two are also an `HttpError`.
            ThrottledError: too many keys from this network were refused.
            ServiceUnavailableError: the database does not answer.
        """
        scheme, _, credentials = authorization(request).partition(" ")
        key, is_bearer = credentials.lstrip(" "), scheme.lower() == "bearer"
        _set_key(request, None)
        if not is_bearer or not key.startswith(PREFIX):
            refusal = InvalidTokenError() if is_bearer else MissingTokenError()
            setattr(request, ninja_hooks.PASSED_ON, as_ninja_error(refusal, "Bearer"))
            return None
        try:
            return self.authenticate(request, key)
        except (InvalidTokenError, InsufficientScopeError, ThrottledError, ServiceUnavailableError) as error:
            raise as_ninja_error(error, "Bearer") from error

    @sensitive_variables()
    def authenticate(self, request: HttpRequest, token: str) -> Any:
        """Return the user of a key, and set the attributes of the request."""
        row = check_key(token, scopes=self.required_scopes, client=ClientInfo.of(request))
        _set_key(request, row)
        request.auth_session = request.auth_claims = None  # type: ignore[attr-defined]
        return set_user(request, row.user)


def _set_key(request: HttpRequest, row: ApiKey | None) -> None:
    request.auth_key = row  # type: ignore[attr-defined]
