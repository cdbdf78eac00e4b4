"""A host whose users are in another database, and whose default database is none, as Django's documentation has it."""

from typing import Any

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES as _DATABASES

DATABASES: dict[str, Any] = {"default": {}, "users": _DATABASES["default"]}
DATABASE_ROUTERS = ["tests.settings_users_apart.Router"]


class Router:
    """Everything is in `users`."""

    def db_for_read(self, model: Any, **_: Any) -> str:
        return "users"

    db_for_write = db_for_read
