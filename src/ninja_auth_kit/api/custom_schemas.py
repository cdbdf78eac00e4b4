"""The schemas that your project can replace, each named by a dotted path in the settings.

    REGISTRATION_SCHEMA   derives from `schemas.RegistrationIn` and adds fields of the user model
    PROFILE_SCHEMA        any schema; each field is a field of the user model and has a default
    USER_SCHEMA           a Ninja schema that the user model can fill; `schemas.UserOut` is a base class to extend

They are imported once, when the first API is built, and their fields are checked at that moment. A field that grants
permissions must not be found by the first client that sends it.
"""

from collections.abc import Iterator
from datetime import datetime
from enum import Enum
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from ninja import Field, Schema
from pydantic import BaseModel, SecretBytes, SecretStr, create_model

from ninja_auth_kit.api.schemas import (
    Body,
    ProfileIn,
    RegistrationIn,
    RegistrationWithUsernameIn,
    Username,
    UserOut,
    with_offset,
)
from ninja_auth_kit.conf import imported, imported_callable
from ninja_auth_kit.models.unique_values import is_in_exclusion_constraint, unique_rules
from ninja_auth_kit.models.users import has_username, settable_field

# The hints of E011, by setting.
HINTS = {
    "REGISTRATION_SCHEMA": "Derive a schema from ninja_auth_kit.api.schemas.RegistrationIn, and set the key to its "
    "full dotted path.",
    "PROFILE_SCHEMA": "Write a ninja.Schema of optional fields of the user model, and set the key to its full dotted "
    "path.",
    "USER_SCHEMA": "Derive a schema from ninja_auth_kit.api.schemas.UserOut, and set the key to its full dotted path.",
}
CALLABLE_HINTS = {
    "ACCESS_TOKEN_CLAIMS": "Write a function of user and session that returns a dict, and set the key to its full "
    "dotted path.",
    "CREATE_USER": "Write a function that takes a dict of values and returns an unsaved user, and set the key to its "
    "full dotted path.",
    "DOCS_DECORATOR": "Set the key to the full dotted path of a decorator of views, such as "
    "'django.contrib.admin.views.decorators.staff_member_required'.",
    "CONNECTION_STATE": "Write a function that takes a connection and returns a function that prepares another one, "
    "and set the key to its full dotted path.",
    "TENANT_SETTINGS": "Write a function that takes a connection and returns a dict of settings, and set the key to "
    "its full dotted path.",
}
# The hint of E012.
FIELDS_HINT = (
    "Remove the field from the schema. REGISTRATION_SCHEMA can have editable fields of the user model that are not in "
    "an exclusion constraint, and PROFILE_SCHEMA editable fields that have a default. Passwords and email addresses "
    "have endpoints of their own, and administrators grant permissions."
)
_BASES: dict[str, type[BaseModel]] = {
    "REGISTRATION_SCHEMA": RegistrationIn,
    "PROFILE_SCHEMA": BaseModel,
    "USER_SCHEMA": Schema,
}


def registration_schema() -> type[RegistrationIn]:
    """Return the schema of a registration. It has a username if users have one.

    Raises:
        ImproperlyConfigured: `REGISTRATION_SCHEMA` names the wrong kind of object, or a schema with a field that it
            must not have.
    """
    custom: type[RegistrationIn] | None = _checked_schema("REGISTRATION_SCHEMA")
    if custom is None:
        return _default_registration()
    if not has_username() or "username" in custom.model_fields:
        return custom
    return create_model(
        custom.__name__,
        __base__=custom,
        __module__=custom.__module__,
        __doc__=custom.__doc__,
        username=(Username, ...),
    )


def profile_schema() -> type[Body]:
    """Return the schema of `PATCH me`. It rejects unknown fields, even if the schema of your project allows them.

    Raises:
        ImproperlyConfigured: `PROFILE_SCHEMA` names the wrong kind of object, or a schema with a field that it must
            not have.
    """
    custom = _checked_schema("PROFILE_SCHEMA")
    if custom is None:
        return ProfileIn
    # The configuration of the last base class wins, and that of Body rejects unknown fields.
    return create_model(custom.__name__, __base__=(custom, Body), __module__=custom.__module__, __doc__=custom.__doc__)


def user_schema() -> type[Schema]:
    """Return the schema of the response of `GET me`. By default, it has the public unique fields of the other schemas.

    Raises:
        ImproperlyConfigured: `USER_SCHEMA` names the wrong kind of object, or a schema that shows the hash of the
            password.
    """
    custom: type[Schema] | None = _checked_schema("USER_SCHEMA")
    if custom is not None:
        return custom
    shown = _public_fields()
    return (
        create_model(UserOut.__name__, __base__=UserOut, __module__=UserOut.__module__, **shown) if shown else UserOut
    )


def _public_fields() -> dict[str, Any]:
    """Return the unique fields that users can set, as pydantic defines them, without those that `UserOut` has."""
    public = {name for rule in unique_rules() for name in rule.fields}
    shown: dict[str, Any] = {}
    for setting in ("REGISTRATION_SCHEMA", "PROFILE_SCHEMA"):
        schema = _checked_schema(setting)
        for name in [] if schema is None else _additional_names(schema):
            field, declared = settable_field(name), schema.model_fields[name].annotation
            if field.name in public and name not in UserOut.model_fields:
                shown[name] = (declared | None if field.null else declared, Field(validation_alias=field.attname))
    return shown


def add_offsets(value: Any) -> Any:
    """Return a value of a response with an offset at every datetime, because OpenAPI says `format: date-time`.

    A model is changed in place: a schema of your project may be frozen, or have other names for its fields.
    """
    if isinstance(value, datetime):
        return with_offset(value)
    if isinstance(value, BaseModel):
        vars(value).update({name: add_offsets(one) for name, one in vars(value).items()})
        return value
    if isinstance(value, dict):
        return {key: add_offsets(one) for key, one in value.items()}
    return [add_offsets(one) for one in value] if isinstance(value, list | tuple) else value


def _checked_schema(setting: str) -> Any:
    """Return the schema that a setting names, or None.

    The error has the text of the system check. If the URLconf imports the API, this error comes before any check.
    """
    try:
        schema = custom_schema(setting)
    except ImproperlyConfigured as error:
        raise _as_check("E011", str(error), HINTS[setting]) from error
    if schema is not None:
        for fault in faults(setting, schema):
            raise _as_check("E012", fault, FIELDS_HINT)
    return schema


def docs_decorator() -> Any:
    """Return the decorator of the kit's pages of documentation, or None.

    Raises:
        ImproperlyConfigured: `DOCS_DECORATOR` does not name a callable.
    """
    try:
        return imported_callable("DOCS_DECORATOR")
    except ImproperlyConfigured as error:
        raise _as_check("E011", str(error), CALLABLE_HINTS["DOCS_DECORATOR"]) from error


def _as_check(number: str, message: str, hint: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"(ninja_auth_kit.{number}) {message}\n\tHINT: {hint}")


def custom_schema(setting: str) -> Any:
    """Return the class that a setting names, or None.

    Raises:
        ImproperlyConfigured: the path cannot be imported, or names the wrong kind of object.
    """
    custom, base = imported(setting), _BASES[setting]
    if custom is None:
        return None
    if not (isinstance(custom, type) and issubclass(custom, base)):
        raise ImproperlyConfigured(
            f"NINJA_AUTH_KIT[{setting!r}] must name a class that derives from {base.__module__}.{base.__qualname__}."
        )
    try:
        custom.model_rebuild()  # resolves annotations that name a class defined later
    except NameError as error:
        cause = f"{type(error).__name__}: {error}"
        raise ImproperlyConfigured(f"NINJA_AUTH_KIT[{setting!r}] cannot be imported: {cause}") from error
    return custom


def faults(setting: str, schema: type[BaseModel]) -> Iterator[str]:
    """Yield a sentence about each field that a custom schema must not have."""
    if setting == "REGISTRATION_SCHEMA":
        for name in _additional_names(schema):
            yield from _faults_of_field(setting, name, is_registration=True)
        yield from _faults_of_redeclared_fields(schema)
    if setting == "PROFILE_SCHEMA":
        for name, field in schema.model_fields.items():
            yield from _faults_of_field(setting, name, is_registration=False)
            if field.is_required():
                yield (
                    f"NINJA_AUTH_KIT[{setting!r}] must not require the field {name!r}: a PATCH request contains only "
                    "the fields that change."
                )
    if setting == "USER_SCHEMA":
        yield from _faults_of_shown_fields(schema)


def _faults_of_field(setting: str, name: str, *, is_registration: bool) -> Iterator[str]:
    try:
        field = settable_field(name)
    except ValueError as error:
        yield f"NINJA_AUTH_KIT[{setting!r}] must not have the field {name!r}: {error}."
        return
    if is_registration and is_in_exclusion_constraint(field):
        yield (
            f"NINJA_AUTH_KIT[{setting!r}] must not have the field {name!r}: it is in an exclusion constraint, and a "
            "registration whose address is in use cannot reserve its value. So the conflict would reveal who has an "
            "account."
        )


def _faults_of_redeclared_fields(schema: type[BaseModel]) -> Iterator[str]:
    """Yield a sentence about each of the kit's fields that a registration declares again in another way.

    A new declaration with a type alone would drop the maximum length and the check for characters that hashers do not
    accept.
    """
    for name, original in _default_registration().model_fields.items():
        field = schema.model_fields.get(name, original)
        is_unchanged = field.annotation is original.annotation and field.metadata == original.metadata
        if not is_unchanged or not field.is_required():
            yield (
                f"NINJA_AUTH_KIT['REGISTRATION_SCHEMA'] must not change the field {name!r}, which it inherits: it is "
                "required, and its type and its rules stay the same."
            )


def _faults_of_shown_fields(schema: type[BaseModel]) -> Iterator[str]:
    for name, field in schema.model_fields.items():
        if "password" in (name, field.alias, field.validation_alias):
            yield (
                f"NINJA_AUTH_KIT['USER_SCHEMA'] must not have the field {name!r}: it shows the hash of the password, "
                "and an attacker who has the hash can guess the password."
            )


def additional_fields(body: BaseModel, *, only_sent: bool) -> dict[str, Any]:
    """Return the values that a body has for fields of the user model, by name.

    Fields that the schema does not declare are ignored, even if the schema of your project allows them.

    Args:
        body: an instance of the schema of a registration or of a profile.
        only_sent: whether to leave out fields that the client did not send.
    """
    names = set(_additional_names(type(body)))
    # `exclude_unset` would also remove the defaults of nested models.
    values = body.model_dump(include=names & body.model_fields_set if only_sent else names)
    return {name: _plain_value(value) for name, value in values.items()}


def _plain_value(value: Any) -> Any:
    """Return a value as a model field accepts it: the value of a choice, and the content of a secret."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, SecretBytes):  # bytes that are not text become lone surrogates, which every field rejects
        return value.get_secret_value().decode(errors="surrogateescape")
    if isinstance(value, dict):
        return {_plain_value(key): _plain_value(one) for key, one in value.items()}
    return [_plain_value(one) for one in value] if isinstance(value, list | tuple | set | frozenset) else value


def _additional_names(schema: type[BaseModel]) -> list[str]:
    """Return the names of the fields that a schema has and the kit's own registration does not."""
    own = _default_registration().model_fields if issubclass(schema, RegistrationIn) else {}
    return [name for name in schema.model_fields if name not in own]


def _default_registration() -> type[RegistrationIn]:
    return RegistrationWithUsernameIn if has_username() else RegistrationIn
