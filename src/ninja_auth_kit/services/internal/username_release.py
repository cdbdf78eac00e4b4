"""Usernames of registrations that were not verified in time: a typo in an address must not hold a name for ever.

A registration reserves its username as long as its verification link is valid, and a new link starts that time again.
After it, another registration may take the name. The registration that loses the name stays: its address can be
registered again, with another name, and `authkit_prune` deletes it some day.

Attack: register an address, wait, and register its username for another address. If that worked for a pending account
only, it would reveal that no other account has the address. So a shadow registration lapses at the same moment, and
losing its name takes as many statements.

Test:
tests/test_lapsed_registrations.py::test_it_is_released_in_the_same_way_whoever_has_the_address
"""

import secrets
from typing import Any

from django.contrib.auth import get_user_model
from django.db import IntegrityError
from django.db.models import CharField, TextField
from django.utils import timezone

from ninja_auth_kit.conf import accounts_database, atomic
from ninja_auth_kit.models import EmailAddress, ShadowRegistration
from ninja_auth_kit.models.email_addresses import has_lapsed
from ninja_auth_kit.models.users import is_pending, lock_user, lock_username


def extend_reservation(canonical: str) -> None:
    """Start the time of a registration again, because a new link is requested. For any address, it is two statements.

    Args:
        canonical: the address in its canonical spelling.
    """
    waiting = EmailAddress.objects.filter(canonical=canonical, verified_at=None, registered_at__isnull=False)
    for registrations in (waiting, ShadowRegistration.objects.filter(canonical=canonical)):
        registrations.update(registered_at=timezone.now())


def may_lose_username(holder: Any) -> bool:
    """Return whether a user or a shadow registration has its username only from a registration that has lapsed."""
    if isinstance(holder, ShadowRegistration):
        return has_lapsed(holder.registered_at) and _has_other_names()
    return is_pending(holder) and has_lapsed(holder.authkit_email.registered_at) and _has_other_names()


def release_username(username: str, holder: Any) -> None:
    """Take the username from a user or a shadow registration, unless that has changed since it was read.

    It is a transaction of its own, so that no registration holds the locks of two users.
    """
    is_shadow = isinstance(holder, ShadowRegistration)
    try:
        with atomic():
            lock_username(username)
            current = lock_user(holder.user_id if is_shadow else holder.pk)
            if current is None:
                return
            if is_shadow:
                unchanged = {"password": holder.password, "registered_at": holder.registered_at}
                ShadowRegistration.objects.filter(pk=holder.pk, username=username, **unchanged).update(username="")
            elif may_lose_username(current):
                users = type(current)._base_manager.using(accounts_database()).filter(pk=current.pk)
                users.filter(**{current.USERNAME_FIELD: username}).update(**{current.USERNAME_FIELD: _other_name()})
    except IntegrityError:  # a constraint of your project rejects the other name; so the username stays taken
        return


def _has_other_names() -> bool:
    """Return whether the kit can make up a username: if it is a number, for example, the kit cannot."""
    return isinstance(get_user_model()._meta.get_field(get_user_model().USERNAME_FIELD), CharField | TextField)


def _other_name() -> str:
    field: Any = get_user_model()._meta.get_field(get_user_model().USERNAME_FIELD)
    return f"released-{secrets.token_hex(16)}"[-(field.max_length or 64) :]
