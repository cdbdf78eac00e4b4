"""The schemas that a host may replace by a dotted path. They are read once, when the first API is built.

    REGISTRATION_SCHEMA   derives from `schemas.RegistrationIn`, and adds fields of the user model
    PROFILE_SCHEMA        any schema; each of its fields is one of the user model, and has a default
    USER_SCHEMA           a Ninja schema that a user can fill; derived from `schemas.UserOut` it keeps what that has

What they let in is checked here, at start: a field that gives rights must not wait for the first who tries it.
"""

from collections.abc import Iterator
from enum import Enum
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from ninja import Schema
from pydantic import BaseModel, SecretBytes, SecretStr, create_model

from ninja_auth_kit.api.schemas import Body, ProfileIn, RegistrationIn, RegistrationWithUsernameIn, Username, UserOut
from ninja_auth_kit.conf import imported
from ninja_auth_kit.models.users import has_username, is_unique, settable_field

HINTS = {
    "REGISTRATION_SCHEMA": "Derive a schema from ninja_auth_kit.api.schemas.RegistrationIn, and name it in full.",
    "PROFILE_SCHEMA": "Write a ninja.Schema of optional fields of the user model, and name it in full.",
    "USER_SCHEMA": "Derive a schema from ninja_auth_kit.api.schemas.UserOut, and name it in full.",
}
FIELDS_HINT = (
    "Leave it out. Registration takes editable fields of the user model that are not unique, PATCH me optional ones; "
    "password and address have endpoints of their own, and rights are given by administrators."
)
BASES: dict[str, type[BaseModel]] = {
    "REGISTRATION_SCHEMA": RegistrationIn,
    "PROFILE_SCHEMA": BaseModel,
    "USER_SCHEMA": Schema,
}


def registration_schema() -> type[RegistrationIn]:
    """Return the body of a registration: the host's or the kit's, with a username where users have one.

    Raises:
        ImproperlyConfigured: `REGISTRATION_SCHEMA` names nothing of the kind, or asks for a field that it must not.
    """
    chosen: type[RegistrationIn] | None = _accepted("REGISTRATION_SCHEMA")
    if chosen is None:
        return _kits_registration()
    if not has_username() or "username" in chosen.model_fields:
        return chosen
    return create_model(
        chosen.__name__,
        __base__=chosen,
        __module__=chosen.__module__,
        __doc__=chosen.__doc__,
        username=(Username, ...),
    )


def profile_schema() -> type[Body]:
    """Return what PATCH me takes: the host's fields, as strict as every body of the kit, or none.

    Raises:
        ImproperlyConfigured: `PROFILE_SCHEMA` names nothing of the kind, or has a field that it must not.
    """
    chosen = _accepted("PROFILE_SCHEMA")
    if chosen is None:
        return ProfileIn
    # Of several configurations the last one counts: with that of Body nothing is let in that is not a field.
    return create_model(chosen.__name__, __base__=(chosen, Body), __module__=chosen.__module__, __doc__=chosen.__doc__)


def user_schema() -> type[Schema]:
    """Return what a user is shown as.

    Raises:
        ImproperlyConfigured: `USER_SCHEMA` names nothing of the kind, or shows the password's hash.
    """
    return _accepted("USER_SCHEMA") or UserOut


def further_fields(body: BaseModel, *, sent_alone: bool) -> dict[str, Any]:
    """Return what a body says of fields of the user model: declared ones, whatever else the host's schema lets in.

    Args:
        body: of a schema of the host.
        sent_alone: whether to leave out what was not sent.
    """
    names = set(_further(type(body)))
    # Not `exclude_unset`, which would take the defaults out of nested models too.
    values = body.model_dump(include=names & body.model_fields_set if sent_alone else names)
    return {name: _plain(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    """Return a value as a field of a model takes it: the value of a choice, and of a secret what it hides."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, SecretBytes):  # what is no text becomes lone surrogates, which no field takes
        return value.get_secret_value().decode(errors="surrogateescape")
    if isinstance(value, dict):
        return {_plain(key): _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple | set | frozenset) else value


def custom_schema(setting: str) -> Any:
    """Return the class that a setting names, or None.

    Raises:
        ImproperlyConfigured: it names nothing, or nothing of the kind.
    """
    found, base = imported(setting), BASES[setting]
    if found is None:
        return None
    if isinstance(found, type) and issubclass(found, base):
        return _completed(setting, found)
    raise ImproperlyConfigured(
        f"NINJA_AUTH_KIT[{setting!r}] must name a class derived from {base.__module__}.{base.__qualname__}."
    )


def _completed(setting: str, schema: type[BaseModel]) -> type[BaseModel]:
    try:
        schema.model_rebuild()  # does nothing where no annotation has waited for a name
    except NameError as error:
        cause = f"{type(error).__name__}: {error}"
        raise ImproperlyConfigured(f"NINJA_AUTH_KIT[{setting!r}] cannot be imported: {cause}") from error
    return schema


def faults(setting: str, schema: type[BaseModel]) -> Iterator[str]:
    """Say what is wrong with the fields of a schema of the host, in sentences."""
    if setting == "REGISTRATION_SCHEMA":
        for name in _further(schema):
            yield from _unsettable(setting, name, may_be_unique=False)
        yield from _changed(schema)
    if setting == "PROFILE_SCHEMA":
        for name, field in schema.model_fields.items():
            yield from _unsettable(setting, name, may_be_unique=True)
            if field.is_required():
                yield f"NINJA_AUTH_KIT[{setting!r}] must not require {name!r}: a PATCH has what changes and no more."
    if setting == "USER_SCHEMA":
        yield from _revealing(schema)


def _unsettable(setting: str, name: str, *, may_be_unique: bool) -> Iterator[str]:
    try:
        field = settable_field(name)
    except ValueError as error:
        yield f"NINJA_AUTH_KIT[{setting!r}] must not have {name!r}: {error}."
        return
    if is_unique(field) and not may_be_unique:
        yield f"NINJA_AUTH_KIT[{setting!r}] must not have {name!r}: it is unique, and would tell who has an account."


def _revealing(schema: type[BaseModel]) -> Iterator[str]:
    for name, field in schema.model_fields.items():
        if "password" in (name, field.alias, field.validation_alias):
            yield f"NINJA_AUTH_KIT['USER_SCHEMA'] must not have {name!r}: who sees the hash can guess the password."


def _changed(schema: type[BaseModel]) -> Iterator[str]:
    """Find the fields of the kit that a registration of the host declares anew, and as something else.

    A type alone would drop the bound of the length, and the look for what no hasher takes.
    """
    for name, own in _kits_registration().model_fields.items():
        field = schema.model_fields.get(name, own)
        is_as_it_was = field.annotation is own.annotation and field.metadata == own.metadata
        if not is_as_it_was or not field.is_required():
            yield (
                f"NINJA_AUTH_KIT['REGISTRATION_SCHEMA'] must leave {name!r} required, and of the type and with the "
                "rules that it has."
            )


def _accepted(setting: str) -> Any:
    try:
        schema = custom_schema(setting)
    except ImproperlyConfigured as error:
        raise _numbered("E011", str(error), HINTS[setting]) from error
    if schema is not None:
        for fault in faults(setting, schema):
            raise _numbered("E012", fault, FIELDS_HINT)
    return schema


def _numbered(number: str, fault: str, hint: str) -> ImproperlyConfigured:
    """Return an error that reads as the system check would: where the URLconf has the kit, no check comes so far."""
    return ImproperlyConfigured(f"(ninja_auth_kit.{number}) {fault}\n\tHINT: {hint}")


def _kits_registration() -> type[RegistrationIn]:
    return RegistrationWithUsernameIn if has_username() else RegistrationIn


def _further(schema: type[BaseModel]) -> list[str]:
    own = _kits_registration().model_fields if issubclass(schema, RegistrationIn) else {}
    return [name for name in schema.model_fields if name not in own]
