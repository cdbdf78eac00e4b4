"""A host whose users have an e-mail address, a UUID and no name."""

from tests.settings import *  # noqa: F403

AUTH_USER_MODEL = "host_app.User"
