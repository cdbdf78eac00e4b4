"""GET .well-known/jwks.json."""

from django.http import HttpRequest, HttpResponse
from ninja import Router

from ninja_auth_kit.api.errors import PathNotFoundError
from ninja_auth_kit.api.openapi import operation
from ninja_auth_kit.api.request_checks import PUBLIC_FOR_FIVE_MINUTES
from ninja_auth_kit.api.schemas import PublicKeyOut, PublicKeysOut
from ninja_auth_kit.tokens import key_ring

router = Router()


@router.get(
    ".well-known/jwks.json",
    **operation(
        "jwks",
        summary="Get the public keys",
        success={200: PublicKeysOut},
        errors=(PathNotFoundError,),
    ),
    exclude_none=True,
)
def jwks(request: HttpRequest, response: HttpResponse) -> PublicKeysOut:
    """Return the public keys with which another service verifies access tokens, as a JWK Set (RFC 7517).

    A key is listed before it signs its first token and after it has signed its last one. Look up a key by its `kid`,
    and fetch the set again if the key is missing. Caches may store the response for 5 minutes. If no asymmetric key is
    configured, the response is 404.
    """
    keys = key_ring().public
    if not keys:
        raise PathNotFoundError
    response["Cache-Control"] = PUBLIC_FOR_FIVE_MINUTES
    return PublicKeysOut(keys=[PublicKeyOut(**key) for key in keys])
