"""Functions that `CREATE_USER` can name: one that a project would have, and what a project may do wrong."""

from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError

CALLS: list[dict[str, Any]] = []


def create_user(values: dict[str, Any]) -> Any:
    """Generate the last name from the first name, and a number that each call increases."""
    CALLS.append(values)
    user = get_user_model()(**values)
    user.last_name = f"{user.first_name} the {len(CALLS)}."
    return user


def only_first_names(values: dict[str, Any]) -> Any:
    """Generate a first name, and leave the last name empty."""
    return get_user_model()(**values, first_name="Generated")


def lower_case(values: dict[str, Any]) -> Any:
    """Store the address and the names in lower case."""
    return get_user_model()(**{name: value.lower() for name, value in values.items()})


def saved(values: dict[str, Any]) -> Any:
    return get_user_model().objects.create(**values)


def nothing(values: dict[str, Any]) -> Any:
    return None


def text(values: dict[str, Any]) -> Any:
    return values["email"]


def another_address(values: dict[str, Any]) -> Any:
    return get_user_model()(**{**values, "email": "another@example.com"})


def no_address(values: dict[str, Any]) -> Any:
    return get_user_model()(**{**values, "email": None})


def inactive(values: dict[str, Any]) -> Any:
    return get_user_model()(**values, is_active=False)


def administrator(values: dict[str, Any]) -> Any:
    return get_user_model()(**values, is_staff=True, is_superuser=True)


def cleaned(values: dict[str, Any]) -> Any:
    user = get_user_model()(**values, password="x")
    user.full_clean()
    return user


def failing(values: dict[str, Any]) -> Any:
    raise RuntimeError(f"no user for {values['email']}")


def reserved(values: dict[str, Any]) -> Any:
    raise ValidationError(
        {
            "first_name": ValidationError(f"{values['first_name']} is reserved.", code="name_reserved"),
            "last_name": ["Enter a longer name.", "Enter another name."],
        }
    )


def closed(values: dict[str, Any]) -> Any:
    raise ValidationError("Registration is closed on Sundays.", code="sunday")


def too_long(values: dict[str, Any]) -> Any:
    return get_user_model()(**{**values, "last_name": "x" * 151})


def same_name(values: dict[str, Any]) -> Any:
    return get_user_model()(**{**values, "last_name": "Everybody"})
