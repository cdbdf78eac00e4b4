"""GET .well-known/jwks.json."""

from django.http import HttpRequest
from ninja import Router

from ninja_auth_kit.api.errors import PathNotFoundError
from ninja_auth_kit.api.openapi import operation
from ninja_auth_kit.api.schemas import PublicKeyOut, PublicKeysOut
from ninja_auth_kit.tokens import key_ring

router = Router()


@router.get(
    ".well-known/jwks.json",
    **operation(
        "jwks",
        summary="The keys that verify access tokens",
        success={200: PublicKeysOut},
        errors=(PathNotFoundError,),
    ),
    exclude_none=True,
)
def jwks(request: HttpRequest) -> PublicKeysOut:
    """Return the public keys by which another service verifies access tokens, as a JWK Set (RFC 7517).

    A key stands here before it signs and after it has signed, so look keys up by `kid`, and fetch again when one is
    missing. Without an asymmetric key there is nothing to publish, and the answer is 404.
    """
    keys = key_ring().public
    if not keys:
        raise PathNotFoundError
    return PublicKeysOut(keys=[PublicKeyOut(**key) for key in keys])
