"""GET and DELETE me."""

from django.http import HttpRequest
from ninja import Router, Status

from ninja_auth_kit import services
from ninja_auth_kit.api.contract import LIMITED, WITH_BEARER, operation
from ninja_auth_kit.api.schemas import PasswordIn, UserOut
from ninja_auth_kit.api.security import JWTAuth
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.exceptions import AccountProtectedError, WrongPasswordError
from ninja_auth_kit.models import email_field, has_username, is_verified

router = Router()


@router.get(
    "me",
    **operation("me", summary="Who am I", success={200: UserOut}, errors=WITH_BEARER, auth=JWTAuth(with_email=True)),
)
def me(request: HttpRequest) -> UserOut:
    """Return the user of the access token."""
    user = request.user
    return UserOut(
        id=str(user.pk),
        username=user.get_username() if has_username() else None,
        email=getattr(user, email_field()) or "",
        email_verified=is_verified(user),
        date_joined=getattr(user, "date_joined", None),
        last_login=getattr(user, "last_login", None),
    )


@router.delete(
    "me",
    **operation(
        "delete_me",
        summary="Delete my account",
        success={204: None},
        errors=(*LIMITED, *WITH_BEARER, WrongPasswordError, AccountProtectedError),
        auth=JWTAuth(),
    ),
)
def delete_me(request: HttpRequest, body: PasswordIn) -> Status[None]:
    """Delete the account, with all that belongs to it. The password goes with it; it cannot be undone."""
    services.delete_account(
        user=request.user, password=body.password.get_secret_value(), client=ClientInfo.of(request)
    )
    return Status(204, None)
