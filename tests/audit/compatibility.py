"""Find changes of a schema that would break a consumer written for the previous one."""

from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]


def breaks(old: dict[str, Schema], new: dict[str, Schema]) -> list[str]:
    """Return a sentence for each change that could break a consumer of the old schemas."""
    found = []
    for kind, schema in old.items():
        if kind not in new:
            found.append(f"{kind} is gone; keep it for one minor release beside its next version.")
        else:
            found += [f"{kind}: {fault}" for fault in _faults(schema, new[kind], "")]
    return found


def _faults(old: Schema, new: Schema, path: str) -> Iterator[str]:
    for name in sorted(set(old.get("required", [])) - set(new.get("required", []))):
        yield f"{path}{name} was always there, and now may be missing."
    for name, member in old.get("properties", {}).items():
        if name not in new.get("properties", {}):
            yield f"{path}{name} is gone or has another name."
            continue
        later = new["properties"][name]
        yield from _values(member, later, f"{path}{name}")
        yield from _faults(member, later, f"{path}{name}.")


def _values(old: Schema, new: Schema, path: str) -> Iterator[str]:
    before, after = _types(old), _types(new)
    if before and not after <= before:
        yield f"{path} was {' or '.join(sorted(before))}, and now may be {' or '.join(sorted(after - before))}."
    if before and not after:
        yield f"{path} was {' or '.join(sorted(before))}, and now may be anything."
    for word in ("const", "format"):
        if word in old and old[word] != new.get(word):
            yield f"{path} had the {word} {old[word]!r}, and now has {new.get(word)!r}."
    if "enum" in old and not set(new.get("enum", [None])) <= set(old["enum"]):
        yield f"{path} was one of {old['enum']}, and now may be something else."


def _types(schema: Schema) -> set[str]:
    said = schema.get("type", [])
    return {said} if isinstance(said, str) else set(said)
