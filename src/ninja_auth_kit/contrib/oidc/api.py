"""The endpoints of providers."""

from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from ninja import Router, Status

from ninja_auth_kit import emails
from ninja_auth_kit.api.errors import STATUSES
from ninja_auth_kit.api.jwt_auth import JWTAuth, MissingTokenError, current_session, require_fresh
from ninja_auth_kit.api.openapi import LIMITED, WITH_BEARER, WRITING, operation
from ninja_auth_kit.api.request_body import takes_form
from ninja_auth_kit.api.token_answers import TOKENS, login_answer
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.contrib.factors.exceptions import WrongFactorError
from ninja_auth_kit.contrib.factors.schemas import SteppedUpOut
from ninja_auth_kit.contrib.factors.step_up import SteppedUp
from ninja_auth_kit.contrib.oidc import exceptions, identities, services
from ninja_auth_kit.contrib.oidc.exchange import CallbackParameters
from ninja_auth_kit.contrib.oidc.flows import FlowPurpose
from ninja_auth_kit.contrib.oidc.login import UsernameRequired
from ninja_auth_kit.contrib.oidc.models import Identity
from ninja_auth_kit.contrib.oidc.providers import find_provider, providers, redirect_uris
from ninja_auth_kit.contrib.oidc.schemas import (
    FINISHED,
    CallbackIn,
    FinishIn,
    IdentityOut,
    IdTokenIn,
    ProviderOut,
    ProviderSignupIn,
    ProviderUsernameRequiredOut,
    StartedOut,
    StartIn,
)
from ninja_auth_kit.exceptions import (
    InvalidCredentialsError,
    RegistrationClosedError,
    SessionLimitReachedError,
    StepUpRequiredError,
)
from ninja_auth_kit.models import UserSession

STATUSES |= {
    exceptions.ProviderNotFoundError: HTTPStatus.NOT_FOUND,
    exceptions.IdentityNotFoundError: HTTPStatus.NOT_FOUND,
    exceptions.ProviderRefusedError: HTTPStatus.BAD_REQUEST,
    exceptions.ProviderUnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
    exceptions.AccountExistsError: HTTPStatus.CONFLICT,
    exceptions.IdentityTakenError: HTTPStatus.CONFLICT,
}

router = Router()

_OPTIONAL = JWTAuth(optional=True, with_level=True)
_FLOW = (
    *LIMITED,
    *WITH_BEARER,
    StepUpRequiredError,
    WrongFactorError,
    exceptions.ProviderNotFoundError,
    exceptions.ProviderUnavailableError,
)
_FINISH = (
    *_FLOW,
    exceptions.InvalidFlowError,
    exceptions.ProviderRefusedError,
    InvalidCredentialsError,
    exceptions.ProviderEmailNotVerifiedError,
    RegistrationClosedError,
    exceptions.AccountExistsError,
    exceptions.IdentityTakenError,
    SessionLimitReachedError,
)


@router.get("oidc", **operation("list_providers", summary="List the providers", success={200: list[ProviderOut]}))
def list_providers(request: HttpRequest) -> list[ProviderOut]:
    """Return the providers with which one can log in."""
    return [ProviderOut(id=one.id, name=one.name) for one in providers().values()]


@router.post(
    "oidc/{provider}/start",
    **operation(
        "start_provider_flow",
        summary="Begin a login, a link or a step-up by a provider",
        body=StartIn,
        success={200: StartedOut},
        errors=_FLOW,
        auth=_OPTIONAL,
    ),
)
def start_provider_flow(request: HttpRequest, provider: str, body: StartIn) -> StartedOut:
    """Return a flow token and the address of the provider that the browser opens next.

    `link` and `step_up` need an access token, and only its session can finish. `link` needs one of a user who was
    authenticated lately. A native app gets a nonce in place of the address.
    """
    purpose = FlowPurpose(body.purpose)
    started = services.start(
        provider_id=provider,
        purpose=purpose,
        redirect_uri=body.redirect_uri,
        callback_url=_callback_url,
        session=_session_for(request, purpose),
        client=ClientInfo.of(request),
    )
    return StartedOut(**vars(started))


def _session_for(request: HttpRequest, purpose: FlowPurpose) -> UserSession | None:
    """Return the session that a purpose needs, or None for a login."""
    if purpose is FlowPurpose.LOGIN:
        return None
    session: UserSession | None = current_session(request)
    if session is None:
        raise MissingTokenError
    if purpose is FlowPurpose.LINK:
        require_fresh(request)
    return session


def _callback_url(provider: str) -> str:
    url = emails.own_url("auth_provider_callback", provider)
    if url is None:
        raise ImproperlyConfigured(f"The provider {provider} needs NINJA_AUTH_KIT['BASE_URL'], and the kit's URLs.")
    return url


@router.post(
    "oidc/{provider}/finish",
    **operation(
        "finish_provider_flow",
        summary="Finish a login, a link or a step-up by a provider",
        body=FinishIn,
        success=FINISHED,
        errors=_FINISH,
        auth=_OPTIONAL,
    ),
)
def finish_provider_flow(request: HttpRequest, provider: str, body: FinishIn) -> Any:
    """Exchange what the provider has added to the redirect URI for tokens, an identity or a new access token.

    - A login answers as one with a password. If it registers an account and users have a username, the answer is 202
      `username_required`.
    - A link answers 201 and the identity. The owner of the account is notified by email.
    - A step-up answers an access token of the same session with a new `auth_time`.
    """
    parameters = CallbackParameters(body.code.get_secret_value(), body.state.get_secret_value(), body.iss)
    return _finished(
        services.finish(
            provider_id=provider,
            flow_token=body.flow_token.get_secret_value(),
            parameters=parameters,
            caller=_caller(request, body),
        )
    )


@router.post(
    "oidc/{provider}/id-token",
    **operation(
        "finish_provider_flow_by_id_token",
        summary="Finish the flow of a native app",
        body=IdTokenIn,
        success=FINISHED,
        errors=_FINISH,
        auth=_OPTIONAL,
    ),
)
def finish_by_id_token(request: HttpRequest, provider: str, body: IdTokenIn) -> Any:
    """Exchange an ID token of the provider, which has the nonce of the flow, as `finish` does a code."""
    return _finished(
        services.finish_by_id_token(
            provider_id=provider,
            flow_token=body.flow_token.get_secret_value(),
            id_token=body.id_token.get_secret_value(),
            caller=_caller(request, body),
        )
    )


def _caller(request: HttpRequest, body: FinishIn | IdTokenIn) -> services.Caller:
    device_token = None if body.device_token is None else body.device_token.get_secret_value()
    return services.Caller(
        request,
        ClientInfo.of(request),
        current_session(request),
        device_token,
        require_fresh=lambda: require_fresh(request),
    )


def _finished(result: services.Finished) -> Any:
    if isinstance(result, Identity):
        return Status(201, _identity_out(result))
    if isinstance(result, SteppedUp):
        return Status(200, SteppedUpOut(**vars(result)))
    if isinstance(result, UsernameRequired):
        return Status(202, ProviderUsernameRequiredOut(**vars(result)))
    return login_answer(result)


@router.post(
    "oidc/{provider}/callback",
    url_name="auth_provider_callback",
    response={303: None},
    include_in_schema=False,
    auth=None,
)
@takes_form
def provider_callback(request: HttpRequest, provider: str, body: CallbackIn) -> HttpResponse:
    """Send the browser on to the front end with what a provider has posted (OAuth 2.0 Form Post Response Mode).

    The parameters are in the fragment, which no server sees. The address is one of `REDIRECT_URIS`, whose number is in
    the state. Nothing is checked or stored: the front end passes the parameters on to `finish`.
    """
    number, _, rest = body.state.partition(".")
    found = find_provider(provider)
    uris = redirect_uris(found)
    is_number = number.isascii() and number.isdecimal() and len(number) < 5 and rest
    if not found.posts_form or not is_number or int(number) >= len(uris):
        raise exceptions.ProviderRefusedError("wrong_state")
    # Only this provider sends to this address, so the answer can name its issuer (RFC 9207).
    sent = {"code": body.code, "error": body.error, "state": body.state, "iss": found.issuer}
    fragment = urlencode({name: value for name, value in sent.items() if value is not None})
    return HttpResponse(status=HTTPStatus.SEE_OTHER, headers={"Location": f"{uris[int(number)]}#{fragment}"})


@router.post(
    "oidc/signup",
    **operation(
        "sign_up_by_provider",
        summary="Choose the username of a new account of a provider",
        body=ProviderSignupIn,
        success={200: TOKENS},
        errors=(*LIMITED, exceptions.InvalidSignupError, exceptions.AccountExistsError, SessionLimitReachedError),
    ),
)
def sign_up_by_provider(request: HttpRequest, body: ProviderSignupIn) -> Any:
    """Create the account of an identity that a provider has proved, and log in. The account has no password.

    A username that is taken is a 422; the token can be used again with another one.
    """
    return login_answer(
        services.sign_up(
            signup_token=body.signup_token.get_secret_value(),
            username=body.username,
            caller=services.Caller(request, ClientInfo.of(request)),
        )
    )


@router.get(
    "identities",
    **operation(
        "list_identities",
        summary="List the linked identities",
        success={200: list[IdentityOut]},
        errors=WITH_BEARER,
        auth=JWTAuth(),
    ),
)
def list_identities(request: HttpRequest) -> list[IdentityOut]:
    """Return the identities with which the user can log in, the oldest first."""
    return [_identity_out(row) for row in identities.list_identities(request.user)]


def _identity_out(row: Identity) -> IdentityOut:
    return IdentityOut(id=row.pk, provider=row.provider, email=row.email, linked_at=row.linked_at)


@router.delete(
    "identities/{uuid:identity_id}",
    **operation(
        "unlink_identity",
        summary="Unlink an identity",
        success={204: None},
        errors=(
            *WRITING,
            *WITH_BEARER,
            StepUpRequiredError,
            exceptions.IdentityNotFoundError,
            exceptions.LastIdentityError,
        ),
        auth=JWTAuth(with_level=True),
    ),
)
def unlink_identity(request: HttpRequest, identity_id: UUID) -> Status[None]:
    """Unlink an identity, unless the user could not log in any more. The owner of the account is notified by email.

    The other sessions that began at a provider end.
    """
    require_fresh(request)
    client = ClientInfo.of(request)
    identities.unlink_identity(session=current_session(request), identity_id=identity_id, client=client)
    return Status(204, None)
