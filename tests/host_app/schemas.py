"""Custom schemas of a project, for both user models, and claims for its access tokens."""

from typing import Annotated, Any

from ninja import Field, Schema
from pydantic import AfterValidator

from ninja_auth_kit.api.schemas import RegistrationIn, UserOut
from ninja_auth_kit.models import UserSession


def no_shouting(value: str) -> str:
    if value.isupper() and len(value) > 3:
        raise ValueError(f"{value} is in capitals")
    return value


class Registration(RegistrationIn):
    """A registration with a name."""

    first_name: Annotated[str, AfterValidator(no_shouting)] = Field(examples=["Ada"])
    last_name: str | None = None


class Profile(Schema):
    """A profile with a name."""

    first_name: Annotated[str, AfterValidator(no_shouting)] | None = None
    last_name: str = ""


class Me(UserOut):
    """A user with a name."""

    first_name: str
    initials: str

    @staticmethod
    def resolve_initials(user: Any) -> str:
        return user.first_name[:1] + user.last_name[:1]


def claims(user: Any, session: UserSession) -> dict[str, Any]:
    return {"scope": "notes", "name": user.first_name, "for": str(session.pk)}
