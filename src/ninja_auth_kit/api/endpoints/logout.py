"""POST logout and logout/all."""

from django.http import HttpRequest
from ninja import Router, Status

from ninja_auth_kit import services
from ninja_auth_kit.api.jwt_auth import JWTAuth, optional_bearer_token
from ninja_auth_kit.api.openapi import WITH_BEARER, WRITING, operation
from ninja_auth_kit.api.schemas import LogoutIn

router = Router()


@router.post(
    "logout",
    **operation("logout", summary="Log out", success={204: None}, errors=WRITING, body_is_optional=True),
)
def logout(request: HttpRequest, body: LogoutIn) -> Status[None]:
    """End the session of the bearer token, or else of the refresh token in the body.

    The answer is the same for tokens that are valid, used up, expired, garbage or somebody else's, and only the
    caller's own session ends.
    """
    presented = body.refresh_token
    services.logout(
        request=request,
        access_token=optional_bearer_token(request),
        refresh_token=None if presented is None else presented.get_secret_value(),
    )
    return Status(204, None)


@router.post(
    "logout/all",
    **operation(
        "logout_all",
        summary="Log out everywhere",
        success={204: None},
        errors=(*WRITING, *WITH_BEARER),
        auth=JWTAuth(),
    ),
)
def logout_all(request: HttpRequest) -> Status[None]:
    """End every session of the user, this one among them."""
    services.logout_all(request=request, user=request.user)
    return Status(204, None)
