"""GET me."""

from django.http import HttpRequest
from ninja import Router

from ninja_auth_kit.api.contract import WITH_BEARER, operation
from ninja_auth_kit.api.schemas import UserOut
from ninja_auth_kit.api.security import JWTAuth
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
