"""POST verify-email and verify-email/resend, and the page that the link in the email opens."""

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from ninja import Router, Status

from ninja_auth_kit import services
from ninja_auth_kit.api.openapi import LIMITED, operation
from ninja_auth_kit.api.pages import token_page
from ninja_auth_kit.api.schemas import Detail, EmailIn, VerifiedEmail, VerifyEmailIn
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import settings
from ninja_auth_kit.exceptions import InvalidOneTimeTokenError

router = Router()


@router.post(
    "verify-email",
    **operation(
        "verify_email",
        summary="Verify an email address",
        body=VerifyEmailIn,
        success={200: VerifiedEmail},
        errors=(*LIMITED, InvalidOneTimeTokenError),
    ),
)
def verify_email(request: HttpRequest, body: VerifyEmailIn) -> VerifiedEmail:
    """Verify an email address with the token that was sent to it and the password chosen at registration.

    The user is not logged in. The response is the same if the token is unknown, used, expired, superseded or was
    issued for another purpose, and if the password is wrong.
    """
    email = services.verify_email(
        token=body.token.get_secret_value(),
        password=body.password.get_secret_value() if body.password else None,
        client=ClientInfo.of(request),
    )
    return VerifiedEmail(detail=_("Your email address is verified. You can log in now."), email=email)


@router.post(
    "verify-email/resend",
    **operation(
        "resend_verification",
        summary="Request another verification link",
        body=EmailIn,
        success={202: Detail},
        errors=LIMITED,
    ),
)
def resend_verification(request: HttpRequest, body: EmailIn) -> Status[Detail]:
    """Request another verification link. It invalidates the previous link.

    The response is the same if no account has the address.
    """
    services.resend_verification(email=body.email, client=ClientInfo.of(request))
    return Status(
        202,
        Detail(
            detail=_(
                "If this email address belongs to an account and is not verified yet, you will receive an email "
                "with a new link."
            )
        ),
    )


@router.get(
    "verify-email",
    **operation("verify_email_page", summary="The page that the link in the email opens", success={200: None}),
    include_in_schema=False,
)
def verify_email_page(request: HttpRequest) -> HttpResponse:
    """Show a form that posts the token in the fragment of the URL.

    Opening the page does not use the token, because mail scanners open links.
    """
    return token_page(request, "verify_email", password_required=settings.EMAIL_VERIFICATION_REQUIRES_PASSWORD)
