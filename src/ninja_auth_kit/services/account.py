"""Account: change its fields, and delete it."""

import copy
import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from django.db import IntegrityError
from django.db.models import ProtectedError, RestrictedError
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit import signals
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import accounts_database, atomic
from ninja_auth_kit.exceptions import AccountProtectedError, SessionEndedError
from ninja_auth_kit.models import ShadowRegistration, UserSession
from ninja_auth_kit.models.sessions import EndReason
from ninja_auth_kit.models.unique_values import UniqueValues
from ninja_auth_kit.models.users import has_address, lock_user, may_authenticate, settable_field
from ninja_auth_kit.services.internal.lapsed_registrations import (
    Holding,
    release_values,
    require_lapsed,
    require_released,
)
from ninja_auth_kit.services.internal.own_password import check_own_password
from ninja_auth_kit.services.internal.user_fields import as_input_error, check_values


@sensitive_variables()
def update_account(*, user: Any, values: Mapping[str, Any], client: ClientInfo) -> Any:
    """Set fields of a user, and return the user as it is now. Values that do not change are not written.

    Args:
        user: the owner of the account, who is logged in.
        values: the new values by field name.
        client: the caller.

    Raises:
        InvalidInputError: a field does not accept its value, or the value must be unique and another user has it.
        SessionEndedError: the password has changed, or the user was disabled or deleted, in the meantime.
        ValueError: a field is one that only the kit or an administrator sets.
    """
    checked = check_values(values)
    if not checked:
        return user
    unique = _unique_values(user, checked)
    release_values(unique, _require_free_values(unique, values))
    try:
        with atomic():
            unique.lock()
            require_released(_require_free_values(unique, values), sent=values)
            return _update(user, checked, client=client)
    except IntegrityError as error:
        raise as_input_error(error, values) or error from error


def _unique_values(user: Any, checked: Mapping[str, Any]) -> UniqueValues:
    """Return the unique values that a user is to have."""
    changed = copy.copy(user)
    changes = {name: value for name, value in checked.items() if not _is_same(getattr(user, name), value)}
    for name, value in changes.items():
        setattr(changed, name, value)
    return UniqueValues(changed, {settable_field(name).name for name in changes})


def _require_free_values(unique: UniqueValues, values: Mapping[str, Any]) -> list[Holding]:
    """Check that no other user and no registration of an address that is in use has one of the values.

    Return the registrations that have one, but have lapsed.

    Attack: register somebody's address with a new handle, and then take that handle with `PATCH me`. If the answers
    differed, they would reveal whether the registration created an account, and so whether the address was free.

    Raises:
        InvalidInputError: a value is taken.
    """
    if not unique.keys:
        return []
    holdings: list[Holding] = [holding for holding in unique.holders() if holding[1].pk != unique.user.pk]
    for shadow in ShadowRegistration.objects.related(keys=unique.keys.values()):
        if not has_address(unique.user, shadow.canonical):
            holdings += [(rule, shadow) for rule in unique.rules_of(shadow.held)]
    return require_lapsed(holdings, unique.user, sent=values)


def _update(user: Any, checked: dict[str, Any], *, client: ClientInfo) -> Any:
    current = lock_unchanged(user)
    changes = {name: value for name, value in checked.items() if not _is_same(getattr(current, name), value)}
    if not changes:
        return current
    for name, value in changes.items():
        setattr(current, name, value)
    current.save(using=accounts_database(), update_fields=list(changes))
    fields = sorted(settable_field(name).name for name in changes)
    signals.account_updated.announce(user=current, client=client, fields=fields)
    return current


def _is_same(before: Any, after: Any) -> bool:
    if isinstance(after, dict | list):  # 1, 1.0 and True are equal in Python, but not in JSON
        return json.dumps(before, sort_keys=True, default=repr) == json.dumps(after, sort_keys=True, default=repr)
    return bool(before == after)


@sensitive_variables()
def delete_account(*, user: Any, password: str | None, client: ClientInfo) -> None:
    """Delete a user and all rows that a cascade deletes with it. The audit trail stays.

    Args:
        user: the owner of the account, who is logged in.
        password: as typed. None for a user who has none: call `require_confirmation` first, because a stolen access
            token alone must not be enough.
        client: the caller.

    Raises:
        WrongPasswordError: `password` is not the password of the account.
        InvalidInputError: `password` is missing, and the account has one.
        AccountProtectedError: rows of your project need the user (`on_delete=PROTECT`, or a foreign key that only the
            database knows); nothing is deleted.
        SessionEndedError: the password has changed, or the user was deleted or disabled, in the meantime.
        ThrottledError: too many wrong passwords for this account, or too many passwords hashed for this network.
        ServiceUnavailableError: too many passwords are being hashed.
    """
    failed = partial(signals.account_deletion_failed.announce, user=user, client=client, reason="wrong_password")
    check_own_password(user, password, field="password", client=client, announce_failure=failed)
    try:
        _delete(user, client=client)
    except (ProtectedError, RestrictedError, IntegrityError) as error:
        signals.account_deletion_failed.announce(user=user, client=client, reason="protected")
        raise AccountProtectedError from error


def _delete(user: Any, *, client: ClientInfo) -> None:
    with atomic():
        current = lock_unchanged(user)
        ended = UserSession.objects.end(reason=EndReason.REVOKED, user_id=user.pk)
        deleted = copy.copy(current)  # receivers need the primary key, which delete() removes
        signals.account_deleted.announce(user=deleted, client=client, sessions_ended=len(ended))
        current.delete()


def lock_unchanged(user: Any) -> Any:
    """Lock a user's row until the transaction ends, and return the user as it is now.

    Raises:
        SessionEndedError: the password has changed, or the user was disabled or deleted, since it was read.
    """
    current = lock_user(user.pk)
    if current is None or current.password != user.password or not may_authenticate(current):
        raise SessionEndedError
    return current
