"""Count the database statements and function calls of a request.

These figures do not depend on the machine.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch


class Count:
    """The number of statements, and of statements that begin or end a transaction."""

    def __init__(self) -> None:
        self.statements = self.transactions = 0


@contextmanager
def django_statements() -> Iterator[Count]:
    """Count the statements of Django's connection. A transaction counts as a BEGIN and a COMMIT."""
    from django.db import connection
    from django.db.backends.base.base import BaseDatabaseWrapper

    count = Count()

    def execute(run: Any, sql: Any, parameters: Any, many: Any, context: Any) -> Any:
        count.statements += 1
        return run(sql, parameters, many, context)

    commit = BaseDatabaseWrapper._commit

    def counted_commit(wrapper: Any) -> Any:
        count.transactions += 2
        return commit(wrapper)

    with connection.execute_wrapper(execute), patch.object(BaseDatabaseWrapper, "_commit", counted_commit):
        yield count


def calls_of(work: Callable[[], object]) -> int:
    """Return how many Python and C functions are called."""
    count = 0

    def see(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(see)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count
