"""GET .well-known/jwks.json."""

from django.http import HttpRequest
from ninja import Router
from pydantic import BaseModel, Field

from ninja_auth_kit.api.errors import PathNotFoundError
from ninja_auth_kit.api.openapi import operation
from ninja_auth_kit.tokens import key_ring

_KID = "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U"  # of the key in RFC 7515 appendix A.3


class PublicKeyOut(BaseModel):
    """A public key as a JWK (RFC 7517 section 4). No member of a private key has a place here."""

    kid: str = Field(description="The RFC 7638 thumbprint of the key.", examples=[_KID])
    kty: str = Field(examples=["EC"])
    alg: str = Field(examples=["ES256"])
    use: str = Field("sig", examples=["sig"])
    crv: str | None = Field(None, description="Of EC and OKP keys.", examples=["P-256"])
    x: str | None = Field(
        None, description="Of EC and OKP keys.", examples=["f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"]
    )
    y: str | None = Field(None, description="Of EC keys.", examples=["x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"])
    n: str | None = Field(None, description="Of RSA keys.", examples=[None])
    e: str | None = Field(None, description="Of RSA keys.", examples=[None])


class PublicKeysOut(BaseModel):
    """A JWK Set (RFC 7517 section 5)."""

    keys: list[PublicKeyOut]


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
