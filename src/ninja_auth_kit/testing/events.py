"""The audit events that a test causes, as objects of their classes."""

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
    """The events so far, in order; without those of transactions that were rolled back, as on the stream."""

    def __init__(self) -> None:
        self._captured: list[_Captured] = []

    @property
    def names(self) -> list[str]:
        """What each is called: `["session.revoked", "session.logged_in"]`."""
        return [event.name for event in self]

    def of(self, kind: type[E]) -> list[E]:
        """Return those of one class, such as `LoginFailed`."""
        return [event for event in self if isinstance(event, kind)]

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Event]: ...
    def __getitem__(self, index: int | slice) -> Event | Sequence[Event]:
        return self._kept()[index]

    def __len__(self) -> int:
        return len(self._kept())

    def __repr__(self) -> str:
        return f"<AuditEvents {self.names}>"

    def _kept(self) -> list[Event]:
        return [captured.event for captured in self._captured if captured.is_kept()]

    def _capture(self, kind: type[Event], message: Message) -> None:
        self._captured.append(_Captured(parse(message.payload), is_fact=kind.fact))


class _Captured:
    """One event, and whether it was rolled back: Django forgets what waits for the commit of an undone savepoint."""

    def __init__(self, event: Event, *, is_fact: bool) -> None:
        self.event = event
        self._is_final = is_fact
        self._connection = connections[accounts_database()]
        if not is_fact:
            transaction.on_commit(self._commit, using=accounts_database())

    def is_kept(self) -> bool:
        return self._is_final or any(waiting[1] == self._commit for waiting in self._connection.run_on_commit)

    def _commit(self) -> None:
        self._is_final = True


@contextmanager
def capture_audit_events() -> Iterator[AuditEvents]:
    """Collect the audit events that are recorded in the block.

        with capture_audit_events() as events:
            client.post("/api/auth/login", {...})
        assert events.names == ["session.login_failed"]

    It needs no broker and no committed transaction. Each event counts, also of a flood; what `AUDIT_DISABLED_TYPES`
    names does not.
    """
    events = AuditEvents()

    # That of another capture around this one, where there is one.
    build: Callable[..., Message] = vars(receivers)["build_cloudevent"]

    def build_and_capture(kind: type[Event], **said: Any) -> Message:
        message = build(kind, **said)
        events._capture(kind, message)
        return message

    with patch.object(receivers, "build_cloudevent", build_and_capture):
        yield events
