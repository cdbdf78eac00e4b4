"""A module that cannot be imported because of an undefined name."""

from ninja import Schema


class Profile(Schema):
    """A profile with an undefined type."""

    first_name: Nope  # type: ignore[name-defined]  # noqa: F821
