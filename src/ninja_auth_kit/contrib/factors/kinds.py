"""The kinds of second factors that the installed apps add."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.utils.module_loading import import_string

RECOVERY_CODE = "recovery_code"


@dataclass(frozen=True)
class Kind:
    """A kind of second factor.

    Attributes:
        name: in the API, and in the paths `login/<name>` and `step-up/<name>`.
        order: kinds with a lower number are named first.
        guards: returns whether a factor of this kind is asked for behind a first factor.
        can_log_in: takes the ids of factors of this kind, and returns whether one of them can log in without a first
            factor.
        importer: the dotted path of its `importing.Importer`.
    """

    name: str
    order: int
    guards: Callable[[], bool] = lambda: True
    can_log_in: Callable[[list[UUID]], bool] = lambda _: False
    importer: str = ""


_kinds: dict[str, Kind] = {}


def register(kind: Kind) -> None:
    """Add a kind. An app calls this when it is ready."""
    _kinds[kind.name] = kind


def are_second_factors(names: Iterable[str]) -> bool:
    """Return whether factors of these kinds are asked for.

    A kind whose app is not installed any more is asked for as well: recovery codes are left, and removing an app must
    not open an account.
    """
    return any(name not in _kinds or _kinds[name].guards() for name in names)


def begin_to_ask(before: Collection[str], added: Iterable[str]) -> bool:
    """Return whether factors are a user's first ones, or the first that are asked for behind a first factor.

    Args:
        before: the kinds of the factors that the user had.
        added: the kinds of the new ones.
    """
    return not before or (not are_second_factors(before) and are_second_factors(added))


def methods_of(names: Iterable[str]) -> tuple[str, ...]:
    """Return the methods that a client can offer for factors of these kinds; a recovery code is the last."""
    known = sorted({_kinds[name] for name in names if name in _kinds}, key=lambda kind: kind.order)
    return (*(kind.name for kind in known), RECOVERY_CODE)


def can_log_in(factors: Mapping[UUID, str]) -> bool:
    """Return whether one of these factors can log in without a first factor.

    Args:
        factors: the kind of each factor, by its id.
    """
    by_kind: dict[str, list[UUID]] = {}
    for key, name in factors.items():
        by_kind.setdefault(name, []).append(key)
    return any(name in _kinds and _kinds[name].can_log_in(keys) for name, keys in by_kind.items())


def importer_of(name: str) -> Any:
    """Return the `importing.Importer` of a kind, or None if no installed app has one."""
    return import_string(_kinds[name].importer) if name in _kinds and _kinds[name].importer else None
