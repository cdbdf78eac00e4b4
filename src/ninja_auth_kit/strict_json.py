"""JSON as strict as RFC 8259 allows: what two parsers could read in two ways is refused."""

import json
from typing import Any


def parse_object(data: bytes) -> dict[str, Any]:
    """Parse one JSON object: UTF-8 without a byte order mark, no member twice, no NaN or Infinity.

    Raises:
        ValueError: it is something else, or nested or long-numbered beyond what Python parses.
    """
    try:
        parsed = json.loads(data.decode("utf-8"), object_pairs_hook=_unique_members, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if not isinstance(parsed, dict):
        raise ValueError("not an object")
    return parsed


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member stands twice")
    return members


def _refuse(constant: str) -> None:
    raise ValueError("not a JSON number")
