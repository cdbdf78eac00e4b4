"""The manager that sends all queries to the accounts database."""

from typing import TypeVar

from django.db import models

from ninja_auth_kit.conf import accounts_database

Row = TypeVar("Row", bound=models.Model)


class PrimaryManager(models.Manager[Row]):
    """Send every query to the accounts database, even if a database router sends reads elsewhere.

    A replica that lags behind would accept a session that has ended.
    """

    def get_queryset(self) -> "models.QuerySet[Row]":
        """Return a queryset on the accounts database."""
        return super().get_queryset().using(accounts_database())
