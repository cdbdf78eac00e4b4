"""Values for the fields of a user that a schema of the host lets in: checked as the model and the database would."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, connections
from django.db.models import CheckConstraint
from django.utils.translation import gettext_lazy as _
from psycopg import errors

from ninja_auth_kit.conf import accounts_database
from ninja_auth_kit.exceptions import FieldError, InvalidInputError
from ninja_auth_kit.models.users import is_unique, settable_field, user_models
from ninja_auth_kit.services.internal.identifiers import without_echo

# Django's codes and the kit's; whatever else a validator says is "invalid".
_CODES = {
    "max_length": "too_long",
    "blank": "required",
    "null": "required",
    "control_character": "control_character",
}
# PostgreSQL stores neither NUL nor a lone surrogate, as text or in JSON.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_INVALID = _("This value is not valid.")
_TAKEN = (errors.UniqueViolation, errors.ExclusionViolation)


def checked_values(values: Mapping[str, Any], *, none_is_default: bool = False) -> dict[str, Any]:
    """Return the values by attribute, as the fields of the user model take them.

    Args:
        values: by the names of fields.
        none_is_default: whether None leaves a field at the default of the model.

    Raises:
        InvalidInputError: a field does not take its value.
        ValueError: a field is none that a schema of the host may set.
    """
    checked, faults = {}, []
    for name, value in values.items():
        field = settable_field(name)
        try:
            is_default = none_is_default and value is None
            checked[field.attname] = field.get_default() if is_default else _checked(field, value)
        except ValidationError as error:
            code = _CODES.get(str(error.error_list[0].code), "invalid")
            faults.append(FieldError(name, code, without_echo(error, value) or _INVALID))
    if faults:
        raise InvalidInputError(*faults)
    return checked


def _checked(field: Any, value: Any) -> Any:
    for leaf in _leaves(value):
        if isinstance(leaf, str) and _UNSTORABLE.search(leaf):
            raise ValidationError(
                _("This value contains a control character, which is not allowed. Remove it."),
                code="control_character",
            )
        if isinstance(leaf, float) and not math.isfinite(leaf):  # "1e999" is JSON, and what it becomes is not
            raise ValidationError(_INVALID)
    try:
        return field.clean(value, None)
    except OverflowError:  # a number that a float cannot hold
        raise ValidationError(_INVALID) from None


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        yield from value
        value = value.values()
    elif not isinstance(value, list | tuple | set | frozenset):
        yield value
        return
    for one in value:
        yield from _leaves(one)


def refuse_broken_rules(user: Any) -> None:
    """Hold a user that is not stored yet to the check constraints of the model.

    The database would too, but only for an address that is new: who gets an error there would learn that.

    Raises:
        InvalidInputError: a constraint is broken.
    """
    unknown = {"password", user._meta.pk.name}
    for model in user_models():
        for rule in model._meta.constraints:
            if not isinstance(rule, CheckConstraint):
                continue
            try:
                rule.validate(model, user, exclude=unknown, using=accounts_database())
            except ValidationError:
                own = rule.violation_error_message
                is_own = own and own != rule.default_violation_error_message  # Django's names the constraint
                raise InvalidInputError(FieldError("", "invalid", str(own) if is_own else _INVALID)) from None


def refusal_of(error: IntegrityError, values: Mapping[str, Any]) -> InvalidInputError | None:
    """Return what to tell of a constraint that refused an update; None where it is not one of the user's tables.

    By asking the database which columns it is about: looking before the update would miss who comes in between.

    Args:
        error: of a transaction that is rolled back.
        values: what was to be stored, by the names of fields.
    """
    cause = error.__cause__
    if not isinstance(cause, errors.Error):
        return None
    table, constraint = cause.diag.table_name, cause.diag.constraint_name
    if table not in {model._meta.db_table for model in user_models()}:
        return None
    connection: Any = connections[accounts_database()]
    with connection.cursor() as cursor:
        columns = connection.introspection.get_constraints(cursor, table).get(constraint, {}).get("columns", ())
    fields = {name: settable_field(name) for name in values}
    names = [name for name, field in fields.items() if field.column in columns]
    if not isinstance(cause, _TAKEN):
        return InvalidInputError(*(FieldError(name, "invalid", _INVALID) for name in names or [""]))
    # An index of expressions has no columns.
    names = names or [name for name, field in fields.items() if is_unique(field)] or [""]
    return InvalidInputError(
        *(FieldError(name, "taken", _("This value is already in use. Choose another one.")) for name in names)
    )
