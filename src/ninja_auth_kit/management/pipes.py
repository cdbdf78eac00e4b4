"""The end of a pipe: `authkit_tail | head -1` is no failure."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import OutputWrapper


@contextmanager
def reader_may_leave(stdout: OutputWrapper) -> Iterator[None]:
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
