"""How many statements and requests to the provider each flow costs, as in `test_queries.py`."""

from collections.abc import Callable
from typing import Any

import pytest

from ninja_auth_kit.contrib.oidc import http_client
from ninja_auth_kit.contrib.oidc.testing import FakeProvider
from tests.conftest import Api
from tests.features.oidc.conftest import begin, begin_native, flow, link
from tests.features.test_queries import cost, limited

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("audited", "limited")]

__all__ = ["limited"]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, provider: FakeProvider) -> list[str]:
    """Return the addresses of all requests to the provider so far."""
    made: list[str] = []
    real = http_client.send
    monkeypatch.setattr(
        http_client, "send", lambda request, deadline: made.append(request.url) or real(request, deadline)
    )
    return made


def assert_at_most(number: int, call: Callable[[], Any], status: int = 200) -> None:
    found, statements = cost(call, status)
    assert found <= number, "\n".join(statements)


def test_the_beginning_of_a_flow_costs_one_statement(api: Api, provider: FakeProvider) -> None:
    body = {"purpose": "login", "redirect_uri": "https://example.com/login/done"}
    assert cost(lambda: api.post("oidc/example/start", body))[0] == 1
    assert cost(lambda: api.get("oidc"))[0] == 0


def test_a_login_by_a_known_identity_costs_twelve_statements_and_one_request(
    api: Api, user: Any, provider: FakeProvider, calls: list[str]
) -> None:
    link(user)
    flow(api, provider)  # so that the next one ends a session, and the metadata and the keys are known
    started = begin(api)
    returned = provider.authorize(started["authorization_url"])
    calls.clear()
    body = {"flow_token": started["flow_token"], **returned}
    assert_at_most(12, lambda: api.post("oidc/example/finish", body))
    assert len(calls) == 1


def test_a_native_login_asks_the_provider_nothing_once_its_keys_are_known(
    api: Api, user: Any, provider: FakeProvider, calls: list[str]
) -> None:
    link(user)
    flow(api, provider)
    started = begin_native(api)
    calls.clear()
    body = {"flow_token": started["flow_token"], "id_token": provider.id_token(started["nonce"])}
    assert_at_most(12, lambda: api.post("oidc/example/id-token", body))
    assert calls == []


def test_a_refusal_costs_three_statements(api: Api, provider: FakeProvider) -> None:
    started = begin(api)
    body = {"flow_token": started["flow_token"], "code": "x", "state": "0.x"}
    assert_at_most(3, lambda: api.post("oidc/example/finish", body), status=400)


def test_the_list_and_the_removal_of_identities(api: Api, user: Any, provider: FakeProvider) -> None:
    row = link(user)
    token = api.pair()["access_token"]
    assert_at_most(2, lambda: api.get("identities", token=token))
    assert_at_most(9, lambda: api.delete(f"identities/{row.pk}", token=token), status=204)
