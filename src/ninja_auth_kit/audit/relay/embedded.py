"""The relay in a thread of a web process, for a laptop or one small machine (`AUDIT_EMBEDDED_RELAY`).

It starts with the first request and never before a fork. Any number of processes may run one: the shards see to it
that each event is published by one of them.
"""

import logging
import os
import threading
import time

from django.db import connections

from ninja_auth_kit.audit.record.outbox import unpooled_connection
from ninja_auth_kit.audit.relay import loop
from ninja_auth_kit.conf import accounts_database

logger = logging.getLogger("ninja_auth_kit.relay")

PAUSE = 30.0  # seconds after an error that nobody foresaw


_threads: dict[int, threading.Thread] = {}


def start() -> None:
    """Start the relay of this process, unless it runs already."""
    process_id = os.getpid()
    if process_id in _threads:
        return
    thread = threading.Thread(target=_run, name="ninja_auth_kit-relay", daemon=True)
    if _threads.setdefault(process_id, thread) is thread:  # only one of two first requests starts it
        thread.start()


def _run() -> None:
    using = accounts_database()
    # What has heard LISTEN must not go back into the host's pool: a request would get it, and hear for ever.
    connections[using] = unpooled_connection(using=using)
    while True:
        try:
            loop.configured_relay(using=using, embedded=True).run(threading.Event())
        except Exception:  # a relay of its own ends and is started again; this thread has nobody to start it
            logger.exception("The embedded relay failed; it begins again in %d seconds.", PAUSE)
            time.sleep(PAUSE)
