"""Arrays for raw SQL, written as text: psycopg needs some thirty calls for each element of a list."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID


def array(values: Iterable[UUID | int | datetime]) -> str:
    """Return an array as PostgreSQL reads it, for a parameter that the statement casts.

    Only of what has no quotes, commas or braces in it: nothing is escaped.
    """
    return f"{{{','.join(map(str, values))}}}"
