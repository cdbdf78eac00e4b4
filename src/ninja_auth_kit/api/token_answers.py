"""The answers of every operation that gives tokens: they depend on the features that are installed."""

from typing import Any

from ninja import Status
from pydantic import create_model

from ninja_auth_kit import features
from ninja_auth_kit.api.schemas import LoginIn, LoginOnDeviceIn, PendingLoginOut, TokenPairOut, TokenPairWithLevel
from ninja_auth_kit.services import PendingLogin, TokenPair

_HAS_FACTORS = features.is_installed("ninja_auth_kit_factors")

TOKENS: type[TokenPairOut] = TokenPairWithLevel if _HAS_FACTORS else TokenPairOut
if features.is_installed("ninja_auth_kit_cookies"):

    def _without_refresh_token(schema: dict[str, Any]) -> None:
        schema["required"].remove("refresh_token")
        schema["properties"]["refresh_token"]["description"] = "Not in cookie mode, in which a cookie has it."

    TOKENS = create_model(
        TOKENS.__name__,
        __base__=TOKENS,
        __doc__=TOKENS.__doc__,
        __cls_kwargs__={"json_schema_extra": _without_refresh_token},
    )
LOGIN_BODY: type[Any] = LoginOnDeviceIn if _HAS_FACTORS else LoginIn
LOGIN_ANSWERS: dict[int, Any] = {200: TOKENS, 202: PendingLoginOut} if _HAS_FACTORS else {200: TOKENS}


def tokens_answer(pair: TokenPair) -> TokenPairOut:
    """Return the body of an answer with tokens."""
    return TOKENS(**vars(pair))


def login_answer(result: TokenPair | PendingLogin) -> Any:
    """Return the tokens; or 202 and what the second step needs, if a second factor is due.

    Not 401, because clients refresh or log out when they see that, and error trackers keep the bodies of errors.
    """
    if isinstance(result, PendingLogin):
        return Status(202, PendingLoginOut(**vars(result)))
    return tokens_answer(result)
