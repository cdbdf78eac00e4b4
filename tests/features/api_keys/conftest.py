"""Users with API keys."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.conftest import Api

READ, WRITE = "notes:read", "notes:write"
ROUTE, ROUTES = "/notes/read", ("/notes/read", "/notes/read-async", "/notes/keys-only")
UNLIMITED = {"THROTTLES": {"api_key_network": ""}}


def create(api: Api, token: str, *, scopes: Sequence[str] = (READ,), name: str = "backup", **more: Any) -> Any:
    """Send a request for a key."""
    return api.post("api-keys", {"name": name, "scopes": list(scopes), **more}, token=token)


@pytest.fixture
def token(api: Api, user: Any) -> str:
    """Return an access token of the user."""
    return str(api.pair()["access_token"])


@pytest.fixture
def new_key(api: Api, token: str) -> Callable[..., dict[str, Any]]:
    """Return a function that creates a key of the user."""

    def make(*scopes: str, **more: Any) -> dict[str, Any]:
        response = create(api, token, scopes=scopes or (READ,), **more)
        assert response.status_code == 201, response.content
        return dict(response.json())

    return make


@pytest.fixture
def key(new_key: Callable[..., dict[str, Any]]) -> str:
    """Return a key that may read notes."""
    return str(new_key()["key"])


def status(api: Api, key: str, route: str = ROUTE) -> int:
    """Return the status of a request with a key."""
    return int(api.get(route, token=key).status_code)
