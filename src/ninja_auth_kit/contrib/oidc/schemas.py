"""The bodies and answers of the endpoints of providers."""

from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field, SecretStr, model_validator
from pydantic_core import PydanticCustomError

from ninja_auth_kit.api.schemas import (
    Answer,
    Body,
    DeviceToken,
    Moment,
    PendingLoginOut,
    Text,
    Username,
    require_encodable,
)
from ninja_auth_kit.api.token_answers import TOKENS
from ninja_auth_kit.contrib.factors.schemas import SteppedUpOut
from ninja_auth_kit.contrib.oidc.settings import LONGEST_URI
from ninja_auth_kit.models.users import has_username

FLOW, REDIRECT_URI = "nakt_the-flow-token", "https://example.com/login/done"

FlowToken = Annotated[SecretStr, Field(max_length=4096, examples=[FLOW]), AfterValidator(require_encodable)]
Code = Annotated[SecretStr, Field(max_length=4096, examples=["the-code"]), AfterValidator(require_encodable)]
State = Annotated[SecretStr, Field(max_length=200, examples=["0.the-state"]), AfterValidator(require_encodable)]
IdToken = Annotated[SecretStr, Field(max_length=20_000, examples=["the.id.token"]), AfterValidator(require_encodable)]


class ProviderOut(Answer):
    """A provider."""

    id: str = Field(examples=["google"])
    name: str = Field(examples=["Google"])


class StartIn(Body):
    """What the flow is for, and where the provider sends the browser back; or that it is the flow of a native app."""

    purpose: Literal["login", "link", "step_up"] = Field(examples=["login"])
    redirect_uri: Annotated[Text, Field(max_length=LONGEST_URI, examples=[REDIRECT_URI])] | None = Field(
        None,
        description="One of `REDIRECT_URIS` to the letter, with the id of the provider in place of `{provider}`. "
        "Required unless `native` is true.",
    )
    native: Annotated[bool, Field(strict=True)] = Field(
        False, description="Whether an app gets an ID token from the provider itself.", examples=[None]
    )

    @model_validator(mode="after")
    def _one_way_back(self) -> Self:
        if self.native is (self.redirect_uri is not None):
            raise PydanticCustomError("one_way_back", "exactly one of redirect_uri and native")
        return self


class StartedOut(Answer):
    """The flow token, and where the browser goes; or the nonce that a native app passes to the provider."""

    flow_token: str = Field(description="Send it with the answer of the provider.", examples=[FLOW])
    authorization_url: str | None = Field(
        description="Null for a native app.",
        examples=["https://accounts.google.com/o/oauth2/v2/auth?response_type=code"],
    )
    nonce: str | None = Field(description="For a native app, which passes it to the provider.", examples=[None])
    expires_in: int = Field(description="Seconds.", examples=[600])


class FinishIn(Body):
    """The flow token, and the parameters that the provider has added to the redirect URI."""

    flow_token: FlowToken
    code: Code
    state: State
    iss: Annotated[Text, Field(max_length=500)] | None = Field(
        None, description="If the provider has sent it (RFC 9207).", examples=[None]
    )
    device_token: DeviceToken | None = Field(None, description="Of a remembered device. A bad one is ignored.")


class IdTokenIn(Body):
    """The flow token, and the ID token that a native app got from the provider."""

    flow_token: FlowToken
    id_token: IdToken
    device_token: DeviceToken | None = Field(None, description="Of a remembered device. A bad one is ignored.")


class ProviderUsernameRequiredOut(Answer):
    """The provider has proved an identity, and the new account needs a username."""

    status: Literal["username_required"] = "username_required"
    signup_token: str = Field(examples=["nakt_the-signup-token"])
    expires_in: int = Field(description="Seconds.", examples=[600])


class ProviderSignupIn(Body):
    """The token of the answer `username_required`, and the username of the new account."""

    signup_token: Annotated[FlowToken, Field(examples=["nakt_the-signup-token"])]
    username: Username


class IdentityOut(Answer):
    """A user of a provider who can log in to the account."""

    id: UUID
    provider: str = Field(examples=["google"])
    email: str = Field(description="As the provider named it when it was linked.", examples=["ada@example.com"])
    linked_at: Moment


def _require_encodable_text(text: str) -> str:
    require_encodable(SecretStr(text))
    return text


FormText = Annotated[str, Field(max_length=4096), AfterValidator(_require_encodable_text)]


class CallbackIn(Body):
    """The fields of the form that a provider posts to the callback. Others are ignored."""

    model_config = ConfigDict(extra="ignore")

    state: FormText = ""
    code: FormText | None = None
    error: FormText | None = None


FINISHED: dict[int, Any] = {
    200: TOKENS | SteppedUpOut,
    201: IdentityOut,
    202: PendingLoginOut | ProviderUsernameRequiredOut if has_username() else PendingLoginOut,
}
