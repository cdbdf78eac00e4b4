"""The messages of the checks: a number, what is wrong, and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches

from django.core.checks import Error, Warning


def error(number: str, message: str, hint: str) -> Error:
    """Return an error with a number of the kit."""
    return Error(message, hint=hint, id=f"ninja_auth_kit.{number}")


def warning(number: str, message: str, hint: str) -> Warning:
    """Return a warning with a number of the kit."""
    return Warning(message, hint=hint, id=f"ninja_auth_kit.{number}")


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """Return a hint: the known word nearest to the unknown one, or all of them."""
    words = sorted(known)
    near = get_close_matches(str(word), words, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"There are {', '.join(words)}."
