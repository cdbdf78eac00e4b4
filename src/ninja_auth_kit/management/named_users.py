"""The user that an argument of a command names: by email address, username or primary key."""

from collections.abc import Mapping
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

from ninja_auth_kit.conf import accounts_database
from ninja_auth_kit.models.email_addresses import InvalidEmailError
from ninja_auth_kit.models.users import find_holders


def add_user_arguments(group: Any) -> None:
    """Add the arguments `user` and --key to a mutually exclusive group."""
    group.add_argument(
        "user",
        nargs="?",
        help="email address, username or primary key of a user; put it after -- if it begins with a hyphen",
    )
    group.add_argument("--key", help="primary key of a user; use it if another user has the key as a username")


def key_of_named_user(options: Mapping[str, Any]) -> Any:
    """Return the primary key of the user that the arguments name.

    Raises:
        CommandError: no user matches, or several do.
    """
    return _find_key(options["user"]) if options["key"] is None else _existing_key(options["key"])


def _find_key(text: str) -> Any:
    """Return the primary key of the only user that the text matches.

    If several match, such as one by username and another by primary key, taking the first would pick the wrong user.
    """
    found = {user.pk: user for find in (_find_by_email, _find_by_username, _find_by_key) for user in find(text)}
    if not found:
        raise CommandError("No user has this email address, username or primary key.")
    if len(found) > 1:
        keys = ", ".join(str(key) for key in found)
        raise CommandError(f"Several users match. Choose one with --key=KEY: {keys}.")
    return next(iter(found))


def _existing_key(key: str) -> Any:
    for user in _find_by_key(key):
        return user.pk
    raise CommandError("No user has this primary key.")


def _find_by_email(text: str) -> list[Any]:
    try:
        return find_holders(text)
    except InvalidEmailError:
        return []


def _find_by_username(text: str) -> list[Any]:
    return _find_by(get_user_model().USERNAME_FIELD, text)


def _find_by_key(text: str) -> list[Any]:
    return _find_by("pk", text)


def _find_by(field: str, text: str) -> list[Any]:
    try:
        return list(get_user_model()._base_manager.using(accounts_database()).filter(**{field: text}))
    except (ValueError, ValidationError):  # not a value of the field
        return []
