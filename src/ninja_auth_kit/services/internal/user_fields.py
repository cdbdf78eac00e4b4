"""Values for the fields of a user: the email address, the username, and the fields of your project's schemas.

They are checked as the user model and the database check them, before anything is stored.
"""

import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import IntegrityError, connections
from django.db.models import CheckConstraint, FileField
from django.utils.translation import gettext_lazy as _
from psycopg import errors

from ninja_auth_kit.conf import accounts_database
from ninja_auth_kit.domains import ascii_recipient
from ninja_auth_kit.exceptions import FieldError, InvalidInputError
from ninja_auth_kit.models.email_addresses import InvalidEmailError, canonical_email
from ninja_auth_kit.models.unique_values import UniqueRule, base_fields, unique_rules, user_models
from ninja_auth_kit.models.users import email_field, find_user, has_username, settable_field

# Error codes of validators, and the code that the API reports for them; all others are "invalid".
_CODES = {
    "max_length": "too_long",
    "blank": "required",
    "null": "required",
    "control_character": "control_character",
}
# PostgreSQL stores neither NUL nor a lone surrogate, as text or in JSON.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_INVALID = _("This value is not valid.")
_INVALID_EMAIL = _("This email address is not valid. Check it and try again.")
_SMTPUTF8 = _(
    "The name of the mailbox may only have letters without accents, digits and signs. Enter another email address."
)
_TAKEN = _("This value is already in use. Choose another one.")
_TAKEN_ERRORS = (errors.UniqueViolation, errors.ExclusionViolation)


def find_account(email: str) -> Any | None:
    """Return the user who has an address that was typed, or None.

    Raises:
        InvalidInputError: it is not a valid address.
    """
    try:
        return find_user(email)
    except InvalidEmailError as error:
        raise InvalidInputError(_email_error("email", error)) from None


def _email_error(field: str, error: InvalidEmailError) -> FieldError:
    return FieldError(field, "invalid_email", _SMTPUTF8 if error.needs_smtputf8 else _INVALID_EMAIL)


def check_email(email: str, *, field: str = "email") -> str:
    """Check an address that an account is to have, and return its canonical spelling.

    Args:
        email: as typed.
        field: the name of the input field, for the error.

    Raises:
        InvalidInputError: it is not a valid address, or the user model's field does not accept it.
    """
    try:
        canonical = canonical_email(email)
    except InvalidEmailError as error:
        raise InvalidInputError(_email_error(field, error)) from None
    invalid = FieldError(field, "invalid_email", _INVALID_EMAIL)
    column: Any = get_user_model()._meta.get_field(email_field())
    if column.max_length is not None and len(email) > column.max_length:
        raise InvalidInputError(invalid)
    # With the domain in ASCII: the validator of Django reads others by IDNA 2003, which rejects some of IDNA 2008.
    _clean(email_field(), ascii_recipient(email), invalid)
    return canonical


def check_username(username: str) -> Any:
    """Check a username that an account is to have, and return it as the user model's field stores it.

    Raises:
        InvalidInputError: the field does not accept it.
    """
    model = get_user_model()
    error = FieldError("username", "invalid_username", _("This username is not valid. Choose another one."))
    return _clean(model.USERNAME_FIELD, model.normalize_username(username), error)


def _clean(name: str, value: str, invalid: FieldError) -> Any:
    field: Any = get_user_model()._meta.get_field(name)
    try:
        return field.clean(value, None)
    except ValidationError as error:
        raise InvalidInputError(replace(invalid, message=_without_echo(error, value) or invalid.message)) from None


def check_values(values: Mapping[str, Any], *, none_is_default: bool = False) -> dict[str, Any]:
    """Check values that one of your project's schemas accepts, and return them by attribute of the user model.

    Args:
        values: the values by field name.
        none_is_default: whether None means the default of the model.

    Raises:
        InvalidInputError: a field does not accept its value.
        ValueError: a field is not one that your project's schemas may set.
    """
    checked, invalid = {}, []
    for name, value in values.items():
        field = settable_field(name)
        try:
            is_default = none_is_default and value is None
            checked[field.attname] = field.get_default() if is_default else _clean_value(field, value)
        except ValidationError as error:
            code = _CODES.get(str(error.error_list[0].code), "invalid")
            invalid.append(FieldError(name, code, _without_echo(error, value) or _INVALID))
    if invalid:
        raise InvalidInputError(*invalid)
    return checked


def _clean_value(field: Any, value: Any) -> Any:
    for leaf in _leaves(value):
        if isinstance(leaf, str) and _UNSTORABLE.search(leaf):
            raise ValidationError(
                _("This value contains a control character, which is not allowed. Remove it."),
                code="control_character",
            )
        # The JSON number 1e999 becomes infinity, which JSON cannot express.
        if isinstance(leaf, float) and not math.isfinite(leaf):
            raise ValidationError(_INVALID)
    try:
        return field.clean(value, None)
    except OverflowError:  # an integer that is too large for a float
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


def _without_echo(error: ValidationError, value: Any) -> str:
    """Return the messages of validators, without those that repeat the value (ASVS 16.2.5).

    For a list or an object the result is empty, because a message may repeat a part of it.
    """
    if isinstance(value, Collection) and not isinstance(value, str):
        return ""
    spellings = {str(value).casefold(), repr(value).strip("'\"").casefold()} - {""}
    return " ".join(message for message in error.messages if not any(one in message.casefold() for one in spellings))


def check_user_fields(user: Any) -> None:
    """Check the values of an unsaved user that `CREATE_USER` has returned, and store them as the fields have them.

    Empty values are not checked: an empty text is what a field without a value has.

    Raises:
        InvalidInputError: a field does not accept its value.
    """
    invalid = []
    for field in user._meta.concrete_fields:
        is_own = field.primary_key or field.name in {"password", email_field()} or isinstance(field, FileField)
        value = None if is_own or field.generated else getattr(user, field.attname)
        if not value or hasattr(value, "resolve_expression"):  # a default of the database
            continue
        try:
            setattr(user, field.attname, _clean_value(field, value))
        except ValidationError as error:
            invalid.append(_field_error(field.name, error, value))
    if invalid:
        raise InvalidInputError(*invalid)


def as_field_errors(error: ValidationError, values: Mapping[str, Any]) -> InvalidInputError:
    """Return the input error for a `ValidationError` of your project. It keeps the codes and names the fields.

    Args:
        error: raised by your project.
        values: the values that were checked, by attribute of the user model. The messages must not repeat them.
    """
    faults = error.error_dict if hasattr(error, "error_dict") else {NON_FIELD_ERRORS: error.error_list}
    return InvalidInputError(
        *(
            _field_error("" if name == NON_FIELD_ERRORS else name, fault, values.get(name, ""))
            for name, found in faults.items()
            for fault in found
        )
    )


def _field_error(name: str, error: ValidationError, value: Any) -> FieldError:
    code = str(error.error_list[0].code or "invalid")
    is_username = has_username() and name == get_user_model().USERNAME_FIELD
    return FieldError(
        "username" if is_username else name, _CODES.get(code, code), _without_echo(error, value) or _INVALID
    )


def check_constraints(user: Any) -> None:
    """Check an unsaved user against the check constraints of the user model.

    Attack: the database checks them too, but only if a registration stores the user. An error for a new address and
    none for a taken one would reveal who has an account.

    Test:
    tests/test_custom_schemas.py::test_what_a_constraint_refuses_is_refused_whoever_has_the_address

    Raises:
        InvalidInputError: a constraint is violated.
    """
    unknown = {"password", user._meta.pk.name}
    for model in user_models():
        for constraint in model._meta.constraints:
            if not isinstance(constraint, CheckConstraint):
                continue
            try:
                constraint.validate(model, user, exclude=unknown, using=accounts_database())
            except ValidationError:
                message = constraint.violation_error_message
                # Django's default message contains the name of the constraint.
                is_own = message and message != constraint.default_violation_error_message
                raise InvalidInputError(FieldError("", "invalid", str(message) if is_own else _INVALID)) from None


def as_input_error(
    error: IntegrityError, values: Collection[str], *, only_taken: bool = False
) -> InvalidInputError | None:
    """Return the input error for a constraint that rejected a user, or None if it is not on the user's tables.

    The fields are found by looking up the columns of the constraint. Checking the values before the update instead
    would miss concurrent requests.

    Args:
        error: raised by a transaction that has been rolled back.
        values: the names of the values that were to be stored.
        only_taken: whether to return None unless one of these values must be unique and another user has it.
    """
    cause = error.__cause__
    if not isinstance(cause, errors.Error):
        return None
    table, constraint = cause.diag.table_name, cause.diag.constraint_name
    if table not in {model._meta.db_table for model in user_models()}:
        return None
    fields = _fields_of_constraint(str(table), constraint)
    names = [name for name in values if settable_field(name).name in fields]
    if isinstance(cause, _TAKEN_ERRORS):
        return None if only_taken and not names else InvalidInputError(*map(_taken, names or [""]))
    if only_taken:
        return None
    return InvalidInputError(*(FieldError(name, "invalid", _INVALID) for name in names or [""]))


def _fields_of_constraint(table: str, constraint: str | None) -> set[str]:
    """Return the names of the fields of a constraint.

    An index on expressions has no columns. If the user model does not know it, any field that must be unique may be
    the cause.
    """
    connection: Any = connections[accounts_database()]
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, table).get(constraint, {}).get("columns", ())
    rules = unique_rules()
    named = [rule for rule in rules if rule.name == f"{table} {constraint}"]
    columns = {column for column in found if column is not None}
    if columns and not named:
        fields = [field for field in get_user_model()._meta.concrete_fields if field.column in columns]
        return {name for field in fields for name in base_fields(field)}
    return {name for rule in named or rules for name in rule.fields}


def taken_error(rules: Collection[UniqueRule], sent: Collection[str]) -> InvalidInputError:
    """Return the input error for unique values that another user has.

    Args:
        rules: the rules that they violate.
        sent: the names of the input fields. The error names those that a rule is about, or all fields of the rule if
            it is about others.
    """
    columns = {name: settable_field(name).name for name in sent}
    if has_username():
        columns["username"] = get_user_model().USERNAME_FIELD
    named: dict[str, None] = {}
    for rule in rules:
        names = [name for name, column in columns.items() if column in rule.fields]
        named.update(dict.fromkeys(names or sorted(rule.fields)))
    return InvalidInputError(*map(_taken, named))


def _taken(name: str) -> FieldError:
    if name == "username":
        return FieldError(name, "username_taken", _("This username is already in use. Choose another one."))
    return FieldError(name, f"{name}_taken" if name else "taken", _TAKEN)
