"""The endpoints of API keys. They accept access tokens alone: a key makes no key."""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from django.http import HttpRequest
from ninja import Router, Status
from pydantic import Field

from ninja_auth_kit.api.errors import STATUSES
from ninja_auth_kit.api.jwt_auth import JWTAuth, current_session, require_fresh
from ninja_auth_kit.api.openapi import WITH_BEARER, WITH_BODY, WRITING, operation
from ninja_auth_kit.api.schemas import Answer, Body, Moment, Text
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.contrib.api_keys import auth, services  # noqa: F401  # `auth` gives its error a status
from ninja_auth_kit.contrib.api_keys.exceptions import KeyLimitError, KeyNotFoundError
from ninja_auth_kit.contrib.api_keys.models import NAME_LENGTH, ApiKey
from ninja_auth_kit.contrib.api_keys.settings import SCOPE_LENGTH
from ninja_auth_kit.exceptions import StepUpRequiredError

STATUSES |= {
    KeyLimitError: HTTPStatus.CONFLICT,
    KeyNotFoundError: HTTPStatus.NOT_FOUND,
}

router = Router()

Name = Annotated[Text, Field(min_length=1, max_length=NAME_LENGTH, examples=["nightly backup"])]
Scope = Annotated[Text, Field(max_length=SCOPE_LENGTH)]


class KeyIn(Body):
    """The name, the scopes and the lifetime of a new key."""

    name: Name
    scopes: list[Scope] = Field(min_length=1, max_length=100, examples=[["notes:read"]])
    expires_in: Annotated[int, Field(strict=True, ge=1, examples=[2_592_000])] | None = Field(
        None, description="Seconds; by default those of `LIFETIME`.", examples=[2_592_000]
    )


class NewKeyOut(Answer):
    """The new key. It is shown this once."""

    id: UUID
    name: str = Field(examples=["nightly backup"])
    key: str = Field(examples=["nakp_the-key"])
    scopes: list[str] = Field(examples=[["notes:read"]])
    expires_at: Moment


class KeyOut(Answer):
    """A key of the user."""

    id: UUID
    name: str = Field(examples=["nightly backup"])
    start: str = Field(description="The first characters of the key.", examples=["nakp_AZGyxHe"])
    scopes: list[str] = Field(examples=[["notes:read"]])
    created_at: Moment
    expires_at: Moment
    last_used_at: Moment | None = Field(description="To the hour; null if the key was never used.")


@router.post(
    "api-keys",
    **operation(
        "create_api_key",
        summary="Create an API key",
        body=KeyIn,
        success={201: NewKeyOut},
        errors=(*WITH_BODY, *WITH_BEARER, StepUpRequiredError, KeyLimitError),
        auth=JWTAuth(with_level=True),
    ),
)
def create_api_key(request: HttpRequest, body: KeyIn) -> Status[NewKeyOut]:
    """Create an API key, which is shown this once. The owner of the account is notified by email."""
    require_fresh(request)
    new = services.create_key(
        session=current_session(request),
        name=body.name,
        scopes=body.scopes,
        expires_in=body.expires_in,
        client=ClientInfo.of(request),
    )
    row = new.row
    return Status(201, NewKeyOut(id=row.pk, name=row.name, key=new.key, scopes=row.scopes, expires_at=row.expires_at))


@router.get(
    "api-keys",
    **operation(
        "list_api_keys",
        summary="List the API keys",
        success={200: list[KeyOut]},
        errors=WITH_BEARER,
        auth=JWTAuth(),
    ),
)
def list_api_keys(request: HttpRequest) -> list[KeyOut]:
    """Return the API keys of the user that have not expired, the newest first."""
    return [_key_out(row) for row in services.list_keys(request.user)]


def _key_out(row: ApiKey) -> KeyOut:
    return KeyOut(
        id=row.pk,
        name=row.name,
        start=row.start,
        scopes=row.scopes,
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
    )


@router.delete(
    "api-keys/{uuid:key_id}",
    **operation(
        "revoke_api_key",
        summary="Revoke an API key",
        success={204: None},
        errors=(*WRITING, *WITH_BEARER, KeyNotFoundError),
        auth=JWTAuth(),
    ),
)
def revoke_api_key(request: HttpRequest, key_id: UUID) -> Status[None]:
    """Revoke an API key of the user. It is refused from the next request on."""
    services.revoke_key(user=request.user, key_id=key_id, client=ClientInfo.of(request))
    return Status(204, None)
