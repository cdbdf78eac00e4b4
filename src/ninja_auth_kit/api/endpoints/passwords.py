"""POST password/change, password/reset and password/reset/confirm, and the page that the link in the email opens."""

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from ninja import Router, Status

from ninja_auth_kit import services
from ninja_auth_kit.api.jwt_auth import JWTAuth, current_session, require_confirmation
from ninja_auth_kit.api.openapi import LIMITED, WITH_BEARER, operation
from ninja_auth_kit.api.pages import token_page
from ninja_auth_kit.api.schemas import Detail, EmailIn, PasswordChangeIn, PasswordResetIn
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.exceptions import InvalidOneTimeTokenError, StepUpRequiredError, WrongPasswordError

router = Router()


@router.post(
    "password/change",
    **operation(
        "change_password",
        summary="Change the password",
        body=PasswordChangeIn,
        success={204: None},
        errors=(*LIMITED, *WITH_BEARER, StepUpRequiredError, WrongPasswordError),
        auth=JWTAuth(with_level=True),
    ),
)
def change_password(request: HttpRequest, body: PasswordChangeIn) -> Status[None]:
    """Change the password.

    The current session continues, and all others end. The owner of the account is notified by email.
    A user without a password sets the first one, and confirms it with a recent login.
    """
    current_password = require_confirmation(request, body.current_password, field="current_password")
    services.change_password(
        user=request.user,
        session_id=current_session(request).pk,
        current_password=current_password,
        new_password=body.new_password.get_secret_value(),
        client=ClientInfo.of(request),
    )
    return Status(204, None)


@router.post(
    "password/reset",
    **operation(
        "request_password_reset",
        summary="Request a password reset",
        body=EmailIn,
        success={202: Detail},
        errors=LIMITED,
    ),
)
def request_password_reset(request: HttpRequest, body: EmailIn) -> Status[Detail]:
    """Request a link to set a new password. The previous links stay valid until one of them is used.

    The response is the same if no account has the address.
    """
    services.request_password_reset(email=body.email, client=ClientInfo.of(request))
    return Status(
        202,
        Detail(
            detail=_(
                "If there is an account with this email address, you will receive an email with a link to "
                "set a new password."
            )
        ),
    )


@router.post(
    "password/reset/confirm",
    **operation(
        "confirm_password_reset",
        summary="Reset the password",
        body=PasswordResetIn,
        success={204: None},
        errors=(*LIMITED, InvalidOneTimeTokenError),
    ),
)
def confirm_password_reset(request: HttpRequest, body: PasswordResetIn) -> Status[None]:
    """Set a new password with the token from the email.

    All sessions end, and the email address counts as verified. The user is not logged in. The response is the same
    if the token is unknown, used, expired, superseded or was issued for another purpose.
    """
    services.confirm_password_reset(
        token=body.token.get_secret_value(),
        new_password=body.new_password.get_secret_value(),
        client=ClientInfo.of(request),
    )
    return Status(204, None)


@router.get(
    "password/reset",
    **operation("reset_password_page", summary="The page that the link in the email opens", success={200: None}),
    include_in_schema=False,
)
def reset_password_page(request: HttpRequest) -> HttpResponse:
    """Show a form for a new password."""
    return token_page(request, "reset_password")
