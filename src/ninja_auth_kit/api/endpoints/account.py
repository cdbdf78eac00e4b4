"""GET, PATCH and DELETE me."""

from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema, Status

from ninja_auth_kit import services
from ninja_auth_kit.api.custom_schemas import further_fields, profile_schema, user_schema
from ninja_auth_kit.api.jwt_auth import JWTAuth
from ninja_auth_kit.api.openapi import LIMITED, WITH_BEARER, WITH_BODY, operation
from ninja_auth_kit.api.schemas import PasswordIn
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.exceptions import AccountProtectedError, WrongPasswordError

router = Router()
Profile, User = profile_schema(), user_schema()


@router.get(
    "me",
    **operation("me", summary="Who am I", success={200: User}, errors=WITH_BEARER, auth=JWTAuth(with_email=True)),
)
def me(request: HttpRequest) -> Schema:
    """Return the user of the access token."""
    return _shown(request, request.user)


@router.patch(
    "me",
    **operation(
        "update_me",
        summary="Change my profile",
        success={200: User},
        errors=(*WITH_BODY, *WITH_BEARER),
        auth=JWTAuth(with_email=True),
    ),
)
def update_me(request: HttpRequest, body: Profile) -> Schema:  # type: ignore[valid-type]
    """Change what is sent, leave the rest, and return the user. Address and password have endpoints of their own."""
    values = further_fields(body, sent_alone=True)
    user = services.update_account(user=request.user, values=values, client=ClientInfo.of(request))
    return _shown(request, user)


def _shown(request: HttpRequest, user: Any) -> Schema:
    return User.model_validate(user, context={"request": request, "response_status": 200})


@router.delete(
    "me",
    **operation(
        "delete_me",
        summary="Delete my account",
        success={204: None},
        errors=(*LIMITED, *WITH_BEARER, WrongPasswordError, AccountProtectedError),
        auth=JWTAuth(),
    ),
)
def delete_me(request: HttpRequest, body: PasswordIn) -> Status[None]:
    """Delete the account, with all that belongs to it. The password goes with it; it cannot be undone."""
    services.delete_account(
        user=request.user, password=body.password.get_secret_value(), client=ClientInfo.of(request)
    )
    return Status(204, None)
