"""Events that the broker refused: they are set aside, so that they hold up no other event, and are tried again.

They may be published later than younger events of the same user. This is the one exception to the order.
"""

from django.db import connections
from django.db.backends.utils import CursorWrapper

from ninja_auth_kit.audit.broker.batch import ClaimedEvent, PublishResult
from ninja_auth_kit.audit.relay import sql
from ninja_auth_kit.audit.relay.claims import BatchClaim, refusal_values


class RetryReader:
    """Reads the deferred events that are due for one relay. It has the methods of `claims.OutboxReader`.

    Args:
        using: the alias of the database.
    """

    def __init__(self, *, using: str) -> None:
        self.using = using

    def has_events(self) -> bool:
        """Return whether any deferred event is due."""
        with connections[self.using].cursor() as cursor:
            cursor.execute(sql.HAS_DUE_RETRIES)
            (has_events,) = cursor.fetchone()
        return bool(has_events)

    def claim(self, cursor: CursorWrapper, claim: BatchClaim, *, limit: int) -> list[ClaimedEvent]:
        """Return the oldest due events of the claim's shards. Their rows are locked until the transaction ends."""
        cursor.execute(sql.CLAIM_RETRIES, {"shards": claim.shards, "limit": limit})
        return [ClaimedEvent(id, str(event_id), key, payload) for id, event_id, key, payload in cursor.fetchall()]

    def settle(self, cursor: CursorWrapper, claim: BatchClaim, result: PublishResult) -> None:
        """Delete the events that the broker confirmed, and put off those that it refused again."""
        cursor.execute(sql.DELETE_CONFIRMED_RETRIES, {"ids": result.confirmed})
        if result.refused:
            cursor.execute(sql.TRY_LATER, refusal_values(result.refused))


def requeue(ids: list[int], *, using: str) -> set[int]:
    """Put deferred events back into the outbox, and return the ids of those that are there now.

    They keep the ids that they had there, so the relay publishes them in their order, before younger events. Poison
    stays deferred, because it can never be sent.

    Args:
        ids: the ids of the deferred events.
        using: the alias of the database.
    """
    return _execute(sql.REQUEUE, ids, using=using)


def discard(ids: list[int], *, using: str) -> set[int]:
    """Delete deferred events, which no consumer will then receive, and return the ids of those that were deleted.

    An event that a relay is publishing at the moment stays.

    Args:
        ids: the ids of the deferred events.
        using: the alias of the database.
    """
    return _execute(sql.DISCARD, ids, using=using)


def _execute(statement: str, ids: list[int], *, using: str) -> set[int]:
    with connections[using].cursor() as cursor:
        cursor.execute(statement, {"ids": ids})
        return {id for (id,) in cursor.fetchall()}
