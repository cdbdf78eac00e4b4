"""Schemas at the edge of what a host may do, and beyond it."""

from enum import Enum
from typing import Any

from django.contrib.auth import get_user_model
from ninja import Field, ModelSchema, Schema
from pydantic import BaseModel, ConfigDict, SecretBytes, SecretStr

from ninja_auth_kit.api.schemas import RegistrationIn


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
    """A profile of the users with a UUID that has all of that inside one value."""

    about: NestedChoices | None = None


class SecretProfile(Schema):
    """A profile with a secret."""

    first_name: SecretStr | None = None


class WholeUser(ModelSchema):
    """A user as Ninja makes one of the whole model."""

    class Meta:
        model = get_user_model()
        fields = "__all__"


class AliasedHash(Schema):
    """A user whose hash has another name."""

    proof: str = Field(alias="password")


class LooseRegistration(RegistrationIn):
    """A registration that declares the password anew, and so without the rules of the kit for it."""

    password: SecretStr


class AllowingProfile(Schema):
    """A schema that lets in whatever is sent."""

    model_config = ConfigDict(extra="allow")
    first_name: str = ""


class IgnoringRegistration(RegistrationIn):
    """A registration that overlooks what it does not know."""

    model_config = ConfigDict(extra="ignore")
    first_name: str = ""


class NestedAbout(BaseModel):
    """Part of a profile."""

    city: str
    score: float = 0


class RichProfile(Schema):
    """Fields of every sort, of the users with a UUID."""

    nickname: str | None = None
    about: dict[str, Any] | NestedAbout | None = None
    age: int | None = None
    team: int | None = None
    first_name: SecretStr = SecretStr("")


class RichRegistration(RegistrationIn):
    """The same for a registration."""

    about: dict[str, Any] | None = None
    age: int | None = None


class OfTheModel(ModelSchema):
    """A profile that Ninja makes of the model."""

    class Meta:
        model = get_user_model()
        fields = ["first_name"]
        fields_optional = "__all__"


class Plain(Schema):
    """A user as the host shows it."""

    first_name: str


class Demanding(Plain):
    """A user as the host shows it, with what no user has."""

    height: int


class RequiringProfile(Schema):
    """A profile that would have to be sent as a whole."""

    first_name: str


class ProfileOfTheWrongKind(RegistrationIn):
    """Not what a profile is."""


class RetypedRegistration(RegistrationIn):
    """A registration whose password would be in the logs."""

    password: str  # type: ignore[assignment]


class UniqueRegistration(RegistrationIn):
    """A registration that would tell who has an account."""

    nickname: str


class Dangerous(Schema):
    """Everything that a profile must not have."""

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
    """A registration that would make administrators."""

    is_staff: bool = False
