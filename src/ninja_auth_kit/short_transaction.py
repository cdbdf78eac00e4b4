"""Transactions that need fewer round trips: BEGIN is sent with the first statement, and COMMIT with the last one.

`transaction.atomic` sends both by themselves, and waits for an answer each time. PostgreSQL accepts several statements
in one message, so here the first statement is sent as `BEGIN; UPDATE ...`, and the last one, which records the event,
as `INSERT ...; COMMIT`.

Everything else is as in an atomic block:

- Wrappers of `execute_wrapper`, also those of monitoring packages, see each statement as it was written.
- An error is raised by the statement that caused it, and the block rolls back.
- `on_commit` callbacks run after PostgreSQL has confirmed the commit.

BEGIN and COMMIT are sent by themselves, as by `transaction.atomic`, if they cannot travel with a statement:

- The cursor is not exactly the one that Django creates: a package has replaced it, or the project uses
  `server_side_binding`, whose protocol accepts one statement at a time.
- The project has set an isolation level.
- The schema of a tenant is selected by a statement that does not pass through Django.

If a transaction is open already, as in a `TestCase` or with `ATOMIC_REQUESTS`, the block is a savepoint.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from django.db import connections
from django.db.backends.postgresql.base import Cursor
from django.db.transaction import atomic
from psycopg import Connection
from psycopg.pq import TransactionStatus

from ninja_auth_kit.conf import accounts_database
from ninja_auth_kit.tenancy import has_schemas

MOST_ROWS = 100  # in one statement: PostgreSQL accepts 65,535 parameters

T = TypeVar("T")
Insertion = Callable[[list[T]], tuple[str, Mapping[str, Any]]]
"""Returns the statement that inserts rows, and its parameters."""


@contextmanager
def short_atomic() -> Iterator[None]:
    """Do what `atomic()` does, with fewer round trips: see this module."""
    using = accounts_database()
    connection = connections[using]
    with atomic(using=using):
        is_outermost = len(connection.atomic_blocks) == 1 and connection.commit_on_exit
        if not (is_outermost and _is_as_django_opens_it(connection)):
            yield
            return
        transaction = _ShortTransaction(connection)
        with connection.execute_wrapper(transaction):
            yield
            transaction.commit()


def insert_last(insertion: Insertion[T], row: T, *, using: str) -> None:
    """Insert a row at once or, in `short_atomic`, together with COMMIT.

    In `short_atomic`, the row is inserted earlier if another statement follows: whatever is executed after this call
    finds it, and is executed after it.

    Args:
        insertion: always the same function, so that several rows need one statement.
        row: the row.
        using: the alias of the database.
    """
    connection = connections[using]
    # In a savepoint, the row must be rolled back with the savepoint.
    can_wait = len(connection.atomic_blocks) == 1 and not connection.needs_rollback
    transaction = next((each for each in connection.execute_wrappers if isinstance(each, _ShortTransaction)), None)
    if transaction is not None and can_wait:
        transaction.insert_last(insertion, row)
        return
    with connection.cursor() as cursor:
        cursor.execute(*insertion([row]))


def accepts_several_statements(cursor: Any) -> bool:
    """Return whether a cursor of Django may send several statements in one message.

    It may if it is exactly the cursor that Django creates without `server_side_binding`, in no schema of a tenant.
    """
    return type(getattr(cursor, "cursor", None)) is Cursor and not has_schemas(cursor.db)


def _is_as_django_opens_it(connection: Any) -> bool:
    """Return whether BEGIN without options begins the transaction that psycopg would begin."""
    opened = connection.connection
    if not isinstance(opened, Connection):
        return False
    return opened.isolation_level is None and opened.read_only is None and opened.deferrable is None


class _ShortTransaction:
    """The open transaction of `short_atomic`, as a wrapper of the statements that are executed in it."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._insertion: Insertion[Any]
        self._rows: list[Any] = []
        self._last: str | None = None

    def insert_last(self, insertion: Insertion[T], row: T) -> None:
        self._insertion = insertion  # for all rows
        self._rows.append(row)
        if len(self._rows) == MOST_ROWS:
            self._insert_rows()

    def commit(self) -> None:
        """Insert the rows and commit. Without rows, Django commits."""
        if self._rows and not self._connection.needs_rollback:
            self._insert_rows(commit=True)

    def _insert_rows(self, *, commit: bool = False) -> None:
        sql, parameters = self._insertion(self._rows)
        self._rows = []
        self._last = sql if commit else None
        with self._connection.cursor() as cursor:
            cursor.execute(sql, parameters)

    def __call__(self, execute: Callable[..., Any], sql: Any, parameters: Any, many: bool, context: Any) -> Any:
        """Execute a statement, with BEGIN before the first one and COMMIT after the last one."""
        if self._rows:
            self._insert_rows()
        cursor, opened = context["cursor"].cursor, self._connection.connection
        can_join = accepts_several_statements(context["cursor"]) and isinstance(sql, str) and not many
        # A wrapper of the project may execute statements of its own around the last one, or change it.
        is_last = can_join and sql == self._last
        begins = opened.pgconn.transaction_status == TransactionStatus.IDLE
        if begins:
            opened.autocommit = can_join  # if it is off, psycopg sends BEGIN by itself
        if can_join and begins:
            sql = f"BEGIN; {sql}"
        if is_last:
            sql = f"{sql}; COMMIT"
        result = execute(sql, parameters, many, context)
        if can_join and begins:
            cursor.nextset()  # the result of BEGIN is the first one
        return result
