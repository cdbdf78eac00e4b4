"""Carry refresh tokens and device tokens in cookies, for requests that ask for it by a header.

A script of the page can neither read the cookies nor send them elsewhere (ASVS 3.3.4). A page of another origin cannot
use them: browsers send them to this site from this site only (SameSite), the header forces a preflight, and the origin
must be a configured one (ASVS 3.5.1, 3.5.3). The prefix `__Host-` keeps subdomains from setting them (ASVS 3.3.3).
"""

import json
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import partial, wraps
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from ninja.decorators import decorate_view
from ninja.operation import Operation
from ninja.params.models import BodyModel

from ninja_auth_kit.api.errors import OriginNotAllowedError, UnknownTransportError, problem_response
from ninja_auth_kit.api.openapi import DESCRIPTION, Description, add_errors
from ninja_auth_kit.api.request_body import keep_for_parser, kept_body
from ninja_auth_kit.contrib.cookies.origins import allowed_origins
from ninja_auth_kit.exceptions import AuthKitError, FieldError, InvalidInputError, InvalidTokenError
from ninja_auth_kit.strict_json import parse_object

HEADER = "X-AuthKit-Transport"
REFRESH, DEVICE = "refresh_token", "device_token"
COOKIES = {REFRESH: "__Host-authkit-refresh", DEVICE: "__Host-authkit-device"}

# The members of bodies that hold the same token. `RefreshIn` has two names for it.
_NAMES = {REFRESH: {REFRESH, "refresh"}, DEVICE: {DEVICE}}
# The longest that browsers keep a cookie (RFC 6265bis section 5.5). The server decides when a device is forgotten.
_DEVICE_MAX_AGE = int(timedelta(days=400).total_seconds())
# The responses after which a refresh token is of no use. A 429 or a 503 says nothing about the session.
_DELETING = {"auth_refresh": 401, "auth_logout": 204, "auth_logout_all": 204, "auth_delete_me": 204}

_PARAMETER = {
    "in": "header",
    "name": HEADER,
    "required": False,
    "description": "`cookie`: the refresh token is in the cookie `__Host-authkit-refresh` and not in the bodies. The "
    "request must come from an allowed origin.",
    "schema": {"type": "string", "enum": ["cookie"]},
}
_SET_COOKIE = {
    "Set-Cookie": {
        "description": "In cookie mode: sets the cookie of the refresh token, or deletes it with `Max-Age=0`.",
        "schema": {"type": "string"},
        "example": f"{COOKIES[REFRESH]}=nakr_the-refresh-token; HttpOnly; Max-Age=604800; Path=/; SameSite=Strict; "
        "Secure",
    }
}


def adapt_operation(operation: Operation) -> None:
    """Add cookie mode to an operation, if its body or its answer holds a token, or if it ends the session.

    Args:
        operation: an operation of the kit's router.
    """
    name = str(operation.operation_id)
    bodies = [model for model in operation.models if issubclass(model, BodyModel)]
    taken = COOKIES.keys() & _members(bodies)
    setting = [status for status, model in operation.response_models.items() if model and REFRESH in _members([model])]
    deleting = [_DELETING[name]] if name in _DELETING else []
    if taken or setting or deleting:
        description: Description = operation.openapi_extra[DESCRIPTION]  # type: ignore[index]  # the kit's have one
        description.then(partial(_describe, statuses=[*setting, *deleting], body_is_optional=REFRESH in taken))
        decorate_view(partial(_in_cookie_mode, name=name, taken=taken))(operation.view_func)


def _members(models: Iterable[Any]) -> set[str]:
    """Return the names of all members of some schemas and of the schemas in them."""
    schemas = [model.model_json_schema(mode="serialization") for model in models]
    parts = [part for schema in schemas for part in (schema, *schema.get("$defs", {}).values())]
    return {name for part in parts for name in part.get("properties", {})}


def _describe(extra: dict[str, Any], *, statuses: list[int], body_is_optional: bool) -> None:
    add_errors(extra, [OriginNotAllowedError, UnknownTransportError])
    extra.setdefault("parameters", []).append(_PARAMETER)
    for status in statuses:
        response = extra["responses"].setdefault(status, {})
        response["headers"] = {**response.get("headers", {}), **_SET_COOKIE}
    if body_is_optional:
        extra["requestBody"]["required"] = False


def _in_cookie_mode(run: Callable[..., HttpResponse], *, name: str, taken: set[str]) -> Callable[..., HttpResponse]:
    """Decorate an operation.

    Args:
        run: the operation.
        name: its id.
        taken: the members of its body that a cookie can hold.
    """

    @wraps(run)
    def view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if HEADER not in request.headers:
            return run(request, *args, **kwargs)
        try:
            _require_allowed_origin(request)
            _fill_body(request, taken, is_token_required=name == "auth_refresh")
        except AuthKitError as error:
            return problem_response(error)
        response = run(request, *args, **kwargs)
        if 200 <= response.status_code < 300 and response.content:
            _move_tokens(response)
        if response.status_code == _DELETING.get(name):
            _set_cookie(response, REFRESH, "", max_age=0)
        return response

    return view


def _require_allowed_origin(request: HttpRequest) -> None:
    """Raise an error unless a page of an allowed origin asked for cookie mode.

    Browsers omit `Origin` in some requests of the same origin, and no page can set `Sec-Fetch-Site`.
    """
    if request.headers[HEADER] != "cookie":
        raise UnknownTransportError
    origin = request.headers.get("Origin")
    is_same = request.headers.get("Sec-Fetch-Site") == "same-origin"
    if not (is_same if origin is None else origin.lower() in allowed_origins()):
        raise OriginNotAllowedError


def _fill_body(request: HttpRequest, taken: set[str], *, is_token_required: bool) -> None:
    """Put the tokens of cookies into the body for the parser, and remove them from where error trackers look."""
    if not taken:
        return
    body = parse_object(kept_body(request))
    found = {member: token for member in taken if (token := request.COOKIES.get(COOKIES[member]))}
    for member, token in found.items():
        if _NAMES[member] & body.keys():
            raise InvalidInputError(
                FieldError(member, "two_tokens", _("Send the token in the cookie or in the body, not in both."))
            )
        body[member] = request.COOKIES.pop(COOKIES[member])
        header = request.META.get("HTTP_COOKIE", "")
        request.META["HTTP_COOKIE"] = header.replace(f"{COOKIES[member]}={token}", "")
        vars(request).pop("headers", None)  # made from META when it is first used
    if is_token_required and not _NAMES[REFRESH] & body.keys():
        raise InvalidTokenError  # 401, as after any refresh that fails for good: the page asks the user to log in
    keep_for_parser(request, json.dumps(body).encode())


def _move_tokens(response: HttpResponse) -> None:
    """Move the tokens of an answer into cookies.

    Raises:
        ImproperlyConfigured: the body is not JSON. It must not be sent, because it may hold a token.
    """
    try:
        body = json.loads(response.content)
    except ValueError:
        raise ImproperlyConfigured("Cookie mode needs a NinjaAPI whose renderer writes JSON.") from None
    for pair in (body, body.get("tokens")) if isinstance(body, dict) else ():
        if isinstance(pair, dict) and "access_token" in pair and REFRESH in pair:
            _set_cookie(response, REFRESH, pair.pop(REFRESH), max_age=pair["refresh_expires_in"])
            device_token = pair.pop(DEVICE, None)
            if device_token is not None:
                _set_cookie(response, DEVICE, device_token, max_age=_DEVICE_MAX_AGE)
            response.content = json.dumps(body).encode()


def _set_cookie(response: HttpResponse, member: str, token: str, *, max_age: int) -> None:
    response.set_cookie(COOKIES[member], token, max_age=max_age, secure=True, httponly=True, samesite="Strict")
