"""From a signal to a recorded event: a row in the outbox, or a line in the log where there is no broker."""

import logging
from typing import Any

from django.db import transaction
from django.dispatch import Signal

from ninja_auth_kit.audit import outbox
from ninja_auth_kit.audit.events import EVENTS, EventType, Message, build_message
from ninja_auth_kit.conf import broker, settings
from ninja_auth_kit.models import database

logger = logging.getLogger("ninja_auth_kit.audit")


def connect() -> None:
    """Listen to every signal that has an event; twice is as once."""
    for signal in EVENTS:
        in_transaction: Signal = signal.in_transaction  # type: ignore[attr-defined]
        in_transaction.connect(record, dispatch_uid="ninja_auth_kit.audit")


def record(sender: Signal, signal: Signal, **facts: Any) -> None:
    """Record the event of a signal, in the transaction of what happened.

    Raises:
        DatabaseError: the row could not be written. The action then rolls back: no action without its event.
    """
    event = EVENTS[sender]
    if event.name in settings.AUDIT_DISABLED_TYPES or event.type in settings.AUDIT_DISABLED_TYPES:
        return
    message = build_message(event, **facts)
    if broker() is None:
        _log(event, message)
    else:
        outbox.write(message, using=database())


def _log(event: EventType, message: Message) -> None:
    """Log one line of JSON: a fact at once, a change when it is committed. Rows that nobody fetches would pile up."""
    if event.fact:
        logger.info(message.payload)
    else:
        transaction.on_commit(lambda: logger.info(message.payload), using=database(), robust=True)
