"""What the commands share: argument types, plurals, database errors as command errors, and closed pipes."""

import os
import sys
from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError, OutputWrapper
from django.db import DatabaseError, InterfaceError, OperationalError, connections

from ninja_auth_kit.conf import accounts_database
from ninja_auth_kit.exceptions import describe_database_error
from ninja_auth_kit.tenancy import SHARED, is_outside_tenants, kinds_of_schemas_with


def positive_integer(text: str) -> int:
    """Return the value of an argument that must be a whole number above 0."""
    if not text.isdecimal() or len(text) > 18 or int(text) == 0:
        raise ArgumentTypeError(f"{text!r} is not a whole number above 0.")
    return int(text)


def positive_seconds(text: str) -> float:
    """Return the value of an argument that must be a number of seconds above 0, possibly with a fraction."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not number > 0:  # unlike `number <= 0`, this is true for `nan`
        raise ArgumentTypeError(f"{text!r} is not a number of seconds above 0.")
    return number


def counted(count: int, noun: str) -> str:
    """Return a number with its noun in the singular or plural, such as "1 event" or "2 events"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


@contextmanager
def database_errors_as_command_errors() -> Iterator[None]:
    """Turn an error of the database into a command error with a sentence for operators.

    Raises:
        CommandError: the database is not available, refuses a statement, or has not been migrated.
    """
    try:
        yield
    except (DatabaseError, InterfaceError) as error:
        advice = None if isinstance(error, OperationalError) else _advice_about_tenants()
        raise CommandError(advice or describe_database_error(error)) from error


def _advice_about_tenants() -> str | None:
    """Return what to do if the tables are in the schemas of tenants and the command ran in none of them."""
    connection = connections[accounts_database()]
    if not is_outside_tenants(connection) or SHARED in kinds_of_schemas_with("ninja_auth_kit"):
        return None
    return (
        "The tables of the kit are in the schemas of tenants, and no tenant was chosen. Run the command for one of "
        "them with `manage.py tenant_command COMMAND --schema=NAME`, or for each with `manage.py all_tenants_command "
        "--no-public COMMAND`."
    )


@contextmanager
def ignore_broken_pipe(stdout: OutputWrapper) -> Iterator[None]:
    """End a command without an error when the reader of its output closes the pipe, as `head` does.

    Args:
        stdout: the output of the command.
    """
    try:
        yield
        stdout.flush()
    except BrokenPipeError:
        # Python flushes stdout once more when it exits, and would print an error about the closed
        # pipe. Replacing the file descriptor prevents that.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
