"""The checks of the user model: what registration and login need of it."""

from collections.abc import Iterator
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.checks import CheckMessage, Tags, register
from django.core.exceptions import FieldDoesNotExist

from ninja_auth_kit.checks.messages import error, warning
from ninja_auth_kit.checks.paths import filled_by_host
from ninja_auth_kit.conf import settings


@register(Tags.models)
def check_user_model(**_: Any) -> list[CheckMessage]:
    """E006, E009 and W002."""
    model: Any = get_user_model()
    if not issubclass(model, AbstractBaseUser):  # then it has none of the attributes that the rest looks at
        hint = "Derive it from AbstractBaseUser, which has them, and add an EmailField."
        return [error("E006", f"{model.__name__} has no password and no e-mail field.", hint)]
    return [*_missing_address(model), *_name_as_key(model), *_unfilled(model)]


def _missing_address(model: Any) -> Iterator[CheckMessage]:
    name = model.get_email_field_name()
    try:
        model._meta.get_field(name)
    except FieldDoesNotExist:
        hint = "Add an EmailField and name it in EMAIL_FIELD."
        yield error("E006", f"{model.__name__} has no e-mail field {name!r}.", hint)


def _name_as_key(model: Any) -> Iterator[CheckMessage]:
    keys = {field.name for field in model._meta.concrete_fields if field.primary_key}
    if settings.REGISTRATION_OPEN and model.USERNAME_FIELD in keys:
        yield error(
            "E009",
            f"{model.__name__}.{model.USERNAME_FIELD} is USERNAME_FIELD and primary key at once.",
            "Give the model a key of its own, such as a UUIDField, or close registration with REGISTRATION_OPEN. The "
            "next registration of an address replaces one that was never verified; where the name is the key, that "
            "would insert a second user.",
        )


def _unfilled(model: Any) -> Iterator[CheckMessage]:
    filled = {model.USERNAME_FIELD, model.get_email_field_name(), "password", *filled_by_host()}
    for field in model._meta.concrete_fields:
        if settings.REGISTRATION_OPEN and _cannot_be_filled(field, filled):
            yield warning(
                "W002",
                f"Registration cannot fill {model.__name__}.{field.name}.",
                "Give it null=True or a default (a unique field one that is another each time), ask for it in "
                "REGISTRATION_SCHEMA, or close registration with REGISTRATION_OPEN.",
            )


def _cannot_be_filled(field: Any, filled: set[str]) -> bool:
    automatic = field.primary_key or getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False)
    if automatic or field.null or not filled.isdisjoint((field.name, field.attname)):
        return False
    if getattr(field, "has_db_default", lambda: False)() or (field.has_default() and callable(field.default)):
        return False
    return field.get_default() is None or field.unique  # what all get alike, the second cannot have
