"""The password that confirms an operation of a user who is logged in."""

from collections.abc import Callable
from typing import Any

from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from ninja_auth_kit.client import ClientInfo
from ninja_auth_kit.exceptions import FieldError, InvalidInputError, WrongPasswordError
from ninja_auth_kit.services.internal.password_hashing import is_password
from ninja_auth_kit.services.internal.throttling import password_check


@sensitive_variables()
def require_password(user: Any, password: str | None, *, field: str) -> None:
    """Require a password, unless the user has none to send.

    Raises:
        InvalidInputError: there is no password, and the user has one.
    """
    if password is None and user.has_usable_password():
        raise InvalidInputError(FieldError(field, "required", _("This field is required.")))


@sensitive_variables()
def check_own_password(
    user: Any, password: str | None, *, field: str, client: ClientInfo, announce_failure: Callable[[], object]
) -> None:
    """Check the password that confirms an operation: a stolen access token alone must not be enough (ASVS 6.2.3).

    Args:
        user: the owner of the account, who is logged in.
        password: as typed, or None for a user without a usable password.
        field: the field of the request that has it.
        client: the caller.
        announce_failure: called if the password is wrong.

    Raises:
        InvalidInputError: there is no password, and the user has one.
        WrongPasswordError: it is not the password of the account.
        ThrottledError: too many wrong passwords for this account, or too many passwords hashed for this network.
        ServiceUnavailableError: too many passwords are being hashed.
    """
    require_password(user, password, field=field)
    if password is None:
        return
    with password_check(user=user, client=client):
        if not is_password(password, user.password):
            announce_failure()
            raise WrongPasswordError
