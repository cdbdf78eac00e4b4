"""Pruning: delete rows that are no longer needed.

Rows that revocation or reuse detection need stay. A session is deleted some time after it was ended, or after its
absolute limit. A blacklisted token is deleted when it must have expired.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import connections
from django.db.models import Model, Q
from django.utils import timezone

from ninja_auth_kit.conf import accounts_database, settings
from ninja_auth_kit.models import BlacklistedToken, OneTimeToken, PromisedEmail, ThrottleBucket, UserSession

BATCH = 5000

# Oldest first, by the index on the time column, so that the next batch does not scan the rows that
# this one has deleted. By `ctid`, the physical position of the locked row, because that saves a
# look-up of each primary key.
_DELETE = """
DELETE FROM {table} WHERE ctid = ANY (ARRAY (
    SELECT ctid FROM {table} WHERE {column} < %s ORDER BY {column} LIMIT %s FOR UPDATE SKIP LOCKED
))
"""


class Prunable(NamedTuple):
    """Rows that may be deleted: those of a model in which an indexed time field is before a moment."""

    model: type[Model]
    field: str
    before: datetime


class Pruned(NamedTuple):
    """A batch that was deleted: the model, and the number of rows."""

    model: type[Model]
    rows: int


def prune(*, keep: timedelta, batch: int = BATCH) -> Iterator[Pruned]:
    """Delete the rows that may be deleted, in batches that each commit. Rows that are locked wait for the next run.

    Args:
        keep: how long ended and expired rows are kept.
        batch: the maximum number of rows per transaction.
    """
    for rows in prunable(now=timezone.now(), keep=keep):
        while deleted := _delete(rows, limit=batch):
            yield Pruned(rows.model, deleted)


def count_prunable(*, keep: timedelta) -> dict[type[Model], int]:
    """Return how many rows of each model may be deleted now."""
    chosen: dict[type[Model], Q] = {}
    for model, field, before in prunable(now=timezone.now(), keep=keep):
        chosen[model] = chosen.get(model, Q()) | Q(**{f"{field}__lt": before})
    return {
        model: model._base_manager.using(accounts_database()).filter(rows).count() for model, rows in chosen.items()
    }


def prunable(*, now: datetime, keep: timedelta) -> list[Prunable]:
    """Return which rows may be deleted.

    Args:
        now: the current time.
        keep: how long ended and expired rows are kept, so that people can look up what happened.
    """
    over = now - keep
    # A login invalidates the password reset links that were sent before it. As long as such a link
    # would otherwise be valid, the session of the login must be there.
    past_resets = min(over, now - settings.PASSWORD_RESET_LIFETIME)
    # As long as a refresh token of an ended session can come back, the session must be there.
    past_tokens = min(past_resets, now - settings.REFRESH_TOKEN_LIFETIME)
    # No refresh token is valid after the absolute limit of its session.
    past_sessions = now - max(keep, settings.SESSION_LIFETIME)
    return [
        Prunable(UserSession, "logout_time", past_tokens),
        Prunable(UserSession, "expires_at", past_resets),
        Prunable(BlacklistedToken, "blacklisted_at", past_sessions),
        Prunable(OneTimeToken, "expires_at", over),
        Prunable(PromisedEmail, "ended_at", over),
        Prunable(ThrottleBucket, "resets_at", now),
    ]


def _delete(rows: Prunable, *, limit: int) -> int:
    connection = connections[accounts_database()]
    quote = connection.ops.quote_name
    sql = _DELETE.format(table=quote(rows.model._meta.db_table), column=quote(rows.field))
    with connection.cursor() as cursor:
        cursor.execute(sql, [rows.before, limit])
        return int(cursor.rowcount)
