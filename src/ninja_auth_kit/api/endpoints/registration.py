"""POST register."""

from django.http import HttpRequest
from django.utils.translation import gettext as _
from ninja import Router, Status

from ninja_auth_kit import services
from ninja_auth_kit.api.custom_schemas import additional_fields, registration_schema
from ninja_auth_kit.api.openapi import LIMITED, operation
from ninja_auth_kit.api.schemas import Detail, RegistrationIn
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.exceptions import RegistrationClosedError

router = Router()
Registration = registration_schema()


@router.post(
    "register",
    **operation(
        "register",
        summary="Register",
        body=Registration,
        success={202: Detail},
        errors=(*LIMITED, RegistrationClosedError),
    ),
)
def register(request: HttpRequest, body: Registration) -> Status[Detail]:  # type: ignore[valid-type]
    """Register an account. A verification link is sent to the email address.

    The response is the same if the address is new, waits for its verification, is in use, or belongs to a disabled
    account. Only a username that is taken is reported.
    """
    registration: RegistrationIn = body
    services.register(
        email=registration.email,
        password=registration.password.get_secret_value(),
        username=getattr(registration, "username", None),
        fields=additional_fields(registration, only_sent=False),
        client=ClientInfo.of(request),
    )
    return Status(
        202, Detail(detail=_("We have sent you an email. Open the link in it to verify your email address."))
    )
