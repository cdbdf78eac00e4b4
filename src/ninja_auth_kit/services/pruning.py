"""Pruning: deleting rows that nothing asks for any more.

Nothing that revocation or the detection of reuse needs is touched: a session goes a while after it was ended, or after
its absolute limit, and a blacklisted token when it would long have expired by itself.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import connections
from django.db.models import Model, Q
from django.utils import timezone

from ninja_auth_kit.conf import accounts_database, settings
from ninja_auth_kit.models import BlacklistedToken, OneTimeToken, ThrottleBucket, UserSession

BATCH = 5000

# By the index on the time, the oldest first: the next batch does not wade through what this one has deleted. And by
# `ctid`, which says where the locked row lies: that saves looking each key up.
_DELETE = """
DELETE FROM {table} WHERE ctid = ANY (ARRAY (
    SELECT ctid FROM {table} WHERE {column} < %s ORDER BY {column} LIMIT %s FOR UPDATE SKIP LOCKED
))
"""


class Prunable(NamedTuple):
    """Rows that may go: those of a model whose time, an indexed field of it, lies before a moment."""

    model: type[Model]
    field: str
    before: datetime


class Pruned(NamedTuple):
    """One batch: of which model, and how many rows."""

    model: type[Model]
    rows: int


def prunable(*, now: datetime, keep: timedelta) -> list[Prunable]:
    """Return which rows may go.

    Args:
        now: the time that counts.
        keep: how long what is over is kept, for people who ask what happened.
    """
    over = now - keep
    # A login voids the links for a new password that were mailed before: as long as one may live, it must be seen.
    forgotten = min(over, now - settings.PASSWORD_RESET_LIFETIME)
    # As long as a token of it could come back in time, it is known that its session was ended.
    ended = min(forgotten, now - settings.REFRESH_TOKEN_LIFETIME)
    # No token outlives its session's absolute limit.
    expired = now - max(keep, settings.SESSION_LIFETIME)
    return [
        Prunable(UserSession, "logout_time", ended),
        Prunable(UserSession, "expires_at", forgotten),
        Prunable(BlacklistedToken, "blacklisted_at", expired),
        Prunable(OneTimeToken, "expires_at", over),
        Prunable(ThrottleBucket, "resets_at", now),
    ]


def count_prunable(*, keep: timedelta) -> dict[type[Model], int]:
    """Return how many rows of each model may go now."""
    chosen: dict[type[Model], Q] = {}
    for model, field, before in prunable(now=timezone.now(), keep=keep):
        chosen[model] = chosen.get(model, Q()) | Q(**{f"{field}__lt": before})
    return {
        model: model._base_manager.using(accounts_database()).filter(rows).count() for model, rows in chosen.items()
    }


def prune(*, keep: timedelta, batch: int = BATCH) -> Iterator[Pruned]:
    """Delete what may go, in batches that each commit; rows that somebody has locked wait for the next time.

    Args:
        keep: how long what is over is kept.
        batch: how many rows are deleted per transaction.
    """
    for rows in prunable(now=timezone.now(), keep=keep):
        while deleted := _delete(rows, limit=batch):
            yield Pruned(rows.model, deleted)


def _delete(rows: Prunable, *, limit: int) -> int:
    connection = connections[accounts_database()]
    quote = connection.ops.quote_name
    sql = _DELETE.format(table=quote(rows.model._meta.db_table), column=quote(rows.field))
    with connection.cursor() as cursor:
        cursor.execute(sql, [rows.before, limit])
        return int(cursor.rowcount)
