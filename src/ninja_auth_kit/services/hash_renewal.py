"""Renewing the hash of a password at a login, without writing over a password that was changed in the same moment.

Django's `check_password` writes the renewed hash by `save()`, whatever the row has by then. A new hash takes a third
of a second, and in that the owner may have reset a password that was stolen: the stolen one would be back.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from ninja_auth_kit.conf import accounts_database


class Renewal:
    """What is known of the one that may happen in a login.

    Attributes:
        holder: whose hash it may be, with the hash as it was read, or None.
        is_done: whether the row has been written, or has another password; the backend that asked got no further.
    """

    def __init__(self, holder: Any | None) -> None:
        self.holder, self.is_done = holder, False


class _DealtWithError(BaseException):
    """Leaves the backend, past whatever it does about exceptions."""


_renewal: ContextVar[Renewal | None] = ContextVar("renewal", default=None)


@contextmanager
def renewing(holder: Any | None) -> Iterator[Renewal]:
    """Take the renewal of a user's hash out of the hands of whoever is asked about the password in this block.

    Where it `is_done`, the block was left, and who was asked is to be asked again: by then the hash is a new one, or
    the password another.
    """
    renewal = Renewal(holder)
    token = _renewal.set(renewal)
    try:
        yield renewal
    except _DealtWithError:
        renewal.is_done = True
    finally:
        _renewal.reset(token)


def renew(sender: Any, instance: Any, update_fields: Any, **_: Any) -> None:
    """Receive `pre_save` of users: write a renewed hash where the one that was read still stands, and nowhere else."""
    renewal = _renewal.get()
    holder = None if renewal is None else renewal.holder
    if holder is None or instance.pk != holder.pk or set(update_fields or ()) != {"password"}:
        return
    unchanged = sender._base_manager.using(accounts_database()).filter(pk=holder.pk, password=holder.password)
    unchanged.update(password=instance.password)
    raise _DealtWithError
