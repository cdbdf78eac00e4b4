"""Hashing and checking passwords: a limited number of slots, spellings, and hashers that cannot take every password.

A password hash is expensive by design, and anyone can cause one. More hashes at once than there are processors make
each of them slower, use memory (100 MiB each with Argon2) and starve the requests that need no hash (ASVS 15.1.3). So
there is one slot per processor.

One password can be typed in several ways: "é" is one code point on most keyboards, and two on others. So new passwords
are normalised before they are hashed (NFKC, NIST SP 800-63B-4 section 3.1.1.2). Hashes that were made elsewhere, by
`createsuperuser` or by an import, are of the password as it was typed. So both spellings are checked. Nearly all
passwords have only one.
"""

import logging
import os
import threading
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.auth.hashers import BCryptSHA256PasswordHasher, check_password, get_hasher, make_password
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit.exceptions import (
    FieldError,
    InvalidInputError,
    ServiceUnavailableError,
    clear_local_variables,
)

logger = logging.getLogger("ninja_auth_kit.passwords")

SLOTS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
MAXIMUM_WAITING = 64
LONGEST_WAIT = 20  # seconds

_slots = threading.BoundedSemaphore(SLOTS)
_waiting = threading.BoundedSemaphore(MAXIMUM_WAITING)
# An unlimited password would make hashing a denial of service.
MAXIMUM_BYTES = 1024
_BCRYPT_BYTES = 72  # bcrypt reads no more: its versions before 5 ignore the rest, and version 5 raises an error


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


# Spellings, and hashers with limits


@sensitive_variables()
def normalized(password: str) -> str:
    """Return a password in NFKC. One that is too long to be a password is returned as it is."""
    return password if len(password) > MAXIMUM_BYTES else unicodedata.normalize("NFKC", password)


@sensitive_variables()
def spellings(password: str) -> list[str]:
    """Return what is checked for a password: its normalised form, and the password as typed if that is another."""
    return list(dict.fromkeys([normalized(password), password]))


@sensitive_variables()
def is_password(password: str, encoded: str) -> bool:
    """Return whether a hash is that of a password, in one of its spellings.

    Every spelling is hashed, even if the first is right: the time depends on the password that was sent, and not on
    the account.
    """
    matches = [_is_spelling(spelling, encoded) for spelling in spellings(password)]
    return any(matches)


@sensitive_variables()
def _is_spelling(spelling: str, encoded: str) -> bool:
    """Return whether a hash is that of a spelling. If the hasher raises an error, the password counts as wrong."""
    try:
        return check_password(spelling, encoded)
    except Exception as error:  # the password is too long for bcrypt, or the stored hash is damaged
        clear_local_variables(error)
        logger.warning("A password hasher has refused a password or a stored hash: %s.", type(error).__name__)
    discard_hash(spelling)
    return False


@sensitive_variables()
def discard_hash(spelling: str) -> None:
    """Hash one spelling and discard the hash. A spelling that the hasher does not take costs as much time."""
    try:
        make_password(spelling)
        return
    except Exception as error:
        clear_local_variables(error)
    # After the handler, so that an error report of this hash does not have the frames of the other.
    make_password("a password that every hasher takes")


@sensitive_variables()
def set_normalized_password(user: Any, password: str, *, field: str = "password") -> None:
    """Give a user the hash of a password in its normalised form.

    Args:
        user: the user, who is not saved.
        password: as typed; `check_new_password` has accepted it.
        field: the name of the input field, for the error.

    Raises:
        InvalidInputError: the hasher does not take this password.
        Exception: the hasher takes no password at all.
    """
    try:
        user.set_password(normalized(password))
        return
    except Exception as error:  # hashers of your project have limits that the kit does not know
        clear_local_variables(error)
    make_password("a password that every hasher takes")
    raise InvalidInputError(FieldError(field, "invalid", _("This password cannot be used. Choose another one.")))


def longest_password() -> int:
    """Return how many bytes a new password may have: fewer if the hasher reads no more."""
    hasher = get_hasher()
    is_limited = isinstance(hasher, BCryptSHA256PasswordHasher) and hasher.digest is None
    return _BCRYPT_BYTES if is_limited else MAXIMUM_BYTES
