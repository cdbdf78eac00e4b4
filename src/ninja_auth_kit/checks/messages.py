"""The messages of the checks: an id, what is wrong, and a hint."""

from collections.abc import Iterable
from difflib import get_close_matches

from django.core.checks import Error, Warning


def error(number: str, message: str, hint: str) -> Error:
    """Return an error with an id of the kit."""
    return Error(message, hint=hint, id=f"ninja_auth_kit.{number}")


def warning(number: str, message: str, hint: str) -> Warning:
    """Return a warning with an id of the kit."""
    return Warning(message, hint=hint, id=f"ninja_auth_kit.{number}")


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """Return a hint that suggests the known word nearest to an unknown one, in any case, or lists all of them."""
    by_folded = {name.casefold(): name for name in sorted(known)}
    near = get_close_matches(str(word).casefold(), by_folded, n=1)
    return f"Did you mean {by_folded[near[0]]!r}?" if near else f"Choose from {', '.join(by_folded.values())}."
