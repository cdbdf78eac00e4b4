"""The account itself: deleting it."""

import copy
from typing import Any

from django.contrib.auth.hashers import check_password
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError, RestrictedError
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit import signals
from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.exceptions import AccountProtectedError, SessionEndedError, WrongPasswordError
from ninja_auth_kit.models import EndReason, UserSession, database, lock_user
from ninja_auth_kit.services.throttling import password_check


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
        SessionEndedError: the password changed, or the user was deleted, meanwhile.
        ThrottledError: too many wrong passwords for this account.
    """
    with password_check(user=user, client=client):
        if not check_password(password, user.password):
            signals.account_deletion_failed.announce(
                using=database(), user=user, client=client, reason="wrong_password"
            )
            raise WrongPasswordError
    try:
        _delete(user, client=client)
    except (ProtectedError, RestrictedError, IntegrityError) as error:
        signals.account_deletion_failed.announce(using=database(), user=user, client=client, reason="protected")
        raise AccountProtectedError from error


def _delete(user: Any, *, client: ClientInfo) -> None:
    with transaction.atomic(using=database()):
        current = lock_user(user.pk)
        if current is None or current.password != user.password:
            raise SessionEndedError
        ended = UserSession.objects.end(reason=EndReason.REVOKED, user_id=user.pk)
        gone = copy.copy(current)  # deleting takes the key off the instance, and the receivers want to know who it was
        signals.account_deleted.announce(using=database(), user=gone, client=client, sessions_ended=len(ended))
        current.delete()
