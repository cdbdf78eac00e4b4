"""POST login."""

from typing import Any

from django.http import HttpRequest
from ninja import Router

from ninja_auth_kit import services
from ninja_auth_kit.api.openapi import LIMITED, operation
from ninja_auth_kit.api.schemas import LoginIn
from ninja_auth_kit.api.token_answers import LOGIN_ANSWERS, LOGIN_BODY, login_answer
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
        body=LOGIN_BODY,
        success=LOGIN_ANSWERS,
        errors=(*LIMITED, InvalidCredentialsError, EmailNotVerifiedError, SessionLimitReachedError),
    ),
)
def login(request: HttpRequest, body: LOGIN_BODY) -> Any:  # type: ignore[valid-type]  # chosen at start
    """Exchange a password for an access token and a refresh token.

    By default a user has one session, and a login ends the previous one immediately.
    """
    sent: LoginIn = body
    device_token = getattr(sent, "device_token", None)
    return login_answer(
        services.login(
            request=request,
            password=sent.password.get_secret_value(),
            username=sent.username,
            email=sent.email,
            device_token=None if device_token is None else device_token.get_secret_value(),
        )
    )
