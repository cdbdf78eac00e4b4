"""Strict JSON (RFC 8259): text that two parsers could read in two ways is rejected."""

import json
from collections.abc import Iterable
from typing import Any


class DuplicateMemberError(ValueError):
    """An object has a member twice."""

    def __init__(self, member: str) -> None:
        super().__init__("JSON must not have duplicate members.")
        self.member = member


def parse_object(data: bytes) -> dict[str, Any]:
    """Parse one JSON object in UTF-8 without a byte order mark, duplicate members, NaN or Infinity.

    Raises:
        DuplicateMemberError: an object has a member twice.
        ValueError: the data is something else, is nested too deep, or has a number with too many
            digits for Python.
    """
    parsed = parse(data)
    if not isinstance(parsed, dict):
        raise ValueError("JSON must be an object.")
    return parsed


def parse(data: bytes) -> Any:
    """Parse one JSON value, as `parse_object` does.

    Raises:
        DuplicateMemberError: an object has a member twice.
        ValueError: the data is something else.
    """
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_unique_members, parse_constant=_reject_constant)
    except RecursionError as error:
        raise ValueError("JSON must not be nested so deep.") from error


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise DuplicateMemberError(_first_duplicate(name for name, _ in pairs))
    return members


def _first_duplicate(names: Iterable[str]) -> str:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    raise ValueError("No name occurs twice.")


def _reject_constant(constant: str) -> None:
    raise ValueError(f"JSON must not contain {constant}.")
