"""What a command says where the database fails: a sentence, and no traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError
from django.db import DatabaseError, InterfaceError

from ninja_auth_kit.exceptions import describe_database_error


@contextmanager
def database_told() -> Iterator[None]:
    """Turn what the database raises into a sentence.

    Raises:
        CommandError: the database is away, refuses, or has not been migrated.
    """
    try:
        yield
    except (DatabaseError, InterfaceError) as error:
        raise CommandError(describe_database_error(error)) from error
