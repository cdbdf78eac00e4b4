"""Unique values of registrations that were not verified in time: a typo in an address must not hold a name forever.

A registration reserves its username and other unique values as long as its verification link is valid, and a new link
starts that time again. After it, another account may take them. The registration that loses a value stays: its address
can be registered again, with other values, and `authkit_prune` deletes it some day.

Attack: register an address, wait, and register its username for another address. If that worked for a pending account
only, it would reveal that no other account has the address. So a shadow registration lapses at the same moment, and
losing its values takes as many statements. If a constraint of your project rejects the value that the kit would give a
pending account instead, neither loses its value.

Tests:
tests/test_lapsed_registrations.py::test_it_is_released_in_the_same_way_whoever_has_the_address
tests/test_lapsed_registrations.py::test_a_name_for_which_there_is_no_other_stays_taken_whoever_has_the_address
tests/test_lapsed_registrations.py::test_a_registration_that_lost_its_username_has_no_empty_one
tests/test_lapsed_registrations.py::test_a_name_that_two_rules_are_about_is_released_from_both_whoever_has_the_address
"""

import copy
import secrets
from collections.abc import Collection
from typing import Any

from django.contrib.auth import get_user_model
from django.db import IntegrityError
from django.db.models import CharField, Q, TextField
from django.utils import timezone

from ninja_auth_kit.conf import accounts_database, atomic
from ninja_auth_kit.exceptions import InvalidInputError
from ninja_auth_kit.models import EmailAddress, ShadowRegistration
from ninja_auth_kit.models.email_addresses import has_lapsed
from ninja_auth_kit.models.unique_values import UniqueRule, UniqueValues
from ninja_auth_kit.models.users import is_pending, lock_user
from ninja_auth_kit.services.internal.user_fields import check_constraints, taken_error

# A rule, and a user or a shadow registration that has its values.
Holding = tuple[UniqueRule, Any]


def extend_reservation(canonical: str) -> None:
    """Start the time of a registration again, because a new link is requested. For any address, it is two statements.

    Args:
        canonical: the address in its canonical spelling.
    """
    waiting = EmailAddress.objects.filter(canonical=canonical, verified_at=None, registered_at__isnull=False)
    for registrations in (waiting, ShadowRegistration.objects.filter(canonical=canonical)):
        registrations.update(registered_at=timezone.now())


def require_lapsed(holdings: list[Holding], user: Any, *, sent: Collection[str]) -> list[Holding]:
    """Check that only registrations that have lapsed have these values, and return the holdings.

    Args:
        holdings: the rules, and who has their values.
        user: the unsaved user who is to have the values.
        sent: the names of the input fields, for the error.

    Raises:
        InvalidInputError: another user or registration has a value.
    """
    taken = [rule for rule, holder in holdings if not (_has_lapsed(holder) and _can_be_replaced(rule, user))]
    if taken:
        raise taken_error(taken, sent)
    return holdings


def require_released(holdings: list[Holding], *, sent: Collection[str]) -> None:
    """Check that no registration has kept a value.

    Raises:
        InvalidInputError: a registration that has lapsed could not be made to release a value.
    """
    if holdings:
        raise taken_error([rule for rule, _ in holdings], sent)


def _has_lapsed(holder: Any) -> bool:
    if isinstance(holder, ShadowRegistration):
        return has_lapsed(holder.registered_at)
    return is_pending(holder) and has_lapsed(holder.authkit_email.registered_at)


def _can_be_replaced(rule: UniqueRule, user: Any) -> bool:
    """Return whether the database would take the other value. It depends on the new user, not on who has the value."""
    field = _replaceable_field(rule)
    if field is None:
        return False
    other = copy.copy(user)
    setattr(other, field.attname, _other_value(field))
    try:
        check_constraints(other)
    except InvalidInputError:
        return False
    return True


def release_values(unique: UniqueValues, lapsed: Collection[Holding]) -> None:
    """Take values from registrations that have lapsed, unless they have changed since they were read.

    There is a transaction for each registration, so that none holds the locks of two users.

    Args:
        unique: the values that another account is to have.
        lapsed: who has them, as `require_lapsed` returned it.
    """
    for holder in {(type(holder), holder.pk): holder for _, holder in lapsed}.values():
        rules = [rule for rule, other in lapsed if other == holder]
        try:
            with atomic():
                unique.lock()
                _release(unique, rules, holder)
        except IntegrityError:  # a rule that only the database knows rejects the other value; so this one stays taken
            continue


def _release(unique: UniqueValues, rules: list[UniqueRule], holder: Any) -> None:
    is_shadow = isinstance(holder, ShadowRegistration)
    current = lock_user(holder.user_id if is_shadow else holder.pk)
    if current is None:
        return
    if is_shadow:
        _release_from_shadow(holder, {field.name for field in _replaceable_fields(rules)})
    elif _has_lapsed(current):
        users = type(current)._base_manager.using(accounts_database()).filter(pk=current.pk)
        has_values = Q(*map(unique.matches, rules), _connector=Q.OR)
        users.filter(has_values).update(**{field.name: _other_value(field) for field in _replaceable_fields(rules)})


def _release_from_shadow(shadow: ShadowRegistration, replaced: Collection[str]) -> None:
    """Take the values that a pending account would lose: those of each rule that is about a replaced field.

    A field is often in two rules, such as a username that is unique in any case and as it is written.
    """
    unchanged = {"password": shadow.password, "registered_at": shadow.registered_at, "held": shadow.held}
    # Not "", which anyone can send as a username. A pending account gets a secret name, too.
    username = _made_up() if get_user_model().USERNAME_FIELD in replaced else shadow.username
    ShadowRegistration.objects.filter(pk=shadow.pk, **unchanged).update(
        held={key: fields for key, fields in shadow.held.items() if not set(fields) & set(replaced)}, username=username
    )


def _replaceable_field(rule: UniqueRule) -> Any | None:
    """Return a field of a rule for which the kit can make up another value, or None: a number may mean something."""
    fields: list[Any] = [get_user_model()._meta.get_field(name) for name in sorted(rule.fields)]
    return next((field for field in fields if field.null or isinstance(field, CharField | TextField)), None)


def _replaceable_fields(rules: list[UniqueRule]) -> list[Any]:
    return [field for rule in rules if (field := _replaceable_field(rule)) is not None]


def _other_value(field: Any) -> str | None:
    return None if field.null else _made_up()[-(field.max_length or 64) :]


def _made_up() -> str:
    """Return a text that cannot be guessed. It has letters and digits only, because many projects allow no others."""
    return f"released{secrets.token_hex(16)}"
