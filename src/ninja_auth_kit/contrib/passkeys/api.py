"""The endpoints of passkeys."""

from http import HTTPStatus
from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Router, Status
from pydantic import Field

from ninja_auth_kit.api.errors import STATUSES
from ninja_auth_kit.api.jwt_auth import JWTAuth, current_session, require_fresh
from ninja_auth_kit.api.openapi import LIMITED, WITH_BEARER, WITH_BODY, WRITING, operation
from ninja_auth_kit.api.schemas import Answer, Body
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.contrib.factors.api import SECOND_STEP, enrolled_out
from ninja_auth_kit.contrib.factors.exceptions import (
    FactorLimitError,
    InvalidCeremonyError,
    InvalidChallengeError,
    WrongFactorError,
)
from ninja_auth_kit.contrib.factors.schemas import ChallengeToken, DeviceTokenOut, EnrolledOut, Name, SteppedUpOut
from ninja_auth_kit.contrib.passkeys import services
from ninja_auth_kit.contrib.passkeys.exceptions import PasskeyExistsError, PasskeyRefusedError
from ninja_auth_kit.exceptions import EmailNotVerifiedError, StepUpRequiredError

STATUSES |= {
    PasskeyRefusedError: HTTPStatus.BAD_REQUEST,
    PasskeyExistsError: HTTPStatus.CONFLICT,
}

router = Router()

_ID = "3Jx0mUu9rVb2m8qH4fW1xw"
# Browsers may add members, so this is the only object in which unknown members are allowed.
Credential = Annotated[
    dict[str, Any],
    Field(
        description="What `credential.toJSON()` returns in the browser. It has at most 16,384 characters.",
        examples=[{"id": _ID, "rawId": _ID, "type": "public-key", "response": {"clientDataJSON": "eyJ0eXBlIjoi…"}}],
    ),
]
PublicKey = Annotated[
    dict[str, Any],
    Field(
        description="For `PublicKeyCredential.parseCreationOptionsFromJSON` or `parseRequestOptionsFromJSON`.",
        examples=[{"challenge": "kAtj0bY3…", "rpId": "example.com", "timeout": 300_000}],
    ),
]


class CeremonyOut(Answer):
    """The options for the browser, and what must come back with the credential."""

    challenge_token: str = Field(description="Valid for ten minutes at most.", examples=["nakt_the-challenge"])
    public_key: PublicKey


class CredentialIn(Body):
    """The challenge token of the options, and the credential."""

    challenge_token: ChallengeToken
    credential: Credential


class PasskeyIn(CredentialIn):
    """The challenge token of the options, the credential, and what the user calls the passkey."""

    name: Name = ""


class LoginOptionsIn(Body):
    """The challenge of a pending login, if the passkey is a second factor."""

    challenge_token: ChallengeToken | None = None


class PasskeyLoginIn(CredentialIn):
    """The challenge token of the options, and the credential."""

    remember_device: bool = False


def _ceremony_out(ceremony: services.Ceremony) -> CeremonyOut:
    return CeremonyOut(**vars(ceremony))


@router.post(
    "factors/passkeys/options",
    **operation(
        "begin_passkey_registration",
        summary="Get the options to add a passkey",
        success={200: CeremonyOut},
        errors=(*WRITING, *WITH_BEARER, StepUpRequiredError, FactorLimitError),
        auth=JWTAuth(with_level=True),
    ),
)
def registration_options(request: HttpRequest) -> CeremonyOut:
    """Return the options for `navigator.credentials.create()`. Only this session can use them."""
    require_fresh(request)
    return _ceremony_out(services.registration_options(session=current_session(request)))


@router.post(
    "factors/passkeys",
    **operation(
        "register_passkey",
        summary="Add a passkey",
        body=PasskeyIn,
        success={201: EnrolledOut},
        errors=(
            *WITH_BODY,
            *WITH_BEARER,
            StepUpRequiredError,
            EmailNotVerifiedError,
            InvalidCeremonyError,
            PasskeyRefusedError,
            PasskeyExistsError,
            FactorLimitError,
        ),
        auth=JWTAuth(with_level=True),
    ),
)
def register(request: HttpRequest, body: PasskeyIn) -> Status[EnrolledOut]:
    """Add the passkey that the browser has made. The owner of the account is notified by email.

    If it is the first second factor, the answer has recovery codes, all sessions end, and the tokens are those of a
    new one.
    """
    require_fresh(request)
    enrolled = services.register(
        session=current_session(request),
        challenge_token=body.challenge_token.get_secret_value(),
        credential=body.credential,
        name=body.name,
        request=request,
        client=ClientInfo.of(request),
    )
    return Status(201, enrolled_out(enrolled))


@router.post(
    "login/passkey/options",
    **operation(
        "begin_passkey_login",
        summary="Get the options to log in with a passkey",
        body=LoginOptionsIn,
        body_is_optional=True,
        success={200: CeremonyOut},
        errors=(*LIMITED, InvalidChallengeError),
    ),
)
def login_options(request: HttpRequest, body: LoginOptionsIn) -> CeremonyOut:
    """Return the options for `navigator.credentials.get()`.

    Without a challenge token, they name no passkey, and the passkey must verify the user. With the challenge token of
    a login that waits for a second factor, they name the passkeys of its user.
    """
    token = body.challenge_token
    return _ceremony_out(
        services.login_options(
            challenge_token=None if token is None else token.get_secret_value(), client=ClientInfo.of(request)
        )
    )


@router.post(
    "login/passkey",
    **operation(
        "login_by_passkey",
        summary="Log in with a passkey",
        body=PasskeyLoginIn,
        success={200: DeviceTokenOut},
        errors=SECOND_STEP,
    ),
)
def login(request: HttpRequest, body: PasskeyLoginIn) -> DeviceTokenOut:
    """Log in with a passkey alone, or complete a login that waits for a second factor."""
    pair, device_token = services.login_by_passkey(
        challenge_token=body.challenge_token.get_secret_value(),
        credential=body.credential,
        remember_device=body.remember_device,
        request=request,
        client=ClientInfo.of(request),
    )
    return DeviceTokenOut(**vars(pair), device_token=device_token)


@router.post(
    "step-up/passkey/options",
    **operation(
        "begin_passkey_step_up",
        summary="Get the options for a step-up with a passkey",
        success={200: CeremonyOut},
        errors=(*WRITING, *WITH_BEARER, WrongFactorError),
        auth=JWTAuth(),
    ),
)
def step_up_options(request: HttpRequest) -> CeremonyOut:
    """Return the options for `navigator.credentials.get()`. Only this session can use them."""
    return _ceremony_out(services.step_up_options(session=current_session(request)))


@router.post(
    "step-up/passkey",
    **operation(
        "step_up_by_passkey",
        summary="Make a step-up with a passkey",
        body=CredentialIn,
        success={200: SteppedUpOut},
        errors=(*LIMITED, *WITH_BEARER, InvalidCeremonyError, WrongFactorError),
        auth=JWTAuth(with_level=True),
    ),
)
def step_up(request: HttpRequest, body: CredentialIn) -> SteppedUpOut:
    """Return an access token of level 2 with a new `auth_time`."""
    raised = services.step_up_by_passkey(
        session=current_session(request),
        challenge_token=body.challenge_token.get_secret_value(),
        credential=body.credential,
        client=ClientInfo.of(request),
    )
    return SteppedUpOut(**vars(raised))
