"""Hashing passwords, a few at a time.

A hash is meant to be expensive, and anybody may ask for one. More at once than there are processors make each of them
slower, take memory (100 MiB each with Argon2) and starve the requests that need none (ASVS 15.1.3).
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ninja_auth_kit.exceptions import ServiceUnavailableError

AT_ONCE = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
MAXIMUM_WAITING = 64
PATIENCE = 20  # seconds

_places = threading.BoundedSemaphore(AT_ONCE)
_in_line = threading.BoundedSemaphore(MAXIMUM_WAITING)


class HashSlot:
    """One of the places of this process, for as long as it is held."""

    def __init__(self, places: threading.BoundedSemaphore) -> None:
        self._places: threading.BoundedSemaphore | None = places

    def give_up(self) -> None:
        """Let another have it; twice is as once."""
        if self._places is not None:
            self._places.release()
            self._places = None


@contextmanager
def hashing(*, before_waiting: Callable[[], object] = lambda: None) -> Iterator[HashSlot]:
    """Hold a place for hashing; never inside a transaction, for others may wait for it.

    Args:
        before_waiting: called where no place is free, to refuse at once what will be refused anyway.

    Raises:
        ServiceUnavailableError: too many wait, or no place was free for 20 seconds.
    """
    if not _places.acquire(blocking=False):
        before_waiting()
        _wait()
    place = HashSlot(_places)
    try:
        yield place
    finally:
        place.give_up()


def _wait() -> None:
    if not _in_line.acquire(blocking=False):
        raise ServiceUnavailableError
    try:
        if not _places.acquire(timeout=PATIENCE):
            raise ServiceUnavailableError
    finally:
        _in_line.release()
