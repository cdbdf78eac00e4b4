"""From a signal to a recorded event: a row in the outbox, or a line in the log where there is no broker."""

import logging
from typing import Any
from uuid import UUID

from django.core.signals import request_started
from django.db import transaction
from django.dispatch import Signal

from ninja_auth_kit import signals
from ninja_auth_kit.audit.events import Event, all_events
from ninja_auth_kit.audit.record import aggregation, outbox
from ninja_auth_kit.audit.record.cloudevent import Message, build_cloudevent
from ninja_auth_kit.conf import accounts_database, broker, broker_hosts, settings

logger = logging.getLogger("ninja_auth_kit.audit")

KINDS: dict[Signal, type[Event]] = {}


def connect() -> None:
    """Record the events of every signal of the kit, and start the embedded relay. Calling it twice has no effect."""
    for kind in all_events():
        if kind.signal:
            listen(getattr(signals, kind.signal), kind)
    request_started.connect(_start_embedded_relay, dispatch_uid="ninja_auth_kit.embedded_relay")


def _start_embedded_relay(**_: Any) -> None:
    """Start the relay of this process with its first request, if the settings ask for one. Never before a fork."""
    request_started.disconnect(dispatch_uid="ninja_auth_kit.embedded_relay")
    if settings.AUDIT_EMBEDDED_RELAY and broker() is not None:
        # Imported late: a web process without a relay never imports pika.
        from ninja_auth_kit.audit.relay import embedded

        embedded.start()


def listen(signal: signals.ActionSignal, kind: type[Event]) -> None:
    """Record an event of this kind whenever the signal is announced."""
    KINDS[signal] = kind
    signal.in_transaction.connect(record, dispatch_uid="ninja_auth_kit.audit")


def record(sender: Signal, signal: Signal, **said: Any) -> None:
    """Record the event of a signal: a change in the transaction of what happened, a fact whatever becomes of that.

    Raises:
        DatabaseError: the row could not be written. The action then rolls back: no action without its event.
    """
    kind = KINDS[sender]
    if kind.name in settings.AUDIT_DISABLED_TYPES or kind.type in settings.AUDIT_DISABLED_TYPES:
        return
    message = build_cloudevent(kind, **said)
    if not broker_hosts():
        _log(kind, message)
    elif kind.fact:
        _record_fact(message, flood=aggregation.flood_of(kind, said))
    else:
        outbox.write(message, using=accounts_database())


def _record_fact(message: Message, *, flood: UUID | None) -> None:
    using = accounts_database()
    if not outbox.is_in_transaction(using=using):
        outbox.write(message, using=using, flood=flood)
    elif not outbox.write_separately(message, using=using, flood=flood):
        outbox.write(message, using=using)  # without the flood, whose row would be locked until the host commits


def _log(kind: type[Event], message: Message) -> None:
    """Log one line of JSON: a fact at once, a change when it is committed. Rows that nobody fetches would pile up."""
    if kind.fact:
        logger.info(message.payload)
    else:
        transaction.on_commit(lambda: logger.info(message.payload), using=accounts_database(), robust=True)
