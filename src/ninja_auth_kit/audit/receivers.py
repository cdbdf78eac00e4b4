"""From a signal to a recorded event: a row in the outbox, or a line in the log if no broker is configured."""

import logging
from typing import Any

from django.core.signals import request_started
from django.db import transaction
from django.dispatch import Signal

from ninja_auth_kit import signals
from ninja_auth_kit.audit.events import Event, all_events
from ninja_auth_kit.audit.record import aggregation, outbox
from ninja_auth_kit.audit.record.cloudevent import Message, build_cloudevent
from ninja_auth_kit.conf import accounts_database, broker, broker_hosts, settings

logger = logging.getLogger("ninja_auth_kit.audit")

EVENTS: dict[Signal, type[Event]] = {}


def connect() -> None:
    """Record an event for each signal of the kit, and start the embedded relay. Calling it again has no effect."""
    for event in all_events():
        if event.signal:
            connect_event(getattr(signals, event.signal), event)
    request_started.connect(_start_embedded_relay, dispatch_uid="ninja_auth_kit.embedded_relay")


def _start_embedded_relay(**_: Any) -> None:
    """Start the relay with the first request of a process, if the settings ask for one.

    Not when the app is ready: a thread does not survive a fork, and a server may fork its workers after that, or even
    after a first request.
    """
    if settings.AUDIT_EMBEDDED_RELAY and broker() is not None:
        # Imported here, so that a web process without a relay loads nothing of it.
        from ninja_auth_kit.audit.relay import embedded

        embedded.start()


def connect_event(signal: signals.ActionSignal, event: type[Event]) -> None:
    """Record an event of this class each time the signal is announced."""
    EVENTS[signal] = event
    signal.in_transaction.connect(record, dispatch_uid="ninja_auth_kit.audit")


def record(sender: Signal, signal: Signal, **carried: Any) -> None:
    """Record the event of a signal.

    A change is recorded in the transaction of the action. A fact is recorded even if that is rolled back.

    Raises:
        DatabaseError: the row could not be written. The action is then rolled back: no action without its event.
    """
    event = EVENTS[sender]
    if event.name in settings.AUDIT_DISABLED_TYPES or event.type in settings.AUDIT_DISABLED_TYPES:
        return
    message = build_cloudevent(event, **carried)
    if not broker_hosts():
        _log(event, message)
    elif event.fact:
        outbox.write_fact(message, using=accounts_database(), flood_id=aggregation.flood_id(event, carried))
    else:
        outbox.write(message, using=accounts_database())


def _log(event: type[Event], message: Message) -> None:
    """Log the event as one line of JSON: a fact at once, a change after the commit.

    Without a broker, rows in the outbox would never be published or deleted.
    """
    if event.fact:
        logger.info(message.payload)
    else:
        transaction.on_commit(lambda: logger.info(message.payload), using=accounts_database(), robust=True)
