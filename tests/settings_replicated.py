"""A project with a primary and a replica, as docs/postgresql.md says. `TEST_ROUTER` sends reads to the replica."""

import os
from typing import Any

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES as _DATABASES

_PRIMARY: dict[str, Any] = {
    **_DATABASES["default"],
    "CONN_MAX_AGE": None,
    "CONN_HEALTH_CHECKS": "TEST_HEALTH_CHECKS" in os.environ,
    "OPTIONS": {"target_session_attrs": os.environ.get("TEST_TARGET", "read-write"), "connect_timeout": 5},
}
_REPLICA = {**_DATABASES["default"], "HOST": os.environ.get("TEST_REPLICA_HOST", "")}
DATABASES: dict[str, Any] = {"default": _PRIMARY, "replica": _REPLICA}
DATABASE_ROUTERS = [f"{__name__}.{os.environ['TEST_ROUTER']}"] if "TEST_ROUTER" in os.environ else []


class Everything:
    """A router that sends every read to the replica."""

    def db_for_read(self, model: Any, **_: Any) -> str | None:
        return "replica"

    def db_for_write(self, model: Any, **_: Any) -> str:
        return "default"

    def allow_relation(self, one: Any, other: Any, **_: Any) -> bool:
        return True

    def allow_migrate(self, db: str, app_label: str, **_: Any) -> bool:
        return db == "default"


class ExceptUsers(Everything):
    """The same, except the reads of the users: the router of docs/postgresql.md."""

    def db_for_read(self, model: Any, **_: Any) -> str | None:
        return "default" if model._meta.app_label in {"auth", "ninja_auth_kit"} else "replica"
