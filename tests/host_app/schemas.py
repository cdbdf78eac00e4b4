"""Custom schemas of a project, for every user model, and claims for its access tokens."""

from typing import Annotated, Any

from django.contrib.auth import get_user_model
from ninja import Field, Schema
from pydantic import AfterValidator

from ninja_auth_kit.api.schemas import RegistrationIn, Username, UserOut
from ninja_auth_kit.models import UserSession


def no_shouting(value: str) -> str:
    if value.isupper() and len(value) > 3:
        raise ValueError(f"{value} is in capitals")
    return value


class MemberRegistration(RegistrationIn):
    """A registration of the users with a username beside the email address that they log in with."""

    username: Username


# A registration of the user model of this test run. The kit adds a username that is the USERNAME_FIELD.
UsualRegistration = MemberRegistration if get_user_model()._meta.label == "host_app.Member" else RegistrationIn


class Registration(UsualRegistration):  # type: ignore[valid-type,misc]
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


class FullMemberRegistration(MemberRegistration):
    """A registration with every kind of unique field."""

    handle: str | None = None
    nickname: str | None = None
    badge: str = Field("", max_length=30)
    club: str = Field("", max_length=30)
    number: int | None = None
    callsign: str = Field("", max_length=30)
    is_on_air: bool = False


class MemberProfile(Schema):
    """The unique fields that a user can change."""

    username: str = ""
    handle: str | None = None
    nickname: str | None = None
    badge: str = ""
    club: str = ""
    number: int | None = None
    callsign: str = ""
    is_on_air: bool = False
