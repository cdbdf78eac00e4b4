"""API keys in parallel requests, on four server processes."""

from collections.abc import Callable
from typing import Any

import pytest

from ninja_auth_kit.contrib.api_keys.models import ApiKey
from tests.conftest import EMAIL, Api, mailed_token
from tests.features.api_keys.conftest import READ, ROUTE, UNLIMITED
from tests.servers import Server

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.race]

ROUNDS = 3
BODY = {"name": "backup", "scopes": [READ]}
CREATE = ("POST", "/api/auth/api-keys", BODY)
SCOPES = {"SCOPES": {READ: "", "notes:write": ""}}


@pytest.fixture
def server(servers: Callable[..., Server]) -> Server:
    return servers(API_KEYS={**SCOPES, "LIMIT": 5}, **UNLIMITED)


def test_of_twenty_keys_at_once_as_many_are_created_as_are_allowed(api: Api, token: str, server: Server) -> None:
    for _ in range(ROUNDS):
        answers = server.race(*[CREATE] * 20, token=token)

        assert sorted(status for status, _ in answers) == [201] * 5 + [409] * 15
        assert {body["code"] for status, body in answers if status == 409} == {"limit_reached"}
        assert ApiKey.objects.count() == 5
        assert len({body["key"] for status, body in answers if status == 201}) == 5
        ApiKey.objects.all().delete()


@pytest.mark.security("KEY-02")
def test_after_a_revocation_was_answered_no_use_succeeds(api: Api, token: str, server: Server) -> None:
    for _ in range(ROUNDS):
        made = server.request(*CREATE, token=token)[1]
        uses = [("GET", ROUTE, None, made["key"])] * 16
        revoke = ("DELETE", f"/api/auth/api-keys/{made['id']}", None, token)

        answers = server.race(*[*uses[:8], revoke, revoke, *uses[8:]])

        statuses = [status for status, _ in answers]
        assert sorted(statuses[8:10]) == [204, 404]
        assert set(statuses[:8] + statuses[10:]) <= {200, 401}
        assert not ApiKey.objects.exists()  # no use has brought the row back
        assert server.request("GET", ROUTE, token=made["key"])[0] == 401


def test_the_first_uses_at_once_all_succeed(api: Api, token: str, server: Server) -> None:
    made = server.request(*CREATE, token=token)[1]

    answers = server.race(*[("GET", route, None, made["key"]) for route in (ROUTE, "/notes/read-async")] * 10)

    assert {status for status, _ in answers} == {200}
    assert ApiKey.objects.get().last_used_at is not None


@pytest.mark.security("KEY-02")
def test_no_key_that_is_created_during_a_reset_outlives_it(api: Api, user: Any, token: str, server: Server) -> None:
    for number in range(ROUNDS):
        token = api.pair(password=api_password(number))["access_token"] if number else token
        api.post("password/reset", {"email": EMAIL})
        body = {"token": mailed_token(), "new_password": api_password(number + 1)}
        reset = ("POST", "/api/auth/password/reset/confirm", body, None)

        answers = server.race(*[*[(*CREATE, token)] * 4, reset, *[(*CREATE, token)] * 4])

        assert answers[4][0] == 204
        assert {status for status, _ in answers} <= {201, 204, 401, 409}
        assert not ApiKey.objects.exists()
        for status, made in answers:
            if status == 201:
                assert server.request("GET", ROUTE, token=made["key"])[0] == 401


def api_password(number: int) -> str:
    return f"a long walk in the hills, part {number}"
