"""A process that writes events as the kit does: `python -m tests.faults.writer '{"events": 1000}'`.

Each transaction moves a user's session to its next generation and announces `token_refreshed`. The
sessions thus show which events must arrive and in which order, whatever a fault has done to a
commit. Some transactions are rolled back after the announcement. Their events carry an id that must
never arrive.
"""

import json
import logging
import random
import sys
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import django
import time_machine

from tests.faults.seed import USERS

ROLLED_BACK = uuid.UUID(int=0xDEAD)
PATIENCE = 0.05  # seconds between attempts while the database is down


@dataclass(frozen=True)
class Orders:
    """The orders of a writer.

    Attributes:
        events: how many events it writes.
        rate: how many events per second, or None for as many as possible.
        clock: how many seconds its clock is fast.
        users: the range of its users: the first, and the one after the last.
        undo_every: one in this many transactions is rolled back.
        savepoint: roll back only a savepoint, while its transaction commits another event.
        hold_until: the path of a file; each transaction stays open until it exists.
        receiver: what a signal receiver of the project does with each event: "raise", "sleep" or "".
        log: whether to print the kit's log lines about its events.
        seed: the seed for the choice of users.
    """

    events: int
    rate: float | None = None
    clock: float = 0.0
    users: tuple[int, int] = (0, USERS - 1)
    undo_every: int = 20
    savepoint: bool = False
    hold_until: str = ""
    receiver: str = ""
    log: bool = False
    seed: int = 0


class _UndoneError(Exception):
    pass


def main(orders: Orders) -> dict[str, int]:
    """Write the events, and return how many were committed, rolled back on purpose, or failed."""
    from django.db import DatabaseError, InterfaceError, connection, transaction

    chance = random.Random(orders.seed)
    done = {"written": 0, "rolled_back": 0, "errors": 0}
    begun = time.monotonic()
    _connect(orders.receiver)
    if orders.log:
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    sessions = _sessions()[slice(*orders.users)]
    while done["written"] < orders.events:
        undo = chance.randrange(orders.undo_every) == 0
        try:
            with transaction.atomic():
                _write(chance.choice(sessions), undo=undo, savepoint=orders.savepoint)
                while orders.hold_until and not Path(orders.hold_until).exists():
                    time.sleep(0.05)
            done["written"] += 1
        except _UndoneError:
            done["rolled_back"] += 1
        except (DatabaseError, InterfaceError):
            done["errors"] += 1
            connection.close()
            time.sleep(PATIENCE)
        if orders.rate is not None:
            time.sleep(max(0.0, begun + done["written"] / orders.rate - time.monotonic()))
    return done


def _sessions() -> list[tuple[uuid.UUID, Any]]:
    """Return the sessions of the writers' users, without those of visitors."""
    from ninja_auth_kit.models import UserSession

    rows = UserSession.objects.filter(user__username__startswith="user").select_related("user").order_by("user_id")
    return [(row.pk, row.user) for row in rows]


def _write(session: tuple[uuid.UUID, Any], *, undo: bool, savepoint: bool) -> None:
    """Refresh a session in a transaction, or roll the refresh back."""
    from django.db import transaction

    if undo and savepoint:
        with suppress(_UndoneError), transaction.atomic():
            _refresh(session, undo=True)
    _refresh(session, undo=undo and not savepoint)


def _refresh(session: tuple[uuid.UUID, Any], *, undo: bool) -> None:
    """Change the session and announce it, as the kit's refresh does."""
    from django.db import connection

    from ninja_auth_kit import signals
    from ninja_auth_kit.client import ClientInfo
    from ninja_auth_kit.models import UserSession

    session_id, user = session
    with connection.cursor() as cursor:
        cursor.execute(
            f'UPDATE "{UserSession._meta.db_table}" SET generation = generation + 1 '
            "WHERE id = %s RETURNING generation",
            [session_id],
        )
        (generation,) = cursor.fetchone()
    signals.token_refreshed.announce(
        using="default",
        user=user,
        client=ClientInfo(ip_address="192.0.2.7", user_agent="a writer of the fault suite"),
        session_id=ROLLED_BACK if undo else session_id,
        generation=generation,
        rotated=True,
    )
    if undo:
        raise _UndoneError


def _connect(receiver: str) -> None:
    """Connect a faulty signal receiver."""
    from ninja_auth_kit import signals

    if receiver == "raise":
        signals.token_refreshed.connect(_fail, weak=False)
    elif receiver == "sleep":
        signals.token_refreshed.connect(lambda **_: time.sleep(0.005), weak=False)


def _fail(**_: Any) -> None:
    raise RuntimeError("a receiver of the project failed")


if __name__ == "__main__":
    _orders = Orders(**json.loads(sys.argv[1]))
    django.setup()
    if _orders.clock:
        time_machine.travel(time.time() + _orders.clock, tick=True).start()
    print(json.dumps(main(_orders)))
