"""The manager of every model and the transactions of the kit: both use the accounts database.

Reads go to the primary too. A lagging replica would accept a session that has ended.
"""

from typing import TypeVar

from django.db import models, transaction

from ninja_auth_kit.conf import accounts_database

Row = TypeVar("Row", bound=models.Model)


def atomic() -> transaction.Atomic:
    """Return `transaction.atomic` for the accounts database."""
    return transaction.atomic(using=accounts_database())


class PrimaryManager(models.Manager[Row]):
    """A manager that sends every query to the accounts database, whatever a router says about reads."""

    def get_queryset(self) -> "models.QuerySet[Row]":
        """Return a queryset on the accounts database."""
        return super().get_queryset().using(accounts_database())
