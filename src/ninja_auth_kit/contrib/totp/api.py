"""The endpoints of authenticator apps."""

from typing import Annotated
from uuid import UUID

from django.http import HttpRequest
from ninja import Router, Status
from pydantic import AfterValidator, Field, SecretStr
from pydantic_core import PydanticCustomError

from ninja_auth_kit.api.jwt_auth import JWTAuth, current_session, require_fresh
from ninja_auth_kit.api.openapi import LIMITED, WITH_BEARER, WITH_BODY, operation
from ninja_auth_kit.api.schemas import Answer, Body
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.contrib.factors.api import SECOND_STEP, enrolled_out
from ninja_auth_kit.contrib.factors.exceptions import (
    FactorLimitError,
    FactorNotFoundError,
    WrongFactorError,
    WrongFirstCodeError,
)
from ninja_auth_kit.contrib.factors.schemas import ChallengeToken, DeviceTokenOut, EnrolledOut, Name, SteppedUpOut
from ninja_auth_kit.contrib.totp import services
from ninja_auth_kit.exceptions import EmailNotVerifiedError, StepUpRequiredError

router = Router()

_DIGITS = frozenset("0123456789")


def _require_digits(value: SecretStr) -> SecretStr:
    """Reject all but six ASCII digits: the library would also take digits of other scripts."""
    code = value.get_secret_value()
    if len(code) != 6 or not _DIGITS.issuperset(code):
        raise PydanticCustomError("six_digits", "six digits")
    return value


Code = Annotated[
    SecretStr,
    Field(max_length=100, examples=["492039"], json_schema_extra={"pattern": "^[0-9]{6}$"}),
    AfterValidator(_require_digits),
]


class TotpIn(Body):
    """What the user calls the authenticator app."""

    name: Name = ""


class EnrolmentOut(Answer):
    """An authenticator app that waits for its first code. The secret is shown this once."""

    id: UUID
    secret: str = Field(description="In Base32, to be typed.", examples=["JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"])
    otpauth_uri: str = Field(examples=["otpauth://totp/example.com:ada%40example.com?secret=…&issuer=example.com"])
    qr_svg: str = Field(description="The address as a QR code, an SVG element.", examples=["<svg>…</svg>"])
    expires_in: int = Field(description="Seconds.", examples=[900])


class CodeIn(Body):
    """A code of the authenticator app."""

    code: Code


class CodeLoginIn(CodeIn):
    """The challenge of the pending login, and a code."""

    challenge_token: ChallengeToken
    remember_device: bool = False


@router.post(
    "factors/totp",
    **operation(
        "enrol_totp",
        summary="Add an authenticator app",
        body=TotpIn,
        body_is_optional=True,
        success={201: EnrolmentOut},
        errors=(*WITH_BODY, *WITH_BEARER, StepUpRequiredError, FactorLimitError),
        auth=JWTAuth(with_level=True),
    ),
)
def enrol(request: HttpRequest, body: TotpIn) -> Status[EnrolmentOut]:
    """Begin to add an authenticator app. It is not asked for until it was confirmed with its first code."""
    require_fresh(request)
    enrolment = services.enrol(user=request.user, name=body.name)
    return Status(201, EnrolmentOut(**vars(enrolment)))


@router.post(
    "factors/totp/{uuid:factor_id}/confirm",
    **operation(
        "confirm_totp",
        summary="Confirm an authenticator app",
        body=CodeIn,
        success={200: EnrolledOut},
        errors=(
            *LIMITED,
            *WITH_BEARER,
            StepUpRequiredError,
            FactorNotFoundError,
            WrongFirstCodeError,
            EmailNotVerifiedError,
        ),
        auth=JWTAuth(with_level=True),
    ),
)
def confirm(request: HttpRequest, factor_id: UUID, body: CodeIn) -> EnrolledOut:
    """Confirm an authenticator app with its first code. The owner of the account is notified by email.

    If it is the first second factor, the answer has recovery codes, all sessions end, and the tokens are those of a
    new one.
    """
    require_fresh(request)
    return enrolled_out(
        services.confirm(
            session=current_session(request),
            factor_id=factor_id,
            code=body.code.get_secret_value(),
            request=request,
            client=ClientInfo.of(request),
        )
    )


@router.post(
    "login/totp",
    **operation(
        "login_by_totp",
        summary="Complete a login with an authenticator app",
        body=CodeLoginIn,
        success={200: DeviceTokenOut},
        errors=SECOND_STEP,
    ),
)
def login(request: HttpRequest, body: CodeLoginIn) -> DeviceTokenOut:
    """Complete a login that waits for a second factor. A code counts once."""
    pair, device_token = services.login_by_code(
        challenge_token=body.challenge_token.get_secret_value(),
        code=body.code.get_secret_value(),
        remember_device=body.remember_device,
        request=request,
        client=ClientInfo.of(request),
    )
    return DeviceTokenOut(**vars(pair), device_token=device_token)


@router.post(
    "step-up/totp",
    **operation(
        "step_up_by_totp",
        summary="Make a step-up with an authenticator app",
        body=CodeIn,
        success={200: SteppedUpOut},
        errors=(*LIMITED, *WITH_BEARER, WrongFactorError),
        auth=JWTAuth(with_level=True),
    ),
)
def step_up(request: HttpRequest, body: CodeIn) -> SteppedUpOut:
    """Return an access token of level 2 with a new `auth_time`. A code counts once, at login and here together."""
    raised = services.step_up_by_code(
        session=current_session(request), code=body.code.get_secret_value(), client=ClientInfo.of(request)
    )
    return SteppedUpOut(**vars(raised))
