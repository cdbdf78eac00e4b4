"""The unsaved user of a registration, which `CREATE_USER` of your project may create."""

from collections.abc import Mapping
from itertools import chain
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import NON_FIELD_ERRORS, ImproperlyConfigured, ValidationError
from django.db.models import UniqueConstraint

from ninja_auth_kit.conf import atomic, imported, settings
from ninja_auth_kit.models.email_addresses import InvalidEmailError, canonical_email
from ninja_auth_kit.models.unique_values import names_in, user_models
from ninja_auth_kit.models.users import email_field, has_username, settable_field
from ninja_auth_kit.services.internal.user_fields import as_field_errors, check_user_fields

# What makes a user more than a pending registration (see `is_pending`), and the value of a pending one.
_PENDING = {"is_active": True, "is_staff": False, "is_superuser": False, "last_login": None}


def has_hook() -> bool:
    """Return whether your project creates the users of registrations."""
    return settings.CREATE_USER is not None


def new_user(values: Mapping[str, Any], *, email: str) -> Any:
    """Return an unsaved user with these values. `CREATE_USER` may have added others.

    It runs before anything is known about the address, and so in every case. What it does can neither reveal who has
    an account, nor take longer for one address than for another.

    Args:
        values: checked values by attribute of the user model.
        email: the address as typed; emails are sent to this spelling.

    Raises:
        InvalidInputError: `CREATE_USER` raised a `ValidationError`, or set a value that a field does not accept.
        ImproperlyConfigured: `CREATE_USER` cannot be imported, or returned something else than such a user.
    """
    if not has_hook():
        return get_user_model()(**values)
    try:
        with atomic():  # undoes what the hook has saved, if it is refused
            user = imported("CREATE_USER")(dict(values))
            _check_result(user, email=email)
    except ValidationError as error:
        _require_not_about_uniqueness(error)
        raise as_field_errors(error, values) from None
    setattr(user, email_field(), email)
    check_user_fields(user)
    return user


def set_fields(user: Any, sent: Mapping[str, Any]) -> set[str]:
    """Return the names of the fields of a new user that were sent, or that `CREATE_USER` has set.

    A field that was left out does not count, even if the schema has it: `save()` may be what fills it.

    Args:
        user: the unsaved user.
        sent: the values of the registration, by field name; None if a value was left out.
    """
    names = {settable_field(name).name for name, value in sent.items() if value is not None}
    if has_username():
        names.add(user.USERNAME_FIELD)
    if has_hook():
        columns = [field for field in user._meta.concrete_fields if not field.generated]
        names |= {field.name for field in columns if _is_set(getattr(user, field.attname))}
    return names


def _is_set(value: Any) -> bool:
    return value not in (None, "") and not hasattr(value, "resolve_expression")  # a default of the database


def _check_result(user: Any, *, email: str) -> None:
    """Check what `CREATE_USER` returned.

    Raises:
        ImproperlyConfigured: it is not an unsaved user with the address of the registration, or it is not pending.
    """
    model = get_user_model()
    if not isinstance(user, model):
        raise _wrong(f"must return a {model.__name__} (got a value of the type {type(user).__name__}).")
    if not user._state.adding:
        raise _wrong(
            "must return an unsaved user. Create rows that need the saved user in a receiver of user_registered."
        )
    if not _is_address(getattr(user, email_field()), canonical_email(email)):
        raise _wrong(f"must not change the email address in {email_field()!r}.")
    changed = [name for name, value in _PENDING.items() if getattr(user, name, value) != value]
    if changed:
        raise _wrong(
            f"must not set {' or '.join(changed)}: if the address is in use, no such user is created, so the next "
            "login would reveal who has an account. Set it in a receiver of email_verified."
        )


def _is_address(email: Any, canonical: str) -> bool:
    try:
        return isinstance(email, str) and canonical_email(email) == canonical
    except InvalidEmailError:
        return False


def _require_not_about_uniqueness(error: ValidationError) -> None:
    """Check that a hook does not reveal who has an account.

    Raises:
        ImproperlyConfigured: it has looked for other users with the same address, as `full_clean()` does.
    """
    faults: Any = error.error_dict if hasattr(error, "error_dict") else {NON_FIELD_ERRORS: error.error_list}
    by_field = any(fault.code == "unique" for fault in faults.get(email_field(), []))
    if by_field or any(map(_is_about_address, faults.get(NON_FIELD_ERRORS, []))):
        raise _wrong(
            "must not check whether the email address is in use, because the answer would reveal who has an account. "
            "Do not call full_clean() or validate_unique(): the kit checks the fields of the user."
        ) from None


def _is_about_address(fault: ValidationError) -> bool:
    """Return whether an error that names no field is of a unique constraint about the address."""
    fields = (fault.params or {}).get("unique_check", ())
    messages = {
        constraint.get_violation_error_message()
        for model in user_models()
        for constraint in model._meta.constraints
        if isinstance(constraint, UniqueConstraint)
        and email_field() in chain.from_iterable(map(names_in, constraint.fields or constraint.expressions))
    }
    return email_field() in fields or not messages.isdisjoint(fault.messages)


def _wrong(text: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"NINJA_AUTH_KIT['CREATE_USER'] {text}")
