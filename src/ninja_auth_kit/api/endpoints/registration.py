"""POST register."""

from django.http import HttpRequest
from django.utils.translation import gettext as _
from ninja import Router, Status

from ninja_auth_kit import services
from ninja_auth_kit.api.custom_schemas import further_fields, registration_schema
from ninja_auth_kit.api.openapi import LIMITED, operation
from ninja_auth_kit.api.schemas import Detail, RegistrationIn
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.exceptions import RegistrationClosedError

router = Router()
Registration = registration_schema()


@router.post(
    "register",
    **operation("register", summary="Register", success={202: Detail}, errors=(*LIMITED, RegistrationClosedError)),
)
def register(request: HttpRequest, body: Registration) -> Status[Detail]:  # type: ignore[valid-type]
    """Ask for an account. A mail with a verification link goes to the address.

    The answer is the same for an address that is new, waits for its verification, is in use, or is disabled. Only a
    username that is taken is told.
    """
    registration: RegistrationIn = body
    services.register(
        email=registration.email,
        password=registration.password.get_secret_value(),
        username=getattr(registration, "username", None),
        fields=further_fields(registration, sent_alone=False),
        client=ClientInfo.of(request),
    )
    return Status(
        202, Detail(detail=_("We have sent you an email. Open the link in it to verify your email address."))
    )
