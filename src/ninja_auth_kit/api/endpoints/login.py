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
        body=LoginIn,
        success={200: TokenPairOut},
        errors=(*LIMITED, InvalidCredentialsError, EmailNotVerifiedError, SessionLimitReachedError),
    ),
)
def login(request: HttpRequest, body: LoginIn) -> TokenPairOut:
    """Exchange a password for an access token and a refresh token.

    By default a user has one session, and a login ends the previous one immediately.
    """
    pair = services.login(
        request=request,
        password=body.password.get_secret_value(),
        username=body.username,
        email=body.email,
    )
    return TokenPairOut(**vars(pair))
