"""Prepared statements: each statement is planned once per connection if the project enables that."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, connections

from tests.conftest import Api
from tests.test_query_plans import walk

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def prepared(user: Any, audited: None, settings: Any) -> Iterator[None]:
    """Use a persistent connection that prepares each statement when it is first sent."""
    kit = {key: value for key, value in settings.NINJA_AUTH_KIT.items() if key != "THROTTLES"}
    # Ten times a second, an event is written together with a NOTIFY, which is another statement.
    settings.NINJA_AUTH_KIT = {**kit, "AUDIT_LISTEN": False}
    usual, ends = connections["default"], (request_started, request_finished)
    preparing = usual.copy()
    preparing.settings_dict["OPTIONS"] |= {"server_side_binding": True, "prepare_threshold": 0}
    connections["default"] = preparing
    for end in ends:
        end.disconnect(close_old_connections)
    yield
    for end in ends:
        end.connect(close_old_connections)
    preparing.close()
    connections["default"] = usual


def known() -> set[str]:
    """Return the statements that the connection has prepared."""
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        return {statement for (statement,) in cursor.fetchall()}


def test_every_request_works_with_prepared_statements(api: Api, user: Any, prepared: None) -> None:
    for name, request in walk(api, user).items():
        answer = request()
        assert str(answer.status_code) == name[-3:], (name, answer.content)
    assert len(known()) > 20


def test_requests_of_one_kind_send_one_text_so_that_it_is_planned_once(api: Api, prepared: None) -> None:
    def come_and_go() -> None:
        tokens = api.pair()
        assert api.is_in(tokens["access_token"])
        refreshed = api.post("refresh", {"refresh_token": tokens["refresh_token"]}).json()
        assert api.post("logout", {"refresh_token": refreshed["refresh_token"]}).status_code == 204

    for _ in range(2):
        come_and_go()
    before = known()
    for _ in range(3):
        come_and_go()

    assert any("usersession" in statement for statement in before)
    assert known() == before
