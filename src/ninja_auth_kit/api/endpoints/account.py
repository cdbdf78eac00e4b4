"""GET, PATCH and DELETE me."""

from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema, Status

from ninja_auth_kit import services
from ninja_auth_kit.api.custom_schemas import add_offsets, additional_fields, profile_schema, user_schema
from ninja_auth_kit.api.jwt_auth import JWTAuth, require_confirmation
from ninja_auth_kit.api.openapi import LIMITED, WITH_BEARER, WITH_BODY, operation
from ninja_auth_kit.api.schemas import PasswordIn
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.exceptions import AccountProtectedError, StepUpRequiredError, WrongPasswordError

router = Router()
Profile, User = profile_schema(), user_schema()


@router.get(
    "me",
    **operation("me", summary="Get the user", success={200: User}, errors=WITH_BEARER, auth=JWTAuth(with_email=True)),
)
def me(request: HttpRequest) -> Schema:
    """Return the user of the access token."""
    return _serialize(request, request.user)


@router.patch(
    "me",
    **operation(
        "update_me",
        summary="Update the profile",
        body=Profile,
        success={200: User},
        errors=(*WITH_BODY, *WITH_BEARER),
        auth=JWTAuth(with_email=True),
    ),
)
def update_me(request: HttpRequest, body: Profile) -> Schema:  # type: ignore[valid-type]
    """Update the fields that are sent, and return the user.

    The email address and the password have endpoints of their own.
    """
    values = additional_fields(body, only_sent=True)
    user = services.update_account(user=request.user, values=values, client=ClientInfo.of(request))
    return _serialize(request, user)


def _serialize(request: HttpRequest, user: Any) -> Schema:
    shown: Schema = add_offsets(User.model_validate(user, context={"request": request, "response_status": 200}))
    return shown


@router.delete(
    "me",
    **operation(
        "delete_me",
        summary="Delete the account",
        body=PasswordIn,
        success={204: None},
        errors=(*LIMITED, *WITH_BEARER, StepUpRequiredError, WrongPasswordError, AccountProtectedError),
        auth=JWTAuth(with_level=True),
    ),
)
def delete_me(request: HttpRequest, body: PasswordIn) -> Status[None]:
    """Delete the account and everything that belongs to it. This cannot be undone.

    The password of the account confirms the request, or a recent login if the account has no password.
    """
    password = require_confirmation(request, body.password)
    services.delete_account(user=request.user, password=password, client=ClientInfo.of(request))
    return Status(204, None)
