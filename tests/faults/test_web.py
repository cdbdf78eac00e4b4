"""Faults of the deployment: relays in web workers, no broker."""

import pytest

from tests.faults.case import BATCH, Case

pytestmark = pytest.mark.private_broker


@pytest.mark.fault(27, "gunicorn with relays inside; each worker is replaced after 30 requests")
def test_each_worker_has_one_connection_of_its_own(case: Case) -> None:
    def is_replaced_often() -> bool:
        connected = case.broker.relays()
        assert len(connected) == len(set(connected)), "a process has more than one connection"
        return web.workers() >= 10

    with case.visiting(server=("--workers", "3", "--max-requests", "30"), AUDIT_EMBEDDED_RELAY=True) as web:
        with case.writing():
            case.until(is_replaced_often, "ten workers have served")
        case.until_empty()
        assert len(case.broker.relays()) <= 3
    case.note(f"{web.workers()} workers, one connection each")
    case.expect(duplicates=BATCH * web.workers())


@pytest.mark.fault(30, "No broker configured: events are lines in the log", short=True)
def test_without_a_broker_events_are_logged_and_no_rows_pile_up(case: Case) -> None:
    case.variables["TEST_RABBITMQ_HOST"] = ""
    writer = case.start_writer(events=case.events, log=True)
    writer.result(timeout=600)
    relay = case.start_relay()
    assert relay.wait(timeout=60) != 0
    assert "RABBITMQ_HOST" in relay.output
    lines = [line for line in writer.output.splitlines() if "specversion" in line]
    case.expect(source=lambda _is_all: lines)
