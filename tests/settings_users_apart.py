"""A project with its users in another database and an empty default, as Django allows it."""

from typing import Any

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES as _DATABASES

DATABASES: dict[str, Any] = {"default": {}, "users": _DATABASES["default"]}
DATABASE_ROUTERS = ["tests.settings_users_apart.Router"]


class Router:
    """Route everything to `users`."""

    def db_for_read(self, model: Any, **_: Any) -> str:
        return "users"

    db_for_write = db_for_read
