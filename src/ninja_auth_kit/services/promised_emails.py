"""Send the promised emails that the processes which promised them have not sent.

A process may have been stopped before its email left, or the mail server may have been away. Every web process looks
for such emails in a thread, and so does `authkit_relay`. Any number of processes may look: each claims other rows.
"""

import logging
import random
import threading

from django.db import DatabaseError, InterfaceError, connections

from ninja_auth_kit.conf import accounts_database
from ninja_auth_kit.exceptions import clear_local_variables, describe_database_error
from ninja_auth_kit.models import PromisedEmail
from ninja_auth_kit.services.internal.promises import deliver, is_outage

logger = logging.getLogger("ninja_auth_kit.emails")

PAUSE = (5.0, 15.0)  # seconds between two looks of a web process, at least and at most

_jitter = random.Random()  # noqa: S311  # not a secret; apart from that of your project, which tests may seed


def send_due(stop: threading.Event | None = None) -> int:
    """Send the promised emails that are due, the oldest first, and return how many were processed.

    It ends early if the mail server does not answer, so that one round costs at most one timeout.

    Args:
        stop: set it to end after the email that is being sent.

    Raises:
        DatabaseError: the database is not available. No email is lost.
    """
    processed = 0
    while not (stop and stop.is_set()) and (promised := PromisedEmail.objects.claim_due()) is not None:
        processed += 1
        error = deliver(promised)
        if error is not None and is_outage(error):
            break
    return processed


def run(stop: threading.Event) -> None:
    """Look for promised emails that are due, and send them, until `stop` is set."""
    is_failing = False
    while not stop.wait(_jitter.uniform(*PAUSE)):
        is_failing = not send_due_and_log(stop, log=not is_failing)


def send_due_and_log(stop: threading.Event, *, log: bool = True) -> bool:
    """Send what is due over a connection of its own. Return False, after logging why, if the database failed.

    Args:
        stop: set it to end after the email that is being sent.
        log: whether to log an error of the database.
    """
    try:
        send_due(stop)
    except (DatabaseError, InterfaceError) as error:
        if log:
            logger.warning("Promised emails wait. %s", describe_database_error(error))
        return False
    except Exception as error:  # no supervisor would restart this thread
        clear_local_variables(error)  # a token may be among them
        logger.exception("Promised emails wait because of an unexpected error.")
    finally:
        connections[accounts_database()].close()
    return True


def start() -> None:
    """Start a daemon thread that sends what is due. It ends with the process, and a fork does not copy it."""
    threading.Thread(target=run, args=[threading.Event()], name="ninja_auth_kit-promised-emails", daemon=True).start()
