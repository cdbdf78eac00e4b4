"""The bodies and answers of the endpoints of email codes."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr

from ninja_auth_kit import features
from ninja_auth_kit.api.schemas import Answer, Body, Detail, DeviceToken, PendingLoginOut, Username, require_encodable
from ninja_auth_kit.api.token_answers import LOGIN_ANSWERS
from ninja_auth_kit.models.users import has_username

CHALLENGE = "nakt_the-challenge"

ChallengeToken = Annotated[SecretStr, Field(max_length=4096, examples=[CHALLENGE]), AfterValidator(require_encodable)]
Code = Annotated[SecretStr, Field(max_length=100, examples=["WDJB-MJHT"]), AfterValidator(require_encodable)]


class CodeRequestedOut(Detail):
    """The challenge, which must come back with the code. It is the same for every address."""

    detail: str = Field(examples=["If you can log in with this email address, you will receive an email with a code."])
    challenge_token: str = Field(examples=[CHALLENGE])
    expires_in: int = Field(description="Seconds.", examples=[600])


class CodeLoginIn(Body):
    """The challenge, and the code from the email, in any case, with or without dashes."""

    challenge_token: ChallengeToken
    code: Code


class CodeLoginOnDeviceIn(CodeLoginIn):
    """The challenge, and the code from the email; and the token of a remembered device, if any."""

    device_token: DeviceToken | None = Field(None, description="Of a remembered device. A bad one is ignored.")


class UsernameRequiredOut(Answer):
    """The code was right, and the new account needs a username."""

    status: Literal["username_required"] = "username_required"
    signup_token: str = Field(examples=["nakt_the-signup-token"])
    expires_in: int = Field(description="Seconds.", examples=[600])


class SignupIn(Body):
    """The token of the answer `username_required`, and the username of the new account."""

    signup_token: Annotated[ChallengeToken, Field(examples=["nakt_the-signup-token"])]
    username: Username


CODE_LOGIN_BODY: type[Any] = CodeLoginOnDeviceIn if features.is_installed("ninja_auth_kit_factors") else CodeLoginIn


def _code_login_answers() -> dict[int, Any]:
    if not has_username():
        return LOGIN_ANSWERS
    pending = LOGIN_ANSWERS.get(202)
    return {**LOGIN_ANSWERS, 202: UsernameRequiredOut if pending is None else PendingLoginOut | UsernameRequiredOut}


CODE_LOGIN_ANSWERS = _code_login_answers()
