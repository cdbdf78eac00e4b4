"""POST email/change and email/change/confirm, and the page that the link in the email opens."""

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from ninja import Router, Status

from ninja_auth_kit import services
from ninja_auth_kit.api.jwt_auth import JWTAuth, require_confirmation
from ninja_auth_kit.api.openapi import LIMITED, WITH_BEARER, operation
from ninja_auth_kit.api.pages import token_page
from ninja_auth_kit.api.schemas import Detail, EmailChangeIn, OneTimeTokenIn
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.exceptions import InvalidOneTimeTokenError, StepUpRequiredError, WrongPasswordError

router = Router()


@router.post(
    "email/change",
    **operation(
        "request_email_change",
        summary="Request a change of the email address",
        body=EmailChangeIn,
        success={202: Detail},
        errors=(*LIMITED, *WITH_BEARER, StepUpRequiredError, WrongPasswordError),
        auth=JWTAuth(with_email=True, with_level=True),
    ),
)
def request_email_change(request: HttpRequest, body: EmailChangeIn) -> Status[Detail]:
    """Request a change of the email address. A link is sent to the new address, and a notice to the current one.

    The address does not change until the link is confirmed. The response is the same if the new address is in use.
    A user without a password confirms the request with a recent login.
    """
    password = require_confirmation(request, body.password)
    services.request_email_change(
        user=request.user,
        new_email=body.new_email,
        password=password,
        client=ClientInfo.of(request),
    )
    return Status(
        202,
        Detail(detail=_("We have sent an email to the new email address. Open the link in it to confirm the change.")),
    )


@router.post(
    "email/change/confirm",
    **operation(
        "confirm_email_change",
        summary="Confirm the new email address",
        body=OneTimeTokenIn,
        success={204: None},
        errors=(*LIMITED, InvalidOneTimeTokenError),
    ),
)
def confirm_email_change(request: HttpRequest, body: OneTimeTokenIn) -> Status[None]:
    """Change the email address to the one that the token was sent to.

    All sessions end, and all other links of the account are invalidated.
    """
    services.confirm_email_change(token=body.token.get_secret_value(), client=ClientInfo.of(request))
    return Status(204, None)


@router.get(
    "email/change",
    **operation("change_email_page", summary="The page that the link in the email opens", success={200: None}),
    include_in_schema=False,
)
def change_email_page(request: HttpRequest) -> HttpResponse:
    """Show a button that confirms the new email address."""
    return token_page(request, "change_email")
