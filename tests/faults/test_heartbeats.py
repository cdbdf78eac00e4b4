"""Which relays `authkit_status` shows, when the relays share their database sessions with others."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults import pooler as pgbouncer
from tests.faults.case import Case
from tests.faults.pooler import Pooler
from tests.faults.processes import Process

pytestmark = pytest.mark.private_broker


@pytest.fixture
def pooler(case: Case) -> Iterator[Pooler]:
    if not pgbouncer.is_installed():
        pytest.skip(pgbouncer.MISSING)
    between = Pooler(case.server.socket.parent)
    between.start()
    yield between
    between.stop()


def status(case: Case) -> tuple[int, dict[str, Any]]:
    """Return the exit code and the report of authkit_status, which uses the pooler, too."""
    command = Process(["django", "authkit_status", "--json"], case._environment(), case._log("status"))
    code = command.wait(timeout=60)
    return code, dict(json.loads(command.output.splitlines()[-1]))


def states(case: Case) -> dict[int, str]:
    """Return the state of each relay that is shown, by its process id."""
    return {relay["process_id"]: relay["state"] for relay in status(case)[1]["relays"]}


@pytest.mark.fault(61, "pgbouncer in transaction mode; one relay ends, then the broker is stopped for the other")
def test_behind_a_pooler_the_relays_that_run_are_shown_and_no_others(case: Case, pooler: Pooler) -> None:
    case.kit["AUDIT_LISTEN"] = False
    case.variables["DATABASE_URL"] = pooler.url(case.name)
    ended, stays = case.start_relay(), case.start_relay()
    with case.writing():
        case.until(lambda: set(states(case)) == {ended.pid, stays.pid}, "both relays are shown")
    case.until_empty()
    assert ended.terminate() == 0
    assert states(case) == {stays.pid: "publishing"}

    case.broker.stop()
    case.until(lambda: states(case) == {stays.pid: "waiting"}, "the relay is shown as waiting")
    code, report = status(case)
    assert code == 1
    assert report["problems"][0].startswith("Relays that cannot publish: 1. RabbitMQ at 127.0.0.1:")
    case.broker.start()
    case.until(lambda: states(case) == {stays.pid: "publishing"}, "the relay publishes again")
    assert status(case)[0] == 0
    case.expect()
