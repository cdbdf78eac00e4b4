"""The checks of the user model and of the database that users are in. They open no connection."""

from collections.abc import Iterator
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.checks import CheckMessage, Tags, register
from django.core.exceptions import FieldDoesNotExist
from django.db import connections
from psycopg import IsolationLevel

from ninja_auth_kit.checks.messages import error, warning
from ninja_auth_kit.checks.settings import fields_of_registration
from ninja_auth_kit.conf import accounts_database, settings
from ninja_auth_kit.models.unique_values import unique_rules


# Not Tags.database: Django runs those checks only for databases named on the command line.
@register(Tags.compatibility)
def check_database(**_: Any) -> list[CheckMessage]:
    """E005: sessions and rate limits rely on row locks, partial indexes and advisory locks."""
    alias = accounts_database()
    if connections[alias].vendor == "postgresql":
        return []
    hint = (
        f"Set DATABASES[{alias!r}]['ENGINE'] to 'django.db.backends.postgresql', in the settings of your tests, too. "
        "The kit relies on locks and constraints of PostgreSQL and supports no other database."
    )
    return [error("E005", f"The database {alias!r} is not PostgreSQL.", hint)]


@register(Tags.compatibility)
def check_isolation(**_: Any) -> list[CheckMessage]:
    """E010: a transaction that waits for a lock must see what the holder of the lock has committed."""
    alias = accounts_database()
    options = connections[alias].settings_dict.get("OPTIONS", {})
    if not isinstance(options, dict):
        message = f"DATABASES[{alias!r}]['OPTIONS'] is not a dict, so its isolation level is unknown."
        return [error("E010", message, f"Set DATABASES[{alias!r}]['OPTIONS'] to a dict, or remove it.")]
    level = options.get("isolation_level", IsolationLevel.READ_COMMITTED)
    if connections[alias].vendor != "postgresql" or level == IsolationLevel.READ_COMMITTED:
        return []
    hint = (
        f"Remove 'isolation_level' from DATABASES[{alias!r}]['OPTIONS']. Above READ COMMITTED, a login that has "
        "waited for another login of the same user does not see the session that the other login started, takes the "
        "same slot, and violates the unique index: parallel logins become server errors."
    )
    message = f"The database {alias!r} does not use the isolation level READ COMMITTED."
    return [error("E010", message, hint)]


@register(Tags.models)
def check_user_model(**_: Any) -> list[CheckMessage]:
    """E006, E009, E013 and W005: what registration and login need of the user model."""
    model: Any = get_user_model()
    if not issubclass(model, AbstractBaseUser):  # it has none of the attributes that the other checks read
        hint = "Derive the model from AbstractBaseUser, which has a password, and add an EmailField."
        return [error("E006", f"{model.__name__} has no password and no email field.", hint)]
    return [*_missing_email_field(model), *_username_as_key(model), *_unfilled_fields(model)]


def _missing_email_field(model: Any) -> Iterator[CheckMessage]:
    name = model.get_email_field_name()
    try:
        model._meta.get_field(name)
    except FieldDoesNotExist:
        hint = "Add an EmailField, and set EMAIL_FIELD to its name."
        yield error("E006", f"{model.__name__} has no email field {name!r}.", hint)


def _username_as_key(model: Any) -> Iterator[CheckMessage]:
    keys = {field.name for field in model._meta.concrete_fields if field.primary_key}
    if settings.REGISTRATION_OPEN and model.USERNAME_FIELD in keys:
        yield error(
            "E009",
            f"{model.__name__}.{model.USERNAME_FIELD} is both USERNAME_FIELD and the primary key.",
            "Add a primary key of its own, such as a UUIDField, or set REGISTRATION_OPEN to False. A registration "
            "replaces an earlier one whose address was never verified. If the username is the key, that would insert "
            "a second user.",
        )


def _unfilled_fields(model: Any) -> Iterator[CheckMessage]:
    """Yield a message about each field that registration leaves empty. With `CREATE_USER`, that is up to your project.

    Fields of REQUIRED_FIELDS can be empty, but your project asks for them elsewhere, as `createsuperuser` does.
    """
    if not settings.REGISTRATION_OPEN or settings.CREATE_USER is not None:
        return
    filled = {model.USERNAME_FIELD, model.get_email_field_name(), "password", *fields_of_registration()}
    for field in model._meta.concrete_fields:
        if not filled.isdisjoint((field.name, field.attname)):
            continue
        if must_be_filled(field, model):
            yield error(
                "E013",
                f"Registration cannot fill {model.__name__}.{field.name}.",
                "Add the field to REGISTRATION_SCHEMA, set CREATE_USER to a function that fills it, set null=True or "
                "a default (for a unique field, a callable that returns a new value each time), or set "
                "REGISTRATION_OPEN to False. If save() or a receiver of pre_save fills it, silence this error.",
            )
        elif field.name in model.REQUIRED_FIELDS:
            yield warning(
                "W005",
                f"Registration does not fill {model.__name__}.{field.name}, which REQUIRED_FIELDS names.",
                "Add the field to REGISTRATION_SCHEMA, or set CREATE_USER to a function that fills it. Silence this "
                "warning if users may register without it.",
            )


def must_be_filled(field: Any, model: Any) -> bool:
    """Return whether a user cannot be stored without a value of this field, or at most one user can."""
    is_automatic = field.primary_key or getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False)
    if is_automatic or field.null or field.generated:
        return False
    if getattr(field, "has_db_default", lambda: False)() or (field.has_default() and callable(field.default)):
        return False
    if field.get_default() is None or field.unique:  # a second user cannot have the same default
        return True
    return any(rule.fields == {field.name} and rule.condition is None for rule in unique_rules(model))
