"""`capture_audit_events`, which collects the audit events that a test causes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, overload
from unittest.mock import patch

from django.db import connections, transaction

from ninja_auth_kit.audit import receivers
from ninja_auth_kit.audit.events import Event, parse
from ninja_auth_kit.audit.record.cloudevent import Message
from ninja_auth_kit.conf import accounts_database

E = TypeVar("E", bound=Event)


class AuditEvents(Sequence[Event]):
    """The captured events, in order.

    As on the stream, events of transactions that were rolled back are not included.
    """

    def __init__(self) -> None:
        self._captured: list[_Captured] = []

    @property
    def names(self) -> list[str]:
        """The names of the events, such as `["session.revoked", "session.logged_in"]`."""
        return [event.name for event in self]

    def of(self, kind: type[E]) -> list[E]:
        """Return the events of one class, such as `LoginFailed`."""
        return [event for event in self if isinstance(event, kind)]

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Event]: ...
    def __getitem__(self, index: int | slice) -> Event | Sequence[Event]:
        return self._recorded()[index]

    def __len__(self) -> int:
        return len(self._recorded())

    def __repr__(self) -> str:
        return f"<AuditEvents {self.names}>"

    def _recorded(self) -> list[Event]:
        return [captured.event for captured in self._captured if not captured.is_rolled_back()]

    def _capture(self, kind: type[Event], message: Message) -> None:
        self._captured.append(_Captured(parse(message.payload), is_fact=kind.fact))


class _Captured:
    """One event, which may have been rolled back.

    Django removes the `on_commit` callbacks of a savepoint that is rolled back. So if the callback of an event is
    gone and was not called, the event was rolled back.
    """

    def __init__(self, event: Event, *, is_fact: bool) -> None:
        self.event = event
        self._is_final = is_fact
        self._connection = connections[accounts_database()]
        if not is_fact:
            transaction.on_commit(self._commit, using=accounts_database())

    def is_rolled_back(self) -> bool:
        return not self._is_final and all(waiting[1] != self._commit for waiting in self._connection.run_on_commit)

    def _commit(self) -> None:
        self._is_final = True


@contextmanager
def capture_audit_events() -> Iterator[AuditEvents]:
    """Collect the audit events that are recorded in the block.

        with capture_audit_events() as events:
            client.post("/api/auth/login", {...})
        assert events.names == ["session.login_failed"]

    It needs no broker and no committed transaction. Events of a flood are captured one by one, although the stream
    aggregates them. Events that `AUDIT_DISABLED_TYPES` names are not captured.
    """
    events = AuditEvents()

    # Inside another capture, this is the function of the other one.
    build: Callable[..., Message] = vars(receivers)["build_cloudevent"]

    def build_and_capture(kind: type[Event], **arguments: Any) -> Message:
        message = build(kind, **arguments)
        events._capture(kind, message)
        return message

    with patch.object(receivers, "build_cloudevent", build_and_capture):
        yield events
