"""Revocation by an operator: ending the sessions of one user, of everybody, or those that an administrator chose."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

from ninja_auth_kit import signals
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.models import UserSession
from ninja_auth_kit.models.managers import atomic
from ninja_auth_kit.models.sessions import EndReason
from ninja_auth_kit.models.users import lock_user


def revoke_sessions(*, user_id: Any, reason: str = EndReason.REVOKED) -> int:
    """End every session of a user at once, and return how many there were. Again, it ends none.

    Args:
        user_id: whose, even if the host's default manager hides the user.
        reason: what the audit events say, a word such as "stolen_laptop".
    """
    return len(_revoke(user_id=user_id, reason=reason, by="system"))


def revoke_all_sessions(*, reason: str = EndReason.REVOKED) -> Iterator[int]:
    """End every session of everybody, one user after the other, each in a transaction of its own.

    Yields how many sessions of a user were ended. Who stops in the middle has revoked some; again, it does the rest.
    A login while it runs is not undone.
    """
    active = UserSession.objects.filter(is_active=True)
    for key in active.order_by().values_list("user_id", flat=True).distinct().iterator(chunk_size=1000):
        yield revoke_sessions(user_id=key, reason=reason)


def revoke_chosen_sessions(*, sessions: Iterable[UserSession], admin: Any, client: ClientInfo) -> set[UUID]:
    """End these sessions, one user after the other, and return the ids of those that had not ended yet.

    Args:
        sessions: which, of whatever users.
        admin: the administrator who ends them; the audit events say so.
        client: where the administrator is calling from.
    """
    chosen: dict[Any, list[UUID]] = defaultdict(list)
    for session in sessions:
        chosen[session.user_id].append(session.pk)
    ended: set[UUID] = set()
    for user_id, ids in chosen.items():
        ended |= _revoke(user_id=user_id, ids=ids, by="admin", actor_id=str(admin.pk), client=client)
    return ended


def _revoke(
    *,
    user_id: Any,
    ids: list[UUID] | None = None,
    reason: str = EndReason.REVOKED,
    client: ClientInfo | None = None,
    **actor: str,
) -> set[UUID]:
    with atomic():
        user = lock_user(user_id)
        ended = UserSession.objects.end(reason=EndReason.REVOKED, ids=ids, user_id=user_id)
        for session in ended:
            signals.session_revoked.announce(
                user=user, client=client, session_id=session.id, reason=str(reason), **actor
            )
    return {session.id for session in ended}
