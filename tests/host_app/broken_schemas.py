"""A module of a host that cannot be imported, for want of a name."""

from ninja import Schema


class Profile(Schema):
    """A profile with a mistake in it."""

    first_name: Nope  # type: ignore[name-defined]  # noqa: F821
