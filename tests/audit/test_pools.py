"""Database connection pools of your project: the relay and the facts take no connection from them."""

import threading
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import pytest
from django.db import connections, transaction
from django.db.utils import load_backend

from ninja_auth_kit.audit.relay import embedded
from ninja_auth_kit.audit.relay.loop import Relay, configured_relay
from ninja_auth_kit.management.commands.authkit_relay import Command
from ninja_auth_kit.models import AuditOutbox, AuditRelay
from tests.audit.conftest import Consumer
from tests.audit.test_floods import fail
from tests.audit.test_relay import fill, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_user_model]

# Pools of one connection, so that a second one cannot come from the pool.
POOLS: dict[str, dict[str, Any]] = {
    "psycopg_pool": {"OPTIONS": {"pool": {"min_size": 1, "max_size": 1, "timeout": 5}}},
    "dj_db_conn_pool": {
        "ENGINE": "dj_db_conn_pool.backends.postgresql",
        "POOL_OPTIONS": {"POOL_SIZE": 1, "MAX_OVERFLOW": 0, "TIMEOUT": 5},
    },
}
InThread = Callable[[Callable[[], Any]], Any]


@pytest.fixture(params=POOLS)
def pooled(request: pytest.FixtureRequest) -> Iterator[InThread]:
    """Return a function that calls another in a new thread, whose database connection is from the pool."""
    package = pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    configured = deepcopy(connections.settings["default"]) | POOLS[request.param]

    def run(function: Callable[[], Any]) -> Any:
        result: list[Any] = []

        def target() -> None:
            connections["default"] = load_backend(configured["ENGINE"]).DatabaseWrapper(
                deepcopy(configured), "default"
            )
            try:
                result.append(function())
            finally:
                connections["default"].close()

        thread = threading.Thread(target=target)
        thread.start()
        thread.join(30)
        assert not thread.is_alive()
        assert result, "the function raised an exception"
        return result[0]

    yield run
    if request.param == "psycopg_pool":
        run(lambda: connections["default"].close_pool())
    else:
        package.core.pool_container.dispose()
        package.core.pool_container.clear()


def session() -> tuple[int, list[str]]:
    """Return the process id of the database session of this thread, and the channels that it listens to."""
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid(), ARRAY(SELECT pg_listening_channels())")
        process_id, channels = cursor.fetchone()
    return process_id, channels


class UntilStopped:
    """A relay of a web process that ends with its thread when it is stopped, instead of running for ever."""

    def __init__(self, relay: Relay, stop: threading.Event) -> None:
        self._relay, self._stop = relay, stop

    def run(self, _never: threading.Event) -> None:
        self._relay.run(self._stop)
        raise SystemExit


@pytest.mark.broker
@pytest.mark.parametrize("kind", ["command", "embedded"])
def test_a_relay_does_not_listen_on_a_connection_of_the_pool(
    kind: str, pooled: InThread, consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = threading.Event()
    relay = configured_relay(using="default", embedded=kind == "embedded")
    monkeypatch.setattr("ninja_auth_kit.audit.relay.loop.configured_relay", lambda **_: UntilStopped(relay, stop))

    def run_relay() -> bool:
        if kind == "command":
            Command()._run(relay, connections["default"], stop, lambda: None)
        else:
            with pytest.raises(SystemExit):
                embedded._run()
        return True

    before, _ = pooled(session)
    thread = threading.Thread(target=pooled, args=(run_relay,))
    thread.start()
    try:
        fill(1)
        assert len(consumer.events(1)) == 1
        until(AuditRelay.objects.exists)
        assert pooled(session) == (before, [])  # the one connection of the pool is free, and does not listen
    finally:
        stop.set()
        thread.join(30)

    assert pooled(session) == (before, [])
    assert not AuditRelay.objects.exists()


@pytest.mark.usefixtures("audited")
def test_a_fact_is_committed_although_the_request_holds_the_only_connection_of_the_pool(pooled: InThread) -> None:
    def roll_back() -> bool:
        with transaction.atomic():
            fail()
            transaction.set_rollback(True)
        return True

    assert pooled(roll_back)
    assert AuditOutbox.objects.count() == 1
