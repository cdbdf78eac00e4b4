"""POST login."""

from django.http import HttpRequest
from ninja import Router

from ninja_auth_kit import services
from ninja_auth_kit.api.openapi import LIMITED, operation
from ninja_auth_kit.api.schemas import LoginIn, TokenPairOut
from ninja_auth_kit.exceptions import (
    EmailNotVerifiedError,
    InvalidCredentialsError,
    SessionLimitReachedError,
)

router = Router()


@router.post(
    "login",
    **operation(
        "login",
        summary="Log in",
        success={200: TokenPairOut},
        errors=(*LIMITED, InvalidCredentialsError, EmailNotVerifiedError, SessionLimitReachedError),
    ),
)
def login(request: HttpRequest, body: LoginIn) -> TokenPairOut:
    """Exchange a password for a session. With the default limit of one session, an earlier one ends at once."""
    pair = services.login(
        request=request,
        password=body.password.get_secret_value(),
        username=body.username,
        email=body.email,
    )
    return TokenPairOut(**vars(pair))
