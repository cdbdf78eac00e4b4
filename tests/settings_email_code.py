"""The same project with the app of email codes, and without second factors."""

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS as _APPS

INSTALLED_APPS = [*_APPS, "ninja_auth_kit.contrib.email_code"]
