"""The schemas of requests and responses.

An invalid request body raises `InvalidInputError`, which has a code for each field and does not repeat the input. Your
project can derive schemas from `RegistrationIn` and `UserOut`, and replace these by its own; see `custom_schemas`.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from django.utils import timezone
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

from ninja_auth_kit.exceptions import FieldError, InvalidInputError, input_name
from ninja_auth_kit.models.users import email_field, has_username, is_verified

# The code and the message for each type of a pydantic error. Any other type is `_INVALID`.
_MESSAGES: dict[str, tuple[str, str | Promise]] = {
    "missing": ("required", _("This field is required.")),
    "extra_forbidden": ("unknown_field", _("This field is unknown. Send only the documented fields.")),
    "string_too_long": ("too_long", _("This value is too long. Enter a shorter value.")),
    "too_long": ("too_long", _("This value is too long. Enter a shorter value.")),
    "control_character": (
        "control_character",
        _("This value contains a control character, which is not allowed. Remove it."),
    ),
    "one_identifier": ("one_identifier", _("Send either username or email, and only one of them.")),
    "one_way_back": ("one_way_back", _("Send either redirect_uri or native.")),
}
_MOST_UNKNOWN_FIELDS = 5
_INVALID = ("invalid", _("This value is not valid."))


def _with_field_errors(data: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    try:
        return validate(data)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        raise InvalidInputError(*_field_errors(faults)) from None


def _field_errors(faults: list[ErrorDetails]) -> Iterable[FieldError]:
    """Return each error once, and only the first unknown fields.

    Otherwise thousands of unknown fields would cause a response that is many times as large as the request.
    """
    unknown = [fault for fault in faults if fault["type"] == "extra_forbidden"][:_MOST_UNKNOWN_FIELDS]
    known = [fault for fault in faults if fault["type"] != "extra_forbidden"]
    return {(one.field, one.code): one for one in map(_field_error, [*known, *unknown])}.values()


def _field_error(fault: ErrorDetails) -> FieldError:
    """Return the error of one field.

    A field of the schema is named without the keys of an object inside it, which are input. An unknown field is named
    by its path, if that looks like names.
    """
    code, message = _MESSAGES.get(fault["type"], _INVALID)
    if code == "unknown_field":
        return FieldError(input_name(".".join(map(str, fault["loc"]))), code, message)
    return FieldError(str(next(iter(fault["loc"]), "")), code, message)


class Body(BaseModel):
    """The base class of request bodies. Unknown fields are rejected, and errors do not repeat the input."""

    model_config = ConfigDict(extra="forbid")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Convert the errors of all validators, including those of subclasses."""
        inner: Any = {**handler(source)}  # a copy, because pydantic keeps the original
        name = inner.pop("ref", None)  # on the outer schema, so that OpenAPI still lists the class as a component
        return core_schema.no_info_wrap_validator_function(_with_field_errors, inner, ref=name)


_UNENCODABLE = re.compile("[\x00\ud800-\udfff]")


def _require_printable(value: str) -> str:
    """Reject control characters. PostgreSQL does not store NUL, and no name or address contains the others."""
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in value):
        raise PydanticCustomError("control_character", "control character")
    return value


def require_encodable(value: SecretStr) -> SecretStr:
    """Reject NUL and lone surrogates, which databases and hashers do not accept. Anything else can be in a secret."""
    if _UNENCODABLE.search(value.get_secret_value()):
        raise PydanticCustomError("control_character", "control character")
    return value


def _stripped(value: Any) -> Any:
    """Return a text without white space around it, as the forms of Django do. Passwords are never stripped."""
    return value.strip() if isinstance(value, str) else value


Text = Annotated[str, Field(max_length=254), AfterValidator(_require_printable), BeforeValidator(_stripped)]
Email = Annotated[Text, Field(json_schema_extra={"format": "email"}, examples=["ada@example.com"])]
Username = Annotated[Text, Field(examples=["ada"])]
# A password has at most 1,024 bytes. A new password is checked again, in bytes, with its own error.
Password = Annotated[
    SecretStr, Field(max_length=1024, examples=["correct horse battery staple"]), AfterValidator(require_encodable)
]
NewPassword = Annotated[Password, Field(examples=["a long walk in the hills"])]
OneTimeToken = Annotated[
    SecretStr,
    Field(max_length=4096, examples=["nako_the-token-from-the-email"]),
    AfterValidator(require_encodable),
]
DeviceToken = Annotated[SecretStr, Field(max_length=4096, examples=[None]), AfterValidator(require_encodable)]
REFRESH_TOKEN = "nakr_the-refresh-token"  # noqa: S105  # an example
RefreshToken = Annotated[
    SecretStr, Field(max_length=4096, examples=[REFRESH_TOKEN]), AfterValidator(require_encodable)
]


class RegistrationIn(Body):
    """The email address and the password of a new account.

    `REGISTRATION_SCHEMA` can name a class that derives from this one. Its additional fields are fields of the user
    model. The kit adds `username` if it is the `USERNAME_FIELD`.
    """

    email: Email
    password: Password


class RegistrationWithUsernameIn(RegistrationIn):
    """The email address, the username and the password of a new account."""

    username: Username


class ProfileIn(Body):
    """The fields that users can change. Without `PROFILE_SCHEMA`, no field can be changed."""


ConfirmingPassword = Annotated[
    Password | None,
    Field(examples=["correct horse battery staple"], description="Required if the account has a password."),
]


class VerifyEmailIn(Body):
    """The token from the email, and the password of the account."""

    token: OneTimeToken
    password: Password | None = Field(
        None,
        examples=["correct horse battery staple"],
        description="Required unless EMAIL_VERIFICATION_REQUIRES_PASSWORD is off.",
    )


class EmailIn(Body):
    """An email address."""

    email: Email


class PasswordChangeIn(Body):
    """The current password and the new password."""

    current_password: ConfirmingPassword = None
    new_password: NewPassword


class PasswordResetIn(Body):
    """The token from the email, and the new password."""

    token: OneTimeToken
    new_password: NewPassword


class EmailChangeIn(Body):
    """The new email address, and the password of the account."""

    new_email: Email = Field(examples=["ada@new.example.com"])
    password: ConfirmingPassword = None


class OneTimeTokenIn(Body):
    """The token from the email."""

    token: OneTimeToken


class PasswordIn(Body):
    """The password of the account."""

    password: ConfirmingPassword = None


class _LoginIn(Body):
    """The password, and either the username or the email address."""

    username: Text | None = Field(None, examples=[None], description="Send exactly one of `username` and `email`.")
    email: Text | None = Field(
        None, examples=["ada@example.com"], description="Send exactly one of `username` and `email`."
    )
    password: Password

    @model_validator(mode="after")
    def _one_identifier(self) -> "_LoginIn":
        if (self.username is None) == (self.email is None):
            raise PydanticCustomError("one_identifier", "exactly one of username and email")
        return self


class LoginIn(_LoginIn):
    """The password, and either the username or the email address."""


class LoginOnDeviceIn(_LoginIn):
    """The password, and either the username or the email address; and the token of a remembered device, if any."""

    device_token: DeviceToken | None = Field(None, description="Of a remembered device. A bad one is ignored.")


class RefreshIn(Body):
    """A refresh token. The name `refresh` is also accepted, because clients of other packages send it."""

    refresh_token: RefreshToken = Field(validation_alias=AliasChoices("refresh_token", "refresh"))


def _string_or_none(value: Any) -> Any:
    return value if isinstance(value, str) else None


class LogoutIn(Body):
    """The refresh token of the session to end, if no access token is sent. An invalid value is not an error."""

    model_config = ConfigDict(extra="ignore")

    refresh_token: Annotated[SecretStr | None, BeforeValidator(_string_or_none)] = Field(
        None, validation_alias=AliasChoices("refresh_token", "refresh"), examples=[REFRESH_TOKEN]
    )


class Answer(BaseModel):
    """The base class of responses. A member with a default is always there, so OpenAPI calls it required."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


class Detail(Answer):
    """A message for the user."""

    detail: str = Field(examples=["We have sent you an email."])


class VerifiedEmail(Detail):
    """The email address that was verified."""

    email: str = Field(examples=["ada@example.com"])


class TokenPairOut(Answer):
    """An access token and a refresh token. The lifetimes are in seconds."""

    access_token: str = Field(examples=["eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiI3In0.c2ln"])
    token_type: str = Field("Bearer", examples=["Bearer"])
    expires_in: int = Field(examples=[300])
    refresh_token: str = Field(examples=[REFRESH_TOKEN])
    refresh_expires_in: int = Field(examples=[604_800])
    session_id: UUID


class TokenPairWithLevel(TokenPairOut):
    """An access token and a refresh token. The lifetimes are in seconds."""

    acr: str = Field(description="The level of the login: `aal1`, or `aal2` with a second factor.", examples=["aal1"])


class PendingLoginOut(Answer):
    """The first factor was right, and a second one is due. No session was started, and none was ended."""

    status: Literal["factor_required"] = "factor_required"
    challenge_token: str = Field(examples=["nakt_the-challenge"])
    methods: list[str] = Field(
        description="The factors that the user has: each names an endpoint.", examples=[["totp", "recovery_code"]]
    )
    expires_in: int = Field(description="Seconds.", examples=[600])


def with_offset(moment: datetime) -> datetime:
    """Return a moment with an offset, which `format: date-time` requires (RFC 3339 section 5.6).

    With `USE_TZ = False`, Django's datetimes are local times of `TIME_ZONE` without an offset.
    """
    if timezone.is_aware(moment):
        return moment
    return timezone.make_aware(moment, timezone.get_default_timezone()).astimezone(UTC)


Moment = Annotated[datetime, AfterValidator(with_offset)]


class UserOut(Schema):
    """The user of the access token.

    `USER_SCHEMA` can name any other Ninja schema that the user model can fill. It need not derive from this one.
    """

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    id: str = Field(examples=["7"])
    username: str | None = Field(examples=["ada"])
    email: str = Field(examples=["ada@example.com"])
    email_verified: bool = Field(examples=[True])
    date_joined: Moment | None
    last_login: Moment | None

    @staticmethod
    def resolve_id(user: Any) -> str:
        """Return the primary key as a string."""
        return str(user.pk)

    @staticmethod
    def resolve_username(user: Any) -> str | None:
        """Return the username, or None if users have none. They may have one and log in by email address only."""
        return user.get_username() if has_username() else getattr(user, "username", None)

    @staticmethod
    def resolve_email(user: Any) -> str:
        """Return the email address, from the email field of the user model."""
        return getattr(user, email_field()) or ""

    @staticmethod
    def resolve_email_verified(user: Any) -> bool:
        """Return whether the email address is verified."""
        return is_verified(user)

    @staticmethod
    def resolve_date_joined(user: Any) -> datetime | None:
        """Return the date, or None if the user model has no such field."""
        return getattr(user, "date_joined", None)

    @staticmethod
    def resolve_last_login(user: Any) -> datetime | None:
        """Return the time, or None if the user model has no such field."""
        return getattr(user, "last_login", None)


class SessionOut(Answer):
    """An active session."""

    id: UUID
    login_time: Moment
    last_seen: Moment
    ip_address: str | None = Field(examples=["203.0.113.7"])
    user_agent: str = Field(examples=["Mozilla/5.0"])
    is_current: bool = Field(examples=[True])


_KID = "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U"  # of the key in RFC 7515 appendix A.3


class PublicKeyOut(BaseModel):
    """A public key as a JWK (RFC 7517 section 4). The schema has no member of a private key."""

    kid: str = Field(description="The RFC 7638 thumbprint of the key.", examples=[_KID])
    kty: str = Field(examples=["EC"])
    alg: str = Field(examples=["ES256"])
    use: str = Field(examples=["sig"])
    crv: str | None = Field(None, description="Only for EC and OKP keys.", examples=["P-256"])
    x: str | None = Field(
        None, description="Only for EC and OKP keys.", examples=["f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"]
    )
    y: str | None = Field(
        None, description="Only for EC keys.", examples=["x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"]
    )
    n: str | None = Field(None, description="Only for RSA keys.", examples=[None])
    e: str | None = Field(None, description="Only for RSA keys.", examples=[None])


class PublicKeysOut(BaseModel):
    """A JWK Set (RFC 7517 section 5)."""

    keys: list[PublicKeyOut]
