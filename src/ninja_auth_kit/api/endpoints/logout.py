"""POST logout and logout/all."""

from django.http import HttpRequest
from ninja import Router, Status

from ninja_auth_kit import services
from ninja_auth_kit.api.jwt_auth import JWTAuth, optional_bearer_token
from ninja_auth_kit.api.openapi import WITH_BEARER, WRITING, operation
from ninja_auth_kit.api.schemas import LogoutIn
from ninja_auth_kit.kept_connections import with_kept_connection

router = Router()
router.add_decorator(with_kept_connection)


@router.post(
    "logout",
    **operation(
        "logout", summary="Log out", body=LogoutIn, success={204: None}, errors=WRITING, body_is_optional=True
    ),
)
def logout(request: HttpRequest, body: LogoutIn) -> Status[None]:
    """End the session of the access token or, without a genuine access token, of the refresh token in the body.

    Only the caller's own session ends. The response is the same if a token is valid, used, expired, malformed or
    another user's.
    """
    refresh_token = body.refresh_token
    services.logout(
        request=request,
        access_token=optional_bearer_token(request),
        refresh_token=refresh_token.get_secret_value() if refresh_token else None,
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
    """End every session of the user, including the current one."""
    services.logout_all(request=request, user=request.user)
    return Status(204, None)
