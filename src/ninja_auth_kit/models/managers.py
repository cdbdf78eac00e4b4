"""The manager of every model, which sends all queries to the accounts database.

Reads go there too: a lagging replica would accept a session that has ended.
"""

from typing import TypeVar

from django.db import models

from ninja_auth_kit.conf import accounts_database

Row = TypeVar("Row", bound=models.Model)


class PrimaryManager(models.Manager[Row]):
    """A manager that sends every query to the accounts database, whatever a router says about reads."""

    def get_queryset(self) -> "models.QuerySet[Row]":
        """Return a queryset on the accounts database."""
        return super().get_queryset().using(accounts_database())
