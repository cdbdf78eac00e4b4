"""The relay in a thread of a web process, for development or a single small machine (`AUDIT_EMBEDDED_RELAY`).

It starts with a request of its own process, because a thread does not survive a fork. Any number of processes may run
one: because each relay locks its shards, each event is published by one of them.
"""

import logging
import os
import threading
import time

from ninja_auth_kit.conf import accounts_database

logger = logging.getLogger("ninja_auth_kit.relay")

PAUSE = 30.0  # seconds after an unexpected error

_threads: dict[int, threading.Thread] = {}


def start() -> None:
    """Start the relay of this process, unless it is running already."""
    process_id = os.getpid()
    if process_id in _threads:
        return
    thread = threading.Thread(target=_run, name="ninja_auth_kit-relay", daemon=True)
    if _threads.setdefault(process_id, thread) is thread:  # of two simultaneous first requests, one starts it
        thread.start()


def _run() -> None:
    # In the thread, because importing pika takes time that the first request must not wait for.
    from ninja_auth_kit.audit.relay import loop
    from ninja_auth_kit.audit.relay.wakeup import own_session

    using = accounts_database()
    while True:
        try:
            with own_session(using=using):
                loop.configured_relay(using=using, embedded=True).run(threading.Event())
        except Exception:  # a relay process would be restarted by its supervisor, but this thread has none
            logger.exception("The embedded relay failed. It starts again in %d seconds.", PAUSE)
            time.sleep(PAUSE)
