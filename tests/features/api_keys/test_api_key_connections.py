"""Under ASGI, keys are checked over the connections that the process keeps."""

from collections.abc import Callable

import pytest

from tests.features.api_keys.conftest import ROUTES
from tests.servers import AsgiServer, Server
from tests.test_kept_connections import connected, statuses

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_django, pytest.mark.one_user_model]


@pytest.mark.parametrize("path", ROUTES)
def test_keys_are_checked_over_one_connection(servers: Callable[..., Server], key: str, path: str) -> None:
    server = servers(AsgiServer)
    assert statuses(server, path, key, times=1) == {200}  # it notes the use, once an hour
    assert statuses(server, path, key, times=1) == {200}
    first = connected()

    assert statuses(server, path, key, times=20) == {200}

    assert len(first) == 1
    assert connected() == first
