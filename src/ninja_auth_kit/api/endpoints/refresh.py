"""POST refresh."""

from django.http import HttpRequest
from ninja import Router

from ninja_auth_kit import services
from ninja_auth_kit.api.openapi import LIMITED, operation
from ninja_auth_kit.api.schemas import RefreshIn, TokenPairOut
from ninja_auth_kit.api.token_answers import TOKENS, tokens_answer
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.exceptions import (
    InvalidTokenError,
    SessionEndedError,
    TokenExpiredError,
    TokenReusedError,
)
from ninja_auth_kit.kept_connections import with_kept_connection

router = Router()
router.add_decorator(with_kept_connection)


@router.post(
    "refresh",
    **operation(
        "refresh",
        summary="Refresh the tokens",
        body=RefreshIn,
        success={200: TOKENS},
        errors=(*LIMITED, InvalidTokenError, TokenExpiredError, TokenReusedError, SessionEndedError),
    ),
)
def refresh(request: HttpRequest, body: RefreshIn) -> TokenPairOut:
    """Exchange a refresh token for a new access token and a new refresh token.

    Within the grace period, the previous refresh token gets the same successor again, so parallel requests and lost
    responses are harmless. The session ends if the previous token is sent later, or if an older one is sent. If the
    grace period has no limit of time, it lasts until the new refresh token is used.
    """
    pair = services.refresh(token=body.refresh_token.get_secret_value(), client=ClientInfo.of(request))
    return tokens_answer(pair)
