"""Revocation by an operator: ending the sessions of one user, or of everybody."""

from collections.abc import Iterator
from typing import Any

from django.db import transaction

from ninja_auth_kit import signals
from ninja_auth_kit.models import EndReason, UserSession, database, lock_user


def revoke_sessions(*, user_id: Any, reason: str = EndReason.REVOKED) -> int:
    """End every session of a user at once, and return how many there were. Again, it ends none.

    Args:
        user_id: whose, even if the host's default manager hides the user.
        reason: what the audit events say, a word such as "stolen_laptop".
    """
    with transaction.atomic(using=database()):
        user = lock_user(user_id)
        ended = UserSession.objects.end(reason=EndReason.REVOKED, user_id=user_id)
        for session in ended:
            signals.session_revoked.announce(
                using=database(), user=user, client=None, session_id=session.id, reason=reason, by="system"
            )
    return len(ended)


def revoke_all_sessions(*, reason: str = EndReason.REVOKED) -> Iterator[int]:
    """End every session of everybody, one user after the other, each in a transaction of its own.

    Yields how many sessions of a user were ended. Who stops in the middle has revoked some; again, it does the rest.
    A login while it runs is not undone.
    """
    active = UserSession.objects.filter(is_active=True)
    for key in active.order_by().values_list("user_id", flat=True).distinct().iterator(chunk_size=1000):
        yield revoke_sessions(user_id=key, reason=reason)
