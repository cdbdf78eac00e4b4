"""What other services get to see of the keys: a JWK Set."""

from pydantic import BaseModel, Field

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
