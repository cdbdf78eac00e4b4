"""The account itself: changing its fields, and deleting it."""

import copy
import json
from collections.abc import Mapping
from typing import Any

from django.contrib.auth.hashers import check_password
from django.db import IntegrityError
from django.db.models import ProtectedError, RestrictedError
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit import signals
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.conf import accounts_database, atomic
from ninja_auth_kit.exceptions import AccountProtectedError, SessionEndedError, WrongPasswordError
from ninja_auth_kit.models import UserSession
from ninja_auth_kit.models.sessions import EndReason
from ninja_auth_kit.models.users import lock_user, may_authenticate, settable_field
from ninja_auth_kit.services.internal.custom_fields import checked_values, refusal_of
from ninja_auth_kit.services.internal.throttling import password_check


@sensitive_variables()
def update_account(*, user: Any, values: Mapping[str, Any], client: ClientInfo) -> Any:
    """Set fields of a user and return the user as it is now. What has its value already is not written.

    Args:
        user: whose; logged in.
        values: by the names of fields.
        client: who is calling.

    Raises:
        InvalidInputError: a field does not take its value, or somebody else has it and it must be unique.
        SessionEndedError: the password changed, or the user was disabled or deleted, meanwhile.
        ValueError: a field is one that only the kit or an administrator sets.
    """
    checked = checked_values(values)
    if not checked:
        return user
    try:
        with atomic():
            return _update(user, checked, client=client)
    except IntegrityError as error:
        raise refusal_of(error, values) or error from error


def _update(user: Any, checked: dict[str, Any], *, client: ClientInfo) -> Any:
    current = lock_user(user.pk)
    if current is None or current.password != user.password or not may_authenticate(current):
        raise SessionEndedError
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
    if isinstance(after, dict | list):  # to Python 1, 1.0 and True are equal, in JSON they are not
        return json.dumps(before, sort_keys=True, default=repr) == json.dumps(after, sort_keys=True, default=repr)
    return bool(before == after)


@sensitive_variables()
def delete_account(*, user: Any, password: str, client: ClientInfo) -> None:
    """Delete a user and everything that the database holds on to the user by a cascade. The audit trail stays.

    Args:
        user: who; logged in.
        password: as typed; a stolen access token alone must not be enough.
        client: who is calling.

    Raises:
        WrongPasswordError: `password` is not that of the account.
        AccountProtectedError: rows of the host need the user (`on_delete=PROTECT`, or a foreign key that only the
            database knows); nothing is deleted.
        SessionEndedError: the password changed, or the user was deleted or banned, meanwhile.
        ThrottledError: too many wrong passwords for this account, or hashed for this network.
        ServiceUnavailableError: too many passwords are being hashed.
    """
    with password_check(user=user, client=client):
        if not check_password(password, user.password):
            signals.account_deletion_failed.announce(user=user, client=client, reason="wrong_password")
            raise WrongPasswordError
    try:
        _delete(user, client=client)
    except (ProtectedError, RestrictedError, IntegrityError) as error:
        signals.account_deletion_failed.announce(user=user, client=client, reason="protected")
        raise AccountProtectedError from error


def _delete(user: Any, *, client: ClientInfo) -> None:
    with atomic():
        current = lock_user(user.pk)
        if current is None or current.password != user.password or not may_authenticate(current):
            raise SessionEndedError
        ended = UserSession.objects.end(reason=EndReason.REVOKED, user_id=user.pk)
        gone = copy.copy(current)  # deleting takes the key off the instance, and the receivers want to know who it was
        signals.account_deleted.announce(user=gone, client=client, sessions_ended=len(ended))
        current.delete()
