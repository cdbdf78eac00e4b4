"""What an address and a name must be that somebody wants to have: the kit's rules, and those of the host's model."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from ninja_auth_kit.exceptions import FieldError, InvalidInputError
from ninja_auth_kit.models.email_addresses import InvalidEmailError, canonical_email
from ninja_auth_kit.models.users import email_field, find_user

_INVALID_EMAIL = _("This email address is not valid. Check it and try again.")


def checked_email(email: str, *, field: str = "email") -> str:
    """Return the canonical spelling of an address that somebody wants to have.

    Args:
        email: as typed.
        field: the name of the input field, for the error.

    Raises:
        InvalidInputError: it is no address, or none that the user model's field takes.
    """
    fault = FieldError(field, "invalid_email", _INVALID_EMAIL)
    try:
        canonical = canonical_email(email)
    except InvalidEmailError:
        raise InvalidInputError(fault) from None
    _clean(email_field(), email, fault)
    return canonical


def user_of(email: str) -> Any | None:
    """Return who holds an address that somebody has typed, or None.

    Raises:
        InvalidInputError: it is no address.
    """
    try:
        return find_user(email)
    except InvalidEmailError:
        raise InvalidInputError(FieldError("email", "invalid_email", _INVALID_EMAIL)) from None


def checked_username(username: str) -> Any:
    """Return a name that somebody wants to have, as the user model's field takes it.

    Raises:
        InvalidInputError: the field does not take it.
    """
    model = get_user_model()
    fault = FieldError("username", "invalid_username", _("This username is not valid. Choose another one."))
    return _clean(model.USERNAME_FIELD, model.normalize_username(username), fault)


def _clean(name: str, value: str, fault: FieldError) -> Any:
    field: Any = get_user_model()._meta.get_field(name)
    try:
        return field.clean(value, None)
    except ValidationError as error:
        raise InvalidInputError(replace(fault, message=without_echo(error, value) or fault.message)) from None


def without_echo(error: ValidationError, value: Any) -> str:
    """Return what validators say of a value, less what repeats it (ASVS 16.2.5); "" where nothing is left.

    Of a list or an object nothing is: a part of it might be repeated.
    """
    if isinstance(value, Collection) and not isinstance(value, str):
        return ""
    spellings = {str(value).casefold(), repr(value).strip("'\"").casefold()} - {""}
    return " ".join(message for message in error.messages if not any(one in message.casefold() for one in spellings))
