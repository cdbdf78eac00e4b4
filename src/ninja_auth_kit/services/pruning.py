"""Pruning: deleting rows that nothing asks for any more.

Nothing that revocation or the detection of reuse needs is touched: a session goes a while after it has ended or its
last refresh token has expired, a blacklisted token when it would long have expired by itself.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import connections, transaction
from django.db.models import Model, Q
from django.utils import timezone

from ninja_auth_kit.conf import settings
from ninja_auth_kit.models import BlacklistedToken, OneTimeToken, ThrottleBucket, UserSession, database

BATCH = 1000


class Pruned(NamedTuple):
    """One batch: of which model, and how many rows."""

    model: type[Model]
    rows: int


def prunable(*, now: datetime, keep: timedelta) -> dict[type[Model], Q]:
    """Return which rows of each model may go.

    Args:
        now: the time that counts.
        keep: how long what is over is kept, for people who ask what happened.
    """
    over = now - keep
    return {
        # A login voids the links for a new password that were mailed before: as long as one may live, it must be seen.
        UserSession: Q(login_time__lt=now - settings.PASSWORD_RESET_LIFETIME)
        & (Q(refresh_expires_at__lt=over) | Q(is_active=False, logout_time__lt=over)),
        # No token outlives its session's absolute limit.
        BlacklistedToken: Q(blacklisted_at__lt=now - max(keep, settings.SESSION_LIFETIME)),
        OneTimeToken: Q(expires_at__lt=over),
        ThrottleBucket: Q(resets_at__lt=now),
    }


def count_prunable(*, keep: timedelta) -> dict[type[Model], int]:
    """Return how many rows of each model may go now."""
    which = prunable(now=timezone.now(), keep=keep)
    return {model: model._base_manager.using(database()).filter(rows).count() for model, rows in which.items()}


def prune(*, keep: timedelta, batch: int = BATCH) -> Iterator[Pruned]:
    """Delete what may go, in batches that each commit; rows that somebody has locked wait for the next time.

    Args:
        keep: how long what is over is kept.
        batch: how many rows are deleted per transaction.
    """
    for model, rows in prunable(now=timezone.now(), keep=keep).items():
        while deleted := _delete(model, rows, limit=batch):
            yield Pruned(model, deleted)


def _delete(model: type[Model], rows: Q, *, limit: int) -> int:
    alias = database()
    with transaction.atomic(using=alias):
        found = model._base_manager.using(alias).filter(rows).select_for_update(skip_locked=True)
        keys = list(found.values_list("pk", flat=True)[:limit])
        if not keys:
            return 0
        table = connections[alias].ops.quote_name(model._meta.db_table)
        with connections[alias].cursor() as cursor:
            cursor.execute(f"DELETE FROM {table} WHERE id = ANY(%s)", [keys])  # noqa: S608  # a name of ours
        return len(keys)
