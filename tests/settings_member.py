"""A project whose users log in with their email address, and have a unique username and other unique fields."""

from tests.settings import *  # noqa: F403
from tests.settings import NINJA_AUTH_KIT as _KIT
from tests.settings import AuthKitSettings

AUTH_USER_MODEL = "host_app.Member"
NINJA_AUTH_KIT: AuthKitSettings = {**_KIT, "REGISTRATION_SCHEMA": "tests.host_app.schemas.MemberRegistration"}
