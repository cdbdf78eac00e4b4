"""A helper for the tests of your project: an API key of a user."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from ninja_auth_kit.contrib.api_keys.models import ApiKey

_DAY = timedelta(days=1)


def api_key(user: Any, *, scopes: Iterable[str], name: str = "tests", lifetime: timedelta = _DAY) -> str:
    """Give a user an API key, and return it.

        client.get("/api/notes", headers={"Authorization": f"Bearer {api_key(user, scopes=['notes:read'])}"})

    No limit applies, no event is recorded and no email is sent, other than with the endpoint.

    Args:
        user: a saved user.
        scopes: what the key allows. They need not be in `API_KEYS["SCOPES"]`.
        name: what the user calls it.
        lifetime: for how long it is valid; negative for a key that has expired.
    """
    _, key = ApiKey.objects.issue(user, name=name, scopes=scopes, lifetime=lifetime)
    return key
