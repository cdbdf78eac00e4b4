"""Facts survive rollback: what is so even if everything around it is undone is recorded apart from it.

A failed login has failed, and a token that came back has come back, whatever becomes of the transaction in which the
host found out. Such an event is written over a connection of its own, which commits at once.
"""

import logging
from contextlib import closing
from uuid import UUID

from django.db import DatabaseError, InterfaceError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from ninja_auth_kit.audit import outbox
from ninja_auth_kit.audit.messages import Message

logger = logging.getLogger("ninja_auth_kit.audit")


def is_surrounded(*, using: str) -> bool:
    """Tell whether a transaction is open that might undo what is written now.

    That of Django's TestCase is none: a second connection would leave rows behind, and would not see the test's own.
    """
    blocks = connections[using].atomic_blocks
    return bool(blocks) and not any(getattr(block, "_from_testcase", False) for block in blocks)


def outside_pool(*, using: str) -> BaseDatabaseWrapper:
    """Return another connection to a database, closed yet, and never one of the host's pool (`OPTIONS["pool"]`)."""
    apart = connections[using].copy()
    apart.settings_dict["OPTIONS"].pop("pool", None)
    return apart


def write_apart(message: Message, *, using: str, flood: UUID | None) -> bool:
    """Write the row of a fact and commit it, whatever is going on in this thread's transaction.

    Returns:
        False where that connection could not be had, such as where PostgreSQL has as many as it allows.
    """
    # Not from the host's pool: a thread that holds one and waits for another may wait for itself.
    apart = outside_pool(using=using)
    try:
        with closing(apart), apart.cursor() as cursor:
            outbox.insert(cursor, message, flood=flood)
    except (DatabaseError, InterfaceError) as error:
        logger.warning(
            "No second connection to the database (%s). A fact is in the transaction of what surrounds it, and lost "
            "if that is rolled back.",
            type(error).__name__,
        )
        return False
    return True
