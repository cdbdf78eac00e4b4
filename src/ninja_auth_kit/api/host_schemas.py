"""The schemas that a host may replace by a dotted path. They are read once, when the first API is built.

    REGISTRATION_SCHEMA   derives from `schemas.RegistrationIn`, and adds fields of the user model
    PROFILE_SCHEMA        any schema; each of its fields is one of the user model, and has a default
    USER_SCHEMA           a Ninja schema that a user can fill; derived from `schemas.UserOut` it keeps what that has

What they let in is checked here, at start: a field that gives rights must not wait for the first who tries it.
"""

from collections.abc import Iterator
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from ninja import Schema
from pydantic import BaseModel, SecretStr, create_model

from ninja_auth_kit.api.field_errors import Body
from ninja_auth_kit.api.schemas import ProfileIn, RegistrationIn, RegistrationWithUsernameIn, Username, UserOut
from ninja_auth_kit.conf import imported
from ninja_auth_kit.models import has_username, is_unique, settable_field

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
    if chosen is None or issubclass(chosen, Body):
        return chosen or ProfileIn
    return create_model(chosen.__name__, __base__=(Body, chosen), __module__=chosen.__module__, __doc__=chosen.__doc__)


def user_schema() -> type[Schema]:
    """Return what a user is shown as.

    Raises:
        ImproperlyConfigured: `USER_SCHEMA` names nothing of the kind.
    """
    return _accepted("USER_SCHEMA") or UserOut


def further_fields(body: BaseModel, *, sent_alone: bool) -> dict[str, Any]:
    """Return what a body says of fields of the user model: declared ones, whatever else the host's schema lets in.

    Args:
        body: of a schema of the host.
        sent_alone: whether to leave out what was not sent.
    """
    names = set(_further(type(body)))
    values = body.model_dump(include=names, exclude_unset=sent_alone)
    return {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value for name, value in values.items()
    }


def host_schema(setting: str) -> Any:
    """Return the class that a setting names, or None.

    Raises:
        ImproperlyConfigured: it names nothing, or nothing of the kind.
    """
    found, base = imported(setting), BASES[setting]
    if found is None or (isinstance(found, type) and issubclass(found, base)):
        return found
    raise ImproperlyConfigured(
        f"NINJA_AUTH_KIT[{setting!r}] must name a class derived from {base.__module__}.{base.__qualname__}."
    )


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


def _unsettable(setting: str, name: str, *, may_be_unique: bool) -> Iterator[str]:
    try:
        field = settable_field(name)
    except ValueError as error:
        yield f"NINJA_AUTH_KIT[{setting!r}] must not have {name!r}: {error}."
        return
    if is_unique(field) and not may_be_unique:
        yield f"NINJA_AUTH_KIT[{setting!r}] must not have {name!r}: it is unique, and would tell who has an account."


def _changed(schema: type[BaseModel]) -> Iterator[str]:
    """Find the fields of the kit that a registration of the host declares anew, and as something else."""
    for name, own in _kits_registration().model_fields.items():
        field = schema.model_fields.get(name, own)
        if field.annotation is not own.annotation or not field.is_required():
            yield f"NINJA_AUTH_KIT['REGISTRATION_SCHEMA'] must leave {name!r} required, and of the type that it has."


def _accepted(setting: str) -> Any:
    schema = host_schema(setting)
    if schema is not None:
        for fault in faults(setting, schema):
            raise ImproperlyConfigured(fault)
    return schema


def _kits_registration() -> type[RegistrationIn]:
    return RegistrationWithUsernameIn if has_username() else RegistrationIn


def _further(schema: type[BaseModel]) -> list[str]:
    own = _kits_registration().model_fields if issubclass(schema, RegistrationIn) else {}
    return [name for name in schema.model_fields if name not in own]
