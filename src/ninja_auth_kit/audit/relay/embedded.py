"""The relay in a thread of a web process, for a laptop or one small machine (`AUDIT_EMBEDDED_RELAY`).

It starts with the first request and never before a fork. Any number of processes may run one: the shards see to it
that each event is published by one of them.
"""

import logging
import os
import threading
import time
from typing import Any

from django.core.signals import request_started
from django.db import connections

from ninja_auth_kit.audit.record.outbox import outside_pool
from ninja_auth_kit.conf import accounts_database, broker, settings

logger = logging.getLogger("ninja_auth_kit.relay")

PAUSE = 30.0  # seconds after an error that nobody foresaw


def connect() -> None:
    """Start the relay of this process with its first request, if the settings want one."""
    request_started.connect(_start_if_wanted, dispatch_uid="ninja_auth_kit.embedded_relay")


def _start_if_wanted(**_: Any) -> None:
    if settings.AUDIT_EMBEDDED_RELAY and broker() is not None:
        _start(os.getpid())


_threads: dict[int, threading.Thread] = {}


def _start(process_id: int) -> None:
    if process_id in _threads:
        return
    thread = threading.Thread(target=_run, name="ninja_auth_kit-relay", daemon=True)
    if _threads.setdefault(process_id, thread) is thread:  # of two first requests, one gets here
        thread.start()


def _run() -> None:
    # Here and not above: a web process that leaves publishing to a relay of its own never imports pika.
    from ninja_auth_kit.audit.relay.loop import configured_relay

    using = accounts_database()
    # What has heard LISTEN must not go back into the host's pool: a request would get it, and hear for ever.
    connections[using] = outside_pool(using=using)
    while True:
        try:
            configured_relay(using=using, embedded=True).run(threading.Event())
        except Exception:  # a relay of its own ends and is started again; this thread has nobody to start it
            logger.exception("The embedded relay failed; it begins again in %d seconds.", PAUSE)
            time.sleep(PAUSE)
