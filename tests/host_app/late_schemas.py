"""A module of a host with a mistake that shows only when the schema is used."""

from __future__ import annotations

from ninja import Schema


class Profile(Schema):
    """A profile with a mistake in it."""

    first_name: Nope | None = None  # type: ignore[name-defined]  # noqa: F821
