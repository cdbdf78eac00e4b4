"""Pruning: delete rows that are no longer needed.

Rows that revocation or reuse detection need stay. A session is deleted some time after it was ended, or after its
absolute limit. A blacklisted token is deleted when it must have expired.
"""

import copy
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.db import IntegrityError, connections
from django.db.models import Exists, Model, OuterRef, ProtectedError, Q, QuerySet, RestrictedError
from django.utils import timezone

from ninja_auth_kit import features, signals
from ninja_auth_kit.conf import accounts_database, atomic, settings
from ninja_auth_kit.features import Prunable
from ninja_auth_kit.models import (
    BlacklistedToken,
    EmailAddress,
    OneTimeToken,
    PromisedEmail,
    ShadowRegistration,
    SpentTicket,
    ThrottleBucket,
    UserSession,
)
from ninja_auth_kit.models.users import is_pending, lock_user, set_address

BATCH = 5000

# Oldest first, by the index on the time column, so that the next batch does not scan the rows that
# this one has deleted. By `ctid`, the physical position of the locked row, because that saves a
# look-up of each primary key.
_DELETE = """
DELETE FROM {table} WHERE ctid = ANY (ARRAY (
    SELECT ctid FROM {table} WHERE {column} < %s ORDER BY {column} LIMIT %s FOR UPDATE SKIP LOCKED
))
"""


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
    counts = {
        model: model._base_manager.using(accounts_database()).filter(rows).count() for model, rows in chosen.items()
    }
    oldest = unverified_before(timezone.now())
    return counts if oldest is None else {**counts, get_user_model(): sum(1 for _ in _deletable(oldest))}


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
    unverified = unverified_before(now)
    # With the pending registrations: a login must not reveal which of the two a registration was.
    shadows = [] if unverified is None else [Prunable(ShadowRegistration, "registered_at", unverified)]
    return [
        *shadows,
        Prunable(UserSession, "logout_time", past_tokens),
        Prunable(UserSession, "expires_at", past_resets),
        Prunable(BlacklistedToken, "blacklisted_at", past_sessions),
        Prunable(OneTimeToken, "expires_at", over),
        Prunable(PromisedEmail, "ended_at", over),
        Prunable(SpentTicket, "expires_at", now),
        Prunable(ThrottleBucket, "resets_at", now),
        *(rows for feature in features.features() if feature.prunable for rows in feature.prunable(now, keep)),
    ]


def _delete(rows: Prunable, *, limit: int) -> int:
    connection = connections[accounts_database()]
    quote = connection.ops.quote_name
    sql = _DELETE.format(table=quote(rows.model._meta.db_table), column=quote(rows.field))
    with connection.cursor() as cursor:
        cursor.execute(sql, [rows.before, limit])
        return int(cursor.rowcount)


# Registrations that were never verified. They are users of your project, so they are deleted by the ORM, one by one.


def unverified_before(now: datetime) -> datetime | None:
    """Return the time before which a registration must have begun to be deleted, or None if they are kept.

    None also if users need not verify their address, because they may then be using their accounts.
    """
    if settings.UNVERIFIED_RETENTION is None or not settings.EMAIL_VERIFICATION_REQUIRED:
        return None
    retention: timedelta = settings.UNVERIFIED_RETENTION
    return now - retention


def prune_unverified(*, batch: int = BATCH) -> Iterator[bool]:
    """Delete registrations that were never verified, each in its own transaction.

    Yield True for each that was deleted, and False for each whose user is protected by rows of your project. Users who
    were made elsewhere, have ever logged in, have a session or are staff are never deleted.

    Args:
        batch: how many rows are read at once.
    """
    before = unverified_before(timezone.now())
    if before is None:
        return
    last = 0
    while found := list(unverified(before).filter(pk__gt=last).order_by("pk")[:batch]):
        for address in found:
            outcome = _delete_registration(address.user_id, before)
            if outcome is not None:
                yield outcome
        last = found[-1].pk


def unverified(before: datetime) -> QuerySet[EmailAddress]:
    """Return the addresses of the registrations that began before a time and were never verified."""
    has_session = UserSession.objects.filter(user=OuterRef("user"))
    return EmailAddress.objects.filter(~Exists(has_session), verified_at=None, registered_at__lt=before)


def _deletable(before: datetime) -> Iterator[EmailAddress]:
    for address in unverified(before).select_related("user").iterator(chunk_size=BATCH):
        set_address(address.user, address)
        if is_pending(address.user):
            yield address


def _delete_registration(user_id: Any, before: datetime) -> bool | None:
    """Delete a user. Return False if rows protect the user, and None if the user must not be deleted any more."""
    try:
        with atomic():
            user = lock_user(user_id)
            if user is None or not is_pending(user) or not unverified(before).filter(user=user_id).exists():
                return None
            deleted = copy.copy(user)  # receivers need the primary key, which delete() removes
            signals.account_deleted.announce(user=deleted, client=None, sessions_ended=0, by="system")
            user.delete()
    except (ProtectedError, RestrictedError, IntegrityError):
        return False
    return True
