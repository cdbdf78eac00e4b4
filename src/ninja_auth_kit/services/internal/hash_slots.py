"""A limited number of slots for hashing passwords, one per processor.

A password hash is expensive by design, and anyone can cause one. More hashes at once than there are processors make
each of them slower, use memory (100 MiB each with Argon2) and starve the requests that need no hash (ASVS 15.1.3).
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ninja_auth_kit.exceptions import ServiceUnavailableError

SLOTS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
MAXIMUM_WAITING = 64
LONGEST_WAIT = 20  # seconds

_slots = threading.BoundedSemaphore(SLOTS)
_waiting = threading.BoundedSemaphore(MAXIMUM_WAITING)


class HashSlot:
    """One of the slots of this process."""

    def __init__(self, slots: threading.BoundedSemaphore) -> None:
        self._slots: threading.BoundedSemaphore | None = slots

    def release(self) -> None:
        """Release the slot. Calling it again has no effect."""
        if self._slots is not None:
            self._slots.release()
            self._slots = None


@contextmanager
def hash_slot(*, before_waiting: Callable[[], object] = lambda: None) -> Iterator[HashSlot]:
    """Hold a slot for hashing. Do not use it inside a transaction: other transactions may wait for its locks.

    Args:
        before_waiting: called if no slot is free, to reject at once what would be rejected after the wait.

    Raises:
        ServiceUnavailableError: too many requests wait, or no slot was free for 20 seconds.
    """
    if not _slots.acquire(blocking=False):
        before_waiting()
        _wait()
    slot = HashSlot(_slots)
    try:
        yield slot
    finally:
        slot.release()


def _wait() -> None:
    if not _waiting.acquire(blocking=False):
        raise ServiceUnavailableError
    try:
        if not _slots.acquire(timeout=LONGEST_WAIT):
            raise ServiceUnavailableError
    finally:
        _waiting.release()
