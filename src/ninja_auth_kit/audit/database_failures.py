"""What kept the database from it, in one sentence; neither PostgreSQL nor its driver tells a password."""

from django.db import Error, InterfaceError, OperationalError

_NOT_MIGRATED = {"UndefinedTable", "UndefinedColumn"}


def describe(error: Error) -> str:
    """Return what kept the database from it, with the first line that PostgreSQL or its driver says.

    Args:
        error: a `DatabaseError` or an `InterfaceError` of Django.
    """
    lines = str(error).strip().splitlines()
    said = lines[0].rstrip(". ") if lines else type(error).__name__
    if type(error.__cause__).__name__ in _NOT_MIGRATED:
        return f"The database refuses: {said}. Has migrate been run?"
    if isinstance(error, OperationalError | InterfaceError):
        return f"The database is away: {said}."
    return f"The database refuses: {said}."
