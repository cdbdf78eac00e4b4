"""Which fields of the user model a schema of the host may set, and which never."""

from collections.abc import Iterator
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist
from django.db.models import F, FileField

from ninja_auth_kit.models.users import email_field

# Set by the kit or by Django, or the key to rights (mass assignment: ASVS 15.3.3).
_RESERVED = frozenset(
    "password is_active is_staff is_superuser groups user_permissions last_login date_joined".split()  # noqa: SIM905
)


def settable_field(name: str) -> Any:
    """Return the field of the user model with this name, if a schema of the host may set it.

    Raises:
        ValueError: it may not; the text says why.
    """
    model = get_user_model()
    reserved = _RESERVED | {email_field(), model.USERNAME_FIELD}
    try:
        field: Any = None if name in reserved else model._meta.get_field(name)
    except FieldDoesNotExist:
        raise ValueError(f"{model.__name__} has no field {name!r}") from None
    if field is None or field.name in reserved or getattr(field, "primary_key", False):
        raise ValueError(f"{name!r} is set by the kit or by administrators alone")
    if not (getattr(field, "concrete", False) and field.editable) or isinstance(field, FileField):
        raise ValueError(f"{name!r} is no editable column that JSON could fill")
    return field


def user_models() -> tuple[type[Any], ...]:
    """Return the user model and the models that it inherits columns from."""
    model = get_user_model()
    return (model, *model._meta.all_parents)


def is_unique(field: Any) -> bool:
    """Tell whether the database refuses a second user with the same value, alone or together with other fields."""
    return field.unique or any(
        field.name in names for model in user_models() for names in _unique_together(model._meta)
    )


def _unique_together(options: Any) -> Iterator[set[str]]:
    yield from map(set, options.unique_together)
    for constraint in options.constraints:
        # Of unique constraints and of exclusion constraints, whose expressions are pairs.
        expressions = [one[0] if isinstance(one, tuple) else one for one in getattr(constraint, "expressions", ())]
        yield {*getattr(constraint, "fields", ()), *(name for one in expressions for name in _names(one))}


def _names(expression: Any) -> Iterator[str]:
    parts = expression.flatten() if hasattr(expression, "flatten") else [expression]
    for part in parts:
        if isinstance(part, F | str):
            yield str(getattr(part, "name", part)).partition("__")[0]
