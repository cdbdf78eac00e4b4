"""The project with every optional app, whose users have an email address and a UUID, and no username."""

from tests.settings_features import *  # noqa: F403

AUTH_USER_MODEL = "host_app.User"
