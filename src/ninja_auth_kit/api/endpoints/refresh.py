"""POST refresh."""

from django.http import HttpRequest
from ninja import Router

from ninja_auth_kit import services
from ninja_auth_kit.api.openapi import LIMITED, operation
from ninja_auth_kit.api.schemas import RefreshIn, TokenPairOut
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.exceptions import (
    InvalidTokenError,
    SessionEndedError,
    TokenExpiredError,
    TokenReusedError,
)

router = Router()


@router.post(
    "refresh",
    **operation(
        "refresh",
        summary="Refresh",
        success={200: TokenPairOut},
        errors=(*LIMITED, InvalidTokenError, TokenExpiredError, TokenReusedError, SessionEndedError),
    ),
)
def refresh(request: HttpRequest, body: RefreshIn) -> TokenPairOut:
    """Exchange a refresh token for a new pair.

    Presented again within the grace period, a token gets the same successor again, so parallel calls and lost
    answers are harmless. Anything older, or later, ends the session.
    """
    pair = services.refresh(token=body.refresh_token.get_secret_value(), client=ClientInfo.of(request))
    return TokenPairOut(**vars(pair))
