"""Users in a database of their own: the kit's tables are there too, and so is every statement."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import EMAIL, PASSWORD
from tests.servers import Server

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.race]


def test_the_default_database_may_be_none(servers: Callable[..., Server], user: Any) -> None:
    server = servers(environment={"TEST_SETTINGS": "tests.settings_users_apart"})

    status, pair = server.request("POST", "/api/auth/login", {"email": EMAIL, "password": PASSWORD})
    assert status == 200
    status, pair = server.request("POST", "/api/auth/refresh", {"refresh_token": pair["refresh_token"]})
    assert status == 200
    status, me = server.request("GET", "/api/auth/me", token=pair["access_token"])
    assert (status, me["email"]) == (200, EMAIL)
    assert server.request("POST", "/api/auth/logout", {}, token=pair["access_token"])[0] == 204
    assert server.request("GET", "/api/auth/me", token=pair["access_token"])[0] == 401
