"""The bodies of requests and answers.

A request body that does not fit raises `InvalidInputError`, with a code for each field and nothing of the input.
A host may derive from `RegistrationIn` and `UserOut`, and put its own in their place; see `custom_schemas`.
"""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from ninja import Schema
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    SecretStr,
    ValidationError,
    ValidatorFunctionWrapHandler,
    model_validator,
)
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError, core_schema

from ninja_auth_kit.exceptions import FieldError, InvalidInputError
from ninja_auth_kit.models.users import email_field, has_username, is_verified

_MESSAGES: dict[str, tuple[str, str | Promise]] = {
    "missing": ("required", _("This field is required.")),
    "extra_forbidden": ("unknown_field", _("The request contains an unknown field. Send only the documented fields.")),
    "string_too_long": ("too_long", _("This value is too long. Enter a shorter value.")),
    "too_long": ("too_long", _("This value is too long. Enter a shorter value.")),
    "control_character": (
        "control_character",
        _("This value contains a control character, which is not allowed. Remove it."),
    ),
    "one_identifier": ("one_identifier", _("Send either username or email, and only one of them.")),
}
_OTHER = ("invalid", _("This value is not valid."))


def _with_field_errors(data: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    try:
        return validate(data)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        raise InvalidInputError(*_field_errors(faults)) from None


def _field_errors(faults: list[ErrorDetails]) -> Iterable[FieldError]:
    """Return the errors, each once: thousands of unknown fields would make an answer of many times the request."""
    return {(one.field, one.code): one for one in map(_field_error, faults)}.values()


def _field_error(fault: ErrorDetails) -> FieldError:
    code, message = _MESSAGES.get(fault["type"], _OTHER)
    # The name of an unknown field is input, as are the keys of an object in a field, and input is not repeated.
    field = "" if code == "unknown_field" else str(next(iter(fault["loc"]), ""))
    return FieldError(field, code, message)


class Body(BaseModel):
    """A request body: no fields but its own, and errors that never repeat what was sent."""

    model_config = ConfigDict(extra="forbid")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Put the translation of errors around everything, the validators of subclasses among it."""
        inner: Any = {**handler(source)}  # a copy, as pydantic keeps the original
        name = inner.pop("ref", None)  # so that OpenAPI still knows it as a component
        return core_schema.no_info_wrap_validator_function(_with_field_errors, inner, ref=name)


_UNENCODABLE = re.compile("[\x00\ud800-\udfff]")


def _printable(value: str) -> str:
    """Refuse NUL, which PostgreSQL does not store, and the other controls, which belong in no name and no address."""
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in value):
        raise PydanticCustomError("control_character", "control character")
    return value


def _encodable(value: SecretStr) -> SecretStr:
    """Refuse NUL and lone surrogates, which no database and no hasher takes; of a secret everything else counts."""
    if _UNENCODABLE.search(value.get_secret_value()):
        raise PydanticCustomError("control_character", "control character")
    return value


Text = Annotated[str, Field(max_length=254), AfterValidator(_printable)]
Email = Annotated[Text, Field(json_schema_extra={"format": "email"}, examples=["ada@example.com"])]
Username = Annotated[Text, Field(examples=["ada"])]
# 1,024 bytes is what a password may have; checked again in bytes, with a message of its own, where it is chosen.
Password = Annotated[
    SecretStr, Field(max_length=1024, examples=["correct horse battery staple"]), AfterValidator(_encodable)
]
OneTimeToken = Annotated[
    SecretStr,
    Field(max_length=4096, examples=["nako_the-token-of-the-mail"]),
    AfterValidator(_encodable),
]
REFRESH_TOKEN = "nakr_the-refresh-token"  # noqa: S105  # an example
RefreshToken = Annotated[SecretStr, Field(max_length=4096, examples=[REFRESH_TOKEN]), AfterValidator(_encodable)]


class RegistrationIn(Body):
    """An address and the password it will log in with.

    `REGISTRATION_SCHEMA` may name a class derived from this one. Its further fields are fields of the user model; the
    kit adds `username` where users have one.
    """

    email: Email
    password: Password


class RegistrationWithUsernameIn(RegistrationIn):
    """An address, a name, and the password they will log in with."""

    username: Username


class ProfileIn(Body):
    """What users may change of themselves: nothing, unless `PROFILE_SCHEMA` names a schema of fields."""


class VerifyEmailIn(Body):
    """The token of the mail, and the password of the account unless the settings say that it is not needed."""

    token: OneTimeToken
    password: Password | None = Field(None, description="Needed unless EMAIL_VERIFICATION_REQUIRES_PASSWORD is off.")


class EmailIn(Body):
    """An address."""

    email: Email


class PasswordChangeIn(Body):
    """The password as it is, and as it is to be."""

    current_password: Password
    new_password: Password


class PasswordResetIn(Body):
    """The token of the mail, and the new password."""

    token: OneTimeToken
    new_password: Password


class EmailChangeIn(Body):
    """The new address, and the password of the account."""

    new_email: Email
    password: Password


class OneTimeTokenIn(Body):
    """The token of the mail."""

    token: OneTimeToken


class PasswordIn(Body):
    """The password of the account."""

    password: Password


class LoginIn(Body):
    """A password, and exactly one of username and email."""

    username: Text | None = Field(None, examples=[None], description="This or `email`.")
    email: Text | None = Field(None, examples=["ada@example.com"], description="This or `username`.")
    password: Password

    @model_validator(mode="after")
    def _one_identifier(self) -> "LoginIn":
        if (self.username is None) == (self.email is None):
            raise PydanticCustomError("one_identifier", "exactly one of username and email")
        return self


class RefreshIn(Body):
    """A refresh token; `refresh` is accepted as another name for it, as clients of other packages send it."""

    refresh_token: RefreshToken = Field(validation_alias=AliasChoices("refresh_token", "refresh"))


def _text_or_nothing(value: Any) -> Any:
    return value if isinstance(value, str) else None


class LogoutIn(Body):
    """The refresh token of the session to end, where no access token is sent. Garbage is no error here."""

    model_config = ConfigDict(extra="ignore")

    refresh_token: Annotated[SecretStr | None, BeforeValidator(_text_or_nothing)] = Field(
        None, validation_alias=AliasChoices("refresh_token", "refresh"), examples=[REFRESH_TOKEN]
    )


class Detail(BaseModel):
    """A sentence for people."""

    detail: str = Field(examples=["We have sent you an email."])


class VerifiedEmail(Detail):
    """The address that was proved."""

    email: str = Field(examples=["ada@example.com"])


class TokenPairOut(BaseModel):
    """A token pair; lifetimes in seconds."""

    access_token: str = Field(examples=["eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiI3In0.c2ln"])
    token_type: str = Field("Bearer", examples=["Bearer"])
    expires_in: int = Field(examples=[300])
    refresh_token: str = Field(examples=[REFRESH_TOKEN])
    refresh_expires_in: int = Field(examples=[604_800])
    session_id: UUID


class UserOut(Schema):
    """The user of the access token.

    `USER_SCHEMA` may name another, derived from this one or not: any Ninja schema that the user model can fill.
    """

    id: str = Field(examples=["7"])
    username: str | None = Field(examples=["ada"])
    email: str = Field(examples=["ada@example.com"])
    email_verified: bool = Field(examples=[True])
    date_joined: datetime | None
    last_login: datetime | None

    @staticmethod
    def resolve_id(user: Any) -> str:
        """Return the key, whatever type it has."""
        return str(user.pk)

    @staticmethod
    def resolve_username(user: Any) -> str | None:
        """Return the name that the user has beside the address."""
        return user.get_username() if has_username() else None

    @staticmethod
    def resolve_email(user: Any) -> str:
        """Return the address, whatever the model calls it."""
        return getattr(user, email_field()) or ""

    @staticmethod
    def resolve_email_verified(user: Any) -> bool:
        """Tell whether it is the address that was proved."""
        return is_verified(user)

    @staticmethod
    def resolve_date_joined(user: Any) -> datetime | None:
        """Return None where the model does not note it."""
        return getattr(user, "date_joined", None)

    @staticmethod
    def resolve_last_login(user: Any) -> datetime | None:
        """Return None where the model does not note it."""
        return getattr(user, "last_login", None)


class SessionOut(BaseModel):
    """An active session."""

    id: UUID
    login_time: datetime
    last_seen: datetime
    ip_address: str | None = Field(examples=["203.0.113.7"])
    user_agent: str = Field(examples=["Mozilla/5.0"])
    is_current: bool = Field(examples=[True])


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
