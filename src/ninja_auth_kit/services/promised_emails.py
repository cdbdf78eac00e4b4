"""Send the promised emails that the processes which promised them have not sent.

A process may have been stopped before its email left, or the mail server may have been away. Every web process looks
for such emails in a thread, and so does `authkit_relay`. Any number of processes may look: each claims other rows.
"""

import logging
import random
import threading
from collections.abc import Iterable
from itertools import count
from typing import Any

from django.db import DatabaseError, InterfaceError, ProgrammingError, connections

from ninja_auth_kit.conf import accounts_database
from ninja_auth_kit.connection_state import Restore, background_connection, connection_state
from ninja_auth_kit.exceptions import clear_local_variables, describe_database_error
from ninja_auth_kit.models import PromisedEmail
from ninja_auth_kit.services.internal.promises import deliver, is_outage
from ninja_auth_kit.tenancy import is_outside_tenants, tenant_of, tenants_where

logger = logging.getLogger("ninja_auth_kit.emails")

PAUSE = (5.0, 15.0)  # seconds between two looks of a web process, at least and at most
EMAILS_OF_A_TENANT = 20  # that are sent before it is the turn of the next tenant

_jitter = random.Random()  # noqa: S311  # not a secret; apart from that of your project, which tests may seed


def send_due(stop: threading.Event | None = None) -> int:
    """Send the promised emails that are due, the oldest first, and return how many were processed.

    If the tables are in the schemas of tenants, and the connection is not in one of them, send those of all tenants.

    It ends early if the mail server does not answer, so that one round costs at most one timeout.

    Args:
        stop: set it to end after the email that is being sent.

    Raises:
        DatabaseError: the database is not available. No email is lost.
    """
    stop = stop or threading.Event()
    if is_outside_tenants(connections[accounts_database()]):
        return _send_due_of_tenants(stop)
    processed, _ = _send_some(stop, count())
    return processed


def _send_some(stop: threading.Event, attempts: Iterable[int]) -> tuple[int, bool]:
    """Send one email for each attempt, and return how many were processed, and whether the mail server is away."""
    processed = 0
    for _ in attempts:
        if stop.is_set() or (promised := PromisedEmail.objects.claim_due()) is None:
            break
        processed += 1
        error = deliver(promised)
        if error is not None and is_outage(error):
            return processed, True
    return processed, False


def _send_due_of_tenants(stop: threading.Event) -> int:
    """Send the emails of all tenants: in each round, at most `EMAILS_OF_A_TENANT` of each."""
    connection = connections[accounts_database()]
    processed, is_away, sent = 0, False, 1
    while sent and not is_away and not stop.is_set():
        sent = 0
        for tenant in tenants_where(connection, PromisedEmail.objects.is_due_in):
            count, is_away = _send_some_of(tenant, stop)
            sent += count
            if is_away:
                break
        processed += sent
    return processed


def _send_some_of(tenant: Any, stop: threading.Event) -> tuple[int, bool]:
    """Send some emails of a tenant. A schema that was dropped or is not migrated does not stop the others."""
    try:
        with tenant_of(connections[accounts_database()], tenant):
            return _send_some(stop, range(EMAILS_OF_A_TENANT))
    except ProgrammingError as error:
        logger.warning("Promised emails of the tenant %s wait. %s", tenant.schema_name, describe_database_error(error))
        return 0, False


def run(stop: threading.Event) -> None:
    """Look for promised emails that are due, and send them, until `stop` is set."""
    is_failing = False
    while not stop.wait(_jitter.uniform(*PAUSE)):
        is_failing = not send_due_and_log(stop, log=not is_failing)


def send_due_and_log(stop: threading.Event, *, log: bool = True, restore: Restore | None = None) -> bool:
    """Send what is due over a connection of its own. Return False, after logging why, if the database failed.

    Args:
        stop: set it to end after the email that is being sent.
        log: whether to log an error of the database.
        restore: puts the state of another thread onto the connection.
    """
    using = accounts_database()
    try:
        restore = restore or connection_state(connections[using])
        with background_connection(restore, using=using):
            send_due(stop)
    except (DatabaseError, InterfaceError) as error:
        if log:
            logger.warning("Promised emails wait. %s", describe_database_error(error))
        return False
    except Exception as error:  # no supervisor would restart this thread
        clear_local_variables(error)  # a token may be among them
        logger.exception("Promised emails wait because of an unexpected error.")
    return True


def start() -> None:
    """Start a daemon thread that sends what is due. It ends with the process, and a fork does not copy it."""
    threading.Thread(target=run, args=[threading.Event()], name="ninja_auth_kit-promised-emails", daemon=True).start()
