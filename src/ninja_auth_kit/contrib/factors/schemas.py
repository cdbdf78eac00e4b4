"""The bodies and answers of the endpoints of second factors."""

from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field, SecretStr

from ninja_auth_kit.api.schemas import Answer, Body, Moment, Password, Text, require_encodable
from ninja_auth_kit.api.token_answers import TOKENS
from ninja_auth_kit.contrib.factors.models import NAME_LENGTH

CHALLENGE = "nakt_the-challenge"
RECOVERY_CODE = "4ZQ2-9XKM-7T0P-BWV3-C5RJ-8HDN"

ChallengeToken = Annotated[SecretStr, Field(max_length=4096, examples=[CHALLENGE]), AfterValidator(require_encodable)]
RecoveryCode = Annotated[SecretStr, Field(max_length=100, examples=[RECOVERY_CODE]), AfterValidator(require_encodable)]
Name = Annotated[Text, Field(max_length=NAME_LENGTH, examples=["my phone"])]


class FactorOut(Answer):
    """A second factor of the user."""

    id: UUID
    kind: str = Field(examples=["totp"])
    name: str = Field(examples=["my phone"])
    created_at: Moment
    last_used_at: Moment | None


class FactorsOut(Answer):
    """The second factors of the user, the oldest first."""

    factors: list[FactorOut]
    recovery_codes_left: int = Field(examples=[10])


class FactorNameIn(Body):
    """A new name."""

    name: Name


class RecoveryCodesOut(Answer):
    """The recovery codes. They are shown this once."""

    codes: list[str] = Field(examples=[[RECOVERY_CODE]])


class EnrolledOut(Answer):
    """The factor that was confirmed, and the new tokens of the session."""

    factor: FactorOut
    recovery_codes: list[str] | None = Field(
        description="Shown this once; null unless it is the first factor.", examples=[[RECOVERY_CODE]]
    )
    tokens: TOKENS  # type: ignore[valid-type]  # chosen at start


class RecoveryCodeIn(Body):
    """A recovery code, in any case, with or without dashes."""

    code: RecoveryCode


class RecoveryLoginIn(RecoveryCodeIn):
    """The challenge of the pending login, and a recovery code."""

    challenge_token: ChallengeToken


class RecoveryLoginOut(TOKENS):  # type: ignore[valid-type,misc]  # chosen at start
    """The tokens, and how many recovery codes are left."""

    recovery_codes_left: int = Field(examples=[9])


class DeviceTokenOut(TOKENS):  # type: ignore[valid-type,misc]  # chosen at start
    """The tokens, and the token of the device if it is remembered from now on."""

    device_token: str | None = Field(
        description="Send it with the next logins; null unless the device is remembered.", examples=[None]
    )


class StepUpMethodsOut(Answer):
    """What the access token says, and how the user can prove more, or prove it again."""

    acr: str = Field(examples=["aal1"])
    auth_time: int = Field(description="Seconds since the epoch.", examples=[1_790_000_000])
    methods: list[str] = Field(
        description="Each names an endpoint `step-up/…`, with a hyphen for an underscore; but `provider` begins with "
        "`oidc/…/start`.",
        examples=[["password"]],
    )


class PasswordStepUpIn(Body):
    """The password."""

    password: Password


class SteppedUpOut(Answer):
    """An access token of the same session. The refresh token stays as it is."""

    access_token: str = Field(examples=["eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiI3In0.c2ln"])
    token_type: str = Field("Bearer", examples=["Bearer"])
    expires_in: int = Field(examples=[300])
    acr: str = Field(examples=["aal2"])


class DeviceOut(Answer):
    """A remembered device."""

    id: UUID
    created_at: Moment
    last_used_at: Moment
    expires_at: Moment
    ip_address: str | None = Field(examples=["203.0.113.7"])
    user_agent: str = Field(examples=["Mozilla/5.0"])
