"""The endpoints of email codes."""

from http import HTTPStatus
from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext as _
from ninja import Router, Status

from ninja_auth_kit.api.errors import STATUSES
from ninja_auth_kit.api.openapi import LIMITED, operation
from ninja_auth_kit.api.schemas import EmailIn
from ninja_auth_kit.api.token_answers import TOKENS, login_answer, tokens_answer
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.contrib.email_code import services
from ninja_auth_kit.contrib.email_code.exceptions import InvalidCodeChallengeError, InvalidCodeError
from ninja_auth_kit.contrib.email_code.schemas import (
    CODE_LOGIN_ANSWERS,
    CODE_LOGIN_BODY,
    CodeLoginIn,
    CodeRequestedOut,
    SignupIn,
    UsernameRequiredOut,
)
from ninja_auth_kit.exceptions import SessionLimitReachedError
from ninja_auth_kit.tokens.tickets import LIFETIME

STATUSES |= {
    InvalidCodeError: HTTPStatus.UNAUTHORIZED,
    InvalidCodeChallengeError: HTTPStatus.UNAUTHORIZED,
}

router = Router()


@router.post(
    "login/email-code/request",
    **operation(
        "request_login_code",
        summary="Request a login code",
        body=EmailIn,
        success={202: CodeRequestedOut},
        errors=LIMITED,
    ),
)
def request_login_code(request: HttpRequest, body: EmailIn) -> Status[CodeRequestedOut]:
    """Request a code by email. The codes of earlier requests stay valid.

    The response is the same, and takes as long, if no account has the address.
    """
    token = services.request_code(email=body.email, client=ClientInfo.of(request))
    return Status(
        202,
        CodeRequestedOut(
            detail=_("If you can log in with this email address, you will receive an email with a code."),
            challenge_token=token,
            expires_in=int(LIFETIME.total_seconds()),
        ),
    )


@router.post(
    "login/email-code",
    **operation(
        "login_by_email_code",
        summary="Log in with a code from an email",
        body=CODE_LOGIN_BODY,
        success=CODE_LOGIN_ANSWERS,
        errors=(*LIMITED, InvalidCodeError, InvalidCodeChallengeError, SessionLimitReachedError),
    ),
)
def login_by_email_code(request: HttpRequest, body: CODE_LOGIN_BODY) -> Any:  # type: ignore[valid-type]
    """Exchange a code for an access token and a refresh token. A code counts once, and only with its challenge.

    A second factor is asked for as after a password. If the code registers the address and users have a username, the
    answer is 202 `username_required`.
    """
    sent: CodeLoginIn = body
    device_token = getattr(sent, "device_token", None)
    result = services.login_by_code(
        challenge_token=sent.challenge_token.get_secret_value(),
        code=sent.code.get_secret_value(),
        device_token=None if device_token is None else device_token.get_secret_value(),
        request=request,
        client=ClientInfo.of(request),
    )
    if isinstance(result, services.UsernameRequired):
        return Status(202, UsernameRequiredOut(**vars(result)))
    return login_answer(result)


@router.post(
    "login/email-code/signup",
    **operation(
        "sign_up_by_email_code",
        summary="Choose the username of a new account",
        body=SignupIn,
        success={200: TOKENS},
        errors=(*LIMITED, InvalidCodeChallengeError),
    ),
)
def sign_up_by_email_code(request: HttpRequest, body: SignupIn) -> Any:
    """Create the account of an address that a code has proved, and log in. The account has no password.

    A username that is taken is a 422; the token can be used again with another one.
    """
    return tokens_answer(
        services.sign_up(
            signup_token=body.signup_token.get_secret_value(),
            username=body.username,
            request=request,
            client=ClientInfo.of(request),
        )
    )
