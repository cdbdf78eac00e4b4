"""A project with SQLite as its default database; `TEST_ROUTER` names the router that sends the users elsewhere."""

import os
from typing import Any

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES as _DATABASES

_SQLITE = {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ.get("TEST_SQLITE", ":memory:")}
_ROUTER = os.environ.get("TEST_ROUTER")
DATABASES: dict[str, Any] = {"default": _SQLITE, **({"users": _DATABASES["default"]} if _ROUTER else {})}
DATABASE_ROUTERS = [f"{__name__}.{_ROUTER}"] if _ROUTER else []


class AuthOnly:
    """The router of Django's documentation, which names the apps that users need, and not the kit."""

    labels = frozenset({"auth", "contenttypes", "host_app"})

    def db_for_read(self, model: Any, **_: Any) -> str | None:
        return "users" if model._meta.app_label in self.labels else None

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **_: Any) -> bool | None:
        return db == "users" if app_label in self.labels else None


class Complete(AuthOnly):
    """The same router with the kit."""

    labels = AuthOnly.labels | {"ninja_auth_kit"}


class ByModel(Complete):
    """A router that decides by the model, and lets operations without a model run everywhere."""

    def allow_migrate(self, db: str, app_label: str, model_name: str | None = None, **_: Any) -> bool | None:
        return super().allow_migrate(db, app_label) if model_name else None


class WithoutMigrations(Complete):
    """A router that forgets `allow_migrate`."""

    def allow_migrate(self, db: str, app_label: str, **_: Any) -> bool | None:
        return None


class Crossed(Complete):
    """A router that does not allow the tables of the kit in the database of the users."""

    def allow_migrate(self, db: str, app_label: str, **_: Any) -> bool | None:
        return db != "users" if app_label == "ninja_auth_kit" else super().allow_migrate(db, app_label)
