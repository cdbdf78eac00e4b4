"""Custom schemas that the kit barely accepts, and schemas that it must reject."""

from enum import Enum
from typing import Any

from django.contrib.auth import get_user_model
from ninja import Field, ModelSchema, Schema
from pydantic import BaseModel, ConfigDict, SecretBytes, SecretStr, model_validator

from ninja_auth_kit.api.schemas import RegistrationIn
from tests.host_app.schemas import UsualRegistration


class Colour(Enum):
    """A choice."""

    RED = "red"


class ChoosingProfile(Schema):
    """A profile with choices and secrets, alone and inside other values."""

    first_name: Colour | None = None
    last_name: SecretBytes | None = None


class NestedChoices(BaseModel):
    """Choices and secrets inside a value."""

    colours: list[Colour]
    word: SecretStr
    score: float = 0


class NestingProfile(Schema):
    """A profile of the users with a UUID that nests choices and secrets in one value."""

    about: NestedChoices | None = None


class SecretProfile(Schema):
    """A profile with a secret."""

    first_name: SecretStr | None = None


class WholeUser(ModelSchema):
    """A user schema that Ninja derives from all fields of the model."""

    class Meta:
        model = get_user_model()
        fields = "__all__"


class AliasedHash(Schema):
    """A user schema that exposes the password hash under another name."""

    proof: str = Field(alias="password")


class LooseRegistration(RegistrationIn):
    """A registration that redefines the password without the kit's validation."""

    password: SecretStr


class AllowingProfile(Schema):
    """A schema that accepts unknown members."""

    model_config = ConfigDict(extra="allow")
    first_name: str = ""


class IgnoringRegistration(UsualRegistration):  # type: ignore[valid-type,misc]
    """A registration that ignores unknown members."""

    model_config = ConfigDict(extra="ignore")
    first_name: str = ""


class NestedAbout(BaseModel):
    """Part of a profile."""

    city: str
    score: float = 0


class RichProfile(Schema):
    """A profile with fields of every type, for the users with a UUID."""

    nickname: str | None = None
    about: dict[str, Any] | NestedAbout | None = None
    age: int | None = None
    team: int | None = None
    first_name: SecretStr = SecretStr("")


class RichRegistration(UsualRegistration):  # type: ignore[valid-type,misc]
    """A registration with fields of every type."""

    about: dict[str, Any] | None = None
    age: int | None = None


class OfTheModel(ModelSchema):
    """A profile that Ninja derives from the model."""

    class Meta:
        model = get_user_model()
        fields = ["first_name"]
        fields_optional = "__all__"


class Plain(Schema):
    """A user as the project shows it."""

    first_name: str


class Demanding(Plain):
    """A user schema with a field that the model does not have."""

    height: int


class RequiringProfile(Schema):
    """A profile in which every member is required."""

    first_name: str


class ProfileOfTheWrongKind(RegistrationIn):
    """A schema that does not have the base class of a profile."""


class RetypedRegistration(RegistrationIn):
    """A registration whose password would appear in logs."""

    password: str  # type: ignore[assignment]


class Dangerous(Schema):
    """A profile with fields that a profile must not have."""

    password: str = ""
    email: str = ""
    id: str = ""
    pk: str = ""
    is_active: bool = True
    is_staff: bool = True
    is_superuser: bool = True
    groups: list[int] = Field(default_factory=list)
    user_permissions: list[int] = Field(default_factory=list)
    last_login: str = ""
    date_joined: str = ""
    sessions: str = ""
    authkit_email: str = ""
    height: int = 0


class DangerousRegistration(RegistrationIn):
    """A registration that would create administrators."""

    is_staff: bool = False


class FailingRegistration(RegistrationIn):
    """A registration whose validator has a defect, and has what was sent in local variables."""

    @model_validator(mode="before")
    @classmethod
    def fail(cls, sent: Any) -> Any:
        """Fail for one address."""
        email, secret = sent.get("email"), sent.get("password")
        if email == "invalid@example.com":
            raise RuntimeError(f"A validator has a defect with {len(secret)} characters.")
        return sent
