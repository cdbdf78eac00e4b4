"""Where the kit reads and writes: the primary, always. A replica that lags would let an ended session live on."""

from typing import TypeVar

from django.contrib.auth import get_user_model
from django.db import models, router

Row = TypeVar("Row", bound=models.Model)


def database() -> str:
    """Return the alias that users are written to, and so everything of the kit: a transaction spans one database."""
    return router.db_for_write(get_user_model())


class PrimaryManager(models.Manager[Row]):
    """A manager whose every query goes to `database()`, whatever the router says about reading."""

    def get_queryset(self) -> "models.QuerySet[Row]":
        """Return a queryset on the primary."""
        return super().get_queryset().using(database())
