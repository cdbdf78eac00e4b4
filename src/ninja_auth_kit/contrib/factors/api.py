"""The endpoints of second factors: the list, recovery codes, step-up and remembered devices."""

from http import HTTPStatus
from uuid import UUID

from django.http import HttpRequest
from ninja import Router, Status

from ninja_auth_kit.api.errors import STATUSES
from ninja_auth_kit.api.jwt_auth import JWTAuth, current_session, require_fresh
from ninja_auth_kit.api.openapi import LIMITED, WITH_BEARER, WITH_BODY, WRITING, operation
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.contrib.factors import devices, enrolment, exceptions, step_up
from ninja_auth_kit.contrib.factors.enrolment import Enrolled
from ninja_auth_kit.contrib.factors.models import Factor
from ninja_auth_kit.contrib.factors.pending import login_by_recovery_code
from ninja_auth_kit.contrib.factors.recovery_codes import codes_left
from ninja_auth_kit.contrib.factors.schemas import (
    DeviceOut,
    EnrolledOut,
    FactorNameIn,
    FactorOut,
    FactorsOut,
    PasswordStepUpIn,
    RecoveryCodeIn,
    RecoveryCodesOut,
    RecoveryLoginIn,
    RecoveryLoginOut,
    SteppedUpOut,
    StepUpMethodsOut,
)
from ninja_auth_kit.exceptions import (
    EmailNotVerifiedError,
    SessionLimitReachedError,
    StepUpRequiredError,
    WrongPasswordError,
)

STATUSES |= {
    exceptions.InvalidChallengeError: HTTPStatus.UNAUTHORIZED,
    exceptions.InvalidCeremonyError: HTTPStatus.BAD_REQUEST,
    exceptions.InvalidFactorError: HTTPStatus.UNAUTHORIZED,
    exceptions.WrongFactorError: HTTPStatus.FORBIDDEN,
    exceptions.WrongFirstCodeError: HTTPStatus.FORBIDDEN,
    exceptions.FactorNotFoundError: HTTPStatus.NOT_FOUND,
    exceptions.DeviceNotFoundError: HTTPStatus.NOT_FOUND,
    exceptions.NoFactorError: HTTPStatus.CONFLICT,
    exceptions.FactorLimitError: HTTPStatus.CONFLICT,
    exceptions.LastWayInError: HTTPStatus.CONFLICT,
}

router = Router()

# What the second step of a login can answer, whatever the factor.
SECOND_STEP = (
    *LIMITED,
    exceptions.InvalidChallengeError,
    exceptions.InvalidFactorError,
    EmailNotVerifiedError,
    SessionLimitReachedError,
)


def factor_out(factor: Factor) -> FactorOut:
    """Return a factor as the API shows it."""
    return FactorOut(
        id=factor.pk,
        kind=factor.kind,
        name=factor.name,
        created_at=factor.created_at,
        last_used_at=factor.last_used_at,
    )


def enrolled_out(enrolled: Enrolled) -> EnrolledOut:
    """Return the answer to the confirmation of a factor."""
    return EnrolledOut(
        factor=factor_out(enrolled.factor),
        recovery_codes=enrolled.recovery_codes,
        tokens=vars(enrolled.tokens),
    )


@router.get(
    "factors",
    **operation(
        "list_factors",
        summary="List the second factors",
        success={200: FactorsOut},
        errors=WITH_BEARER,
        auth=JWTAuth(),
    ),
)
def list_factors(request: HttpRequest) -> FactorsOut:
    """Return the confirmed second factors of the user, and how many recovery codes are left."""
    return FactorsOut(
        factors=[factor_out(factor) for factor in enrolment.list_factors(request.user)],
        recovery_codes_left=codes_left(request.user),
    )


@router.patch(
    "factors/{uuid:factor_id}",
    **operation(
        "rename_factor",
        summary="Rename a second factor",
        body=FactorNameIn,
        success={200: FactorOut},
        errors=(*WITH_BODY, *WITH_BEARER, exceptions.FactorNotFoundError),
        auth=JWTAuth(),
    ),
)
def rename_factor(request: HttpRequest, factor_id: UUID, body: FactorNameIn) -> FactorOut:
    """Rename a second factor, and return it."""
    return factor_out(enrolment.rename_factor(user=request.user, factor_id=factor_id, name=body.name))


@router.delete(
    "factors/{uuid:factor_id}",
    **operation(
        "remove_factor",
        summary="Remove a second factor",
        success={204: None},
        errors=(
            *WRITING,
            *WITH_BEARER,
            StepUpRequiredError,
            exceptions.FactorNotFoundError,
            exceptions.LastWayInError,
        ),
        auth=JWTAuth(with_level=True),
    ),
)
def remove_factor(request: HttpRequest, factor_id: UUID) -> Status[None]:
    """Remove a second factor. The owner of the account is notified by email.

    With the last one, the recovery codes and the remembered devices are deleted, and all sessions have level 1.
    """
    require_fresh(request)
    enrolment.remove_factor(user=request.user, factor_id=factor_id, client=ClientInfo.of(request))
    return Status(204, None)


@router.post(
    "factors/recovery-codes",
    **operation(
        "renew_recovery_codes",
        summary="Renew the recovery codes",
        success={200: RecoveryCodesOut},
        errors=(*WRITING, *WITH_BEARER, StepUpRequiredError, exceptions.NoFactorError),
        auth=JWTAuth(with_level=True),
    ),
)
def renew_recovery_codes(request: HttpRequest) -> RecoveryCodesOut:
    """Return new recovery codes, which are shown this once. The older ones are void."""
    require_fresh(request)
    codes = enrolment.renew_recovery_codes(user=request.user, client=ClientInfo.of(request))
    return RecoveryCodesOut(codes=codes)


@router.post(
    "login/recovery-code",
    **operation(
        "login_by_recovery_code",
        summary="Complete a login with a recovery code",
        body=RecoveryLoginIn,
        success={200: RecoveryLoginOut},
        errors=SECOND_STEP,
    ),
)
def login_with_recovery_code(request: HttpRequest, body: RecoveryLoginIn) -> RecoveryLoginOut:
    """Complete a login that waits for a second factor. The code is used up, and the owner is notified by email."""
    pair, left = login_by_recovery_code(
        challenge_token=body.challenge_token.get_secret_value(),
        code=body.code.get_secret_value(),
        request=request,
        client=ClientInfo.of(request),
    )
    return RecoveryLoginOut(**vars(pair), recovery_codes_left=left)


@router.get(
    "step-up",
    **operation(
        "step_up_methods",
        summary="Get the methods of a step-up",
        success={200: StepUpMethodsOut},
        errors=WITH_BEARER,
        auth=JWTAuth(),
    ),
)
def step_up_methods(request: HttpRequest) -> StepUpMethodsOut:
    """Return what the access token says, and how the user can prove more, or prove it again."""
    proved = request.auth_claims.authentication  # type: ignore[attr-defined]
    return StepUpMethodsOut(acr=proved.acr, auth_time=proved.time, methods=list(step_up.methods_for(request.user)))


@router.post(
    "step-up/password",
    **operation(
        "step_up_by_password",
        summary="Make a step-up with the password",
        body=PasswordStepUpIn,
        success={200: SteppedUpOut},
        errors=(*LIMITED, *WITH_BEARER, WrongPasswordError, exceptions.WrongFactorError),
        auth=JWTAuth(with_level=True),
    ),
)
def step_up_by_password(request: HttpRequest, body: PasswordStepUpIn) -> SteppedUpOut:
    """Return an access token of level 1 with a new `auth_time`. A user with a second factor must use that."""
    return SteppedUpOut(
        **vars(
            step_up.step_up_by_password(
                session=current_session(request),
                password=body.password.get_secret_value(),
                client=ClientInfo.of(request),
            )
        )
    )


@router.post(
    "step-up/recovery-code",
    **operation(
        "step_up_by_recovery_code",
        summary="Make a step-up with a recovery code",
        body=RecoveryCodeIn,
        success={200: SteppedUpOut},
        errors=(*LIMITED, *WITH_BEARER, exceptions.WrongFactorError),
        auth=JWTAuth(with_level=True),
    ),
)
def step_up_by_recovery_code(request: HttpRequest, body: RecoveryCodeIn) -> SteppedUpOut:
    """Return an access token of level 2 with a new `auth_time`. The code is used up."""
    return SteppedUpOut(
        **vars(
            step_up.step_up_by_recovery_code(
                session=current_session(request),
                code=body.code.get_secret_value(),
                client=ClientInfo.of(request),
            )
        )
    )


@router.get(
    "devices",
    **operation(
        "list_devices",
        summary="List the remembered devices",
        success={200: list[DeviceOut]},
        errors=WITH_BEARER,
        auth=JWTAuth(),
    ),
)
def list_devices(request: HttpRequest) -> list[DeviceOut]:
    """Return the devices on which the user is not asked for the second factor, the last used first."""
    return [
        DeviceOut(
            id=device.pk,
            created_at=device.created_at,
            last_used_at=device.last_used_at,
            expires_at=device.expires_at,
            ip_address=device.ip_address,
            user_agent=device.user_agent,
        )
        for device in devices.list_devices(request.user)
    ]


@router.delete(
    "devices",
    **operation(
        "forget_devices",
        summary="Forget all devices",
        success={204: None},
        errors=(*WRITING, *WITH_BEARER),
        auth=JWTAuth(),
    ),
)
def forget_devices(request: HttpRequest) -> Status[None]:
    """Forget all devices of the user."""
    devices.forget(request.user, client=ClientInfo.of(request))
    return Status(204, None)


@router.delete(
    "devices/{device_id}",
    **operation(
        "forget_device",
        summary="Forget a device",
        success={204: None},
        errors=(*WRITING, *WITH_BEARER, exceptions.DeviceNotFoundError),
        auth=JWTAuth(),
    ),
)
def forget_device(request: HttpRequest, device_id: str) -> Status[None]:
    """Forget a device of the user."""
    devices.forget(request.user, client=ClientInfo.of(request), device_id=device_id)
    return Status(204, None)
