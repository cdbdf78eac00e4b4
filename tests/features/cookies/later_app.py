"""The router of an app that gives tokens in other ways than the kit's endpoints: with a device, and in a member."""

from typing import Any

from django.http import HttpRequest
from ninja import Router, Status

from ninja_auth_kit.api.openapi import LIMITED, operation
from ninja_auth_kit.api.schemas import Answer, LoginOnDeviceIn
from ninja_auth_kit.api.token_answers import TOKENS
from ninja_auth_kit.models.users import find_user
from ninja_auth_kit.testing import issue_tokens

router = Router()


class TokensOnDevice(TOKENS):  # type: ignore[misc, valid-type]  # chosen at start
    device_token: str | None


class Confirmed(Answer):
    factor: str
    tokens: TOKENS  # type: ignore[valid-type]


@router.post(
    "later/login",
    **operation("later_login", summary="Log in", body=LoginOnDeviceIn, success={200: TokensOnDevice}, errors=LIMITED),
)
def later_login(request: HttpRequest, body: LoginOnDeviceIn) -> Any:
    """Return a pair, with a new token of the device unless one was sent."""
    sent = body.device_token.get_secret_value() if body.device_token else None
    token = None if sent == "nakd_known" else "nakd_known"
    return TokensOnDevice(**vars(issue_tokens(find_user(body.email))), device_token=token)


@router.post(
    "later/confirm", **operation("later_confirm", summary="Confirm", success={201: Confirmed}, errors=LIMITED)
)
def later_confirm(request: HttpRequest) -> Any:
    """Return a pair in a member."""
    return Status(201, Confirmed(factor="totp", tokens=TOKENS(**vars(issue_tokens(find_user("ada@example.com"))))))
