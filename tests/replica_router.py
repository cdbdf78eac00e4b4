"""A database router that sends every read of the users and of the kit to a replica that is away.

Each such read fails, so a test that runs with it shows that the kit reads from the database that it writes to.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.contrib.auth import backends as django_backends
from django.contrib.auth import get_user_model
from django.db import connections

REPLICA = "replica"


@contextmanager
def replica_that_is_away() -> Iterator[None]:
    """Add the alias of the replica to the databases of this process. Django's tests forbid a statement for it."""
    connections.settings[REPLICA] = {**connections.settings["default"], "HOST": "127.0.0.1", "PORT": "1"}
    try:
        yield
    finally:
        del connections.settings[REPLICA]
        with suppress(AttributeError):  # nothing has used it
            del connections[REPLICA]


class Router:
    """Send every read to the replica, except those of Django itself.

    `ModelBackend` reads the user by the router. The page about replicas tells projects to send these reads to the
    primary.
    """

    def db_for_read(self, model: Any, **_: Any) -> str:
        label = model._meta.app_label
        is_ours = label.startswith("ninja_auth_kit") or label == get_user_model()._meta.app_label
        return REPLICA if is_ours and not _is_called_by(django_backends.__file__) else "default"

    def db_for_write(self, model: Any, **_: Any) -> str:
        return "default"

    def allow_relation(self, one: Any, other: Any, **_: Any) -> bool:
        return True  # rows that were read from a replica belong to the same database


def _is_called_by(file: str) -> bool:
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename == file:
            return True
        frame = frame.f_back  # type: ignore[assignment]  # None after the last
    return False
