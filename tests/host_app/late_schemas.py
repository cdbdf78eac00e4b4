"""A module whose error appears only when the schema is used."""

from __future__ import annotations

from ninja import Schema


class Profile(Schema):
    """A profile with an undefined type."""

    first_name: Nope | None = None  # type: ignore[name-defined]  # noqa: F821
