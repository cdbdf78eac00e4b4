"""What the commands share: numbers as arguments, failures of the database as a sentence, and the end of a pipe."""

import os
import sys
from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError, OutputWrapper
from django.db import DatabaseError, InterfaceError

from ninja_auth_kit.exceptions import describe_database_error


def count(text: str) -> int:
    """Read a whole number above 0."""
    if not text.isdecimal() or len(text) > 18 or int(text) == 0:
        raise ArgumentTypeError(f"{text!r} is no whole number above 0.")
    return int(text)


def seconds(text: str) -> float:
    """Read a number of seconds above 0, which may have a fraction."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not number > 0:  # nor is `nan`
        raise ArgumentTypeError(f"{text!r} is no number of seconds above 0.")
    return number


@contextmanager
def database_errors_as_command_errors() -> Iterator[None]:
    """Turn what the database raises into a sentence.

    Raises:
        CommandError: the database is away, refuses, or has not been migrated.
    """
    try:
        yield
    except (DatabaseError, InterfaceError) as error:
        raise CommandError(describe_database_error(error)) from error


@contextmanager
def ignore_broken_pipe(stdout: OutputWrapper) -> Iterator[None]:
    """End a command quietly where nobody reads any more what it prints.

    Args:
        stdout: what the command writes to.
    """
    try:
        yield
        stdout.flush()
    except BrokenPipeError:
        # Python flushes once more at its end, and would tell of the pipe then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
