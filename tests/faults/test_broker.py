"""Faults of the broker: it is killed, down, frozen or full, or it rejects events."""

import time

import pytest

from tests.faults.case import BATCH, Case

pytestmark = pytest.mark.private_broker
OUTAGE = 60.0  # seconds


@pytest.mark.fault(0, "No fault: the same load", short=True)
def test_without_a_fault_everything_arrives_once_and_in_order(case: Case) -> None:
    case.start_relay()
    with case.visiting(), case.writing():
        pass
    case.until_empty()
    case.expect()


@pytest.mark.fault(1, "Broker killed (kill -9) in the middle, then started again", short=True)
def test_a_broker_that_is_killed_loses_nothing_that_it_has_confirmed(case: Case) -> None:
    case.start_relay()
    with case.visiting(), case.writing():
        case.until_published(0.3)
        case.broker.kill()
        case.broker.start()
    case.until_empty()
    case.expect(duplicates=BATCH)


@pytest.mark.fault(2, "Broker down at the start, started after a minute")
def test_a_broker_that_comes_a_minute_later_finds_everything(case: Case) -> None:
    case.broker.stop()
    relay = case.start_relay()
    with case.visiting(), case.writing():
        case.until_said("connection refused")
        time.sleep(OUTAGE)
        assert not case.ledger.is_held()
        assert len(relay.output.splitlines()) < 20, "more than one line per attempt"
        case.broker.start()
    case.until_empty()
    case.expect()


@pytest.mark.fault(3, "Broker frozen (SIGSTOP) for a minute")
def test_a_frozen_broker_is_left_after_the_confirm_timeout_and_found_again(case: Case) -> None:
    case.start_relay()
    with case.visiting(), case.writing():
        case.until_published(0.3)
        with case.broker.frozen():
            frozen = time.monotonic()
            case.until_said("no publisher confirm within 10 seconds")
            case.note(f"disconnected after {time.monotonic() - frozen:.0f} s")
            time.sleep(OUTAGE - (time.monotonic() - frozen))
            assert not case.ledger.is_held()
    case.until_empty()
    case.expect(duplicates=BATCH)


@pytest.mark.parametrize(
    "resource",
    [
        pytest.param("memory", marks=pytest.mark.fault(4, "Memory alarm of the broker, for a minute")),
        pytest.param("disk", marks=pytest.mark.fault(5, "Disk alarm of the broker, for a minute")),
    ],
)
def test_a_broker_that_blocks_is_left_alone_until_it_does_not(case: Case, resource: str) -> None:
    case.start_relay()
    with case.visiting(), case.writing():
        case.until_published(0.3)
        with case.broker.short_of(resource):
            case.until_said("blocks publishers because")
            time.sleep(OUTAGE)
            assert not case.ledger.is_held()
    case.until_empty()
    case.expect(duplicates=BATCH)


@pytest.mark.fault(6, "Exchange deleted; the relay may declare it", short=True)
def test_an_exchange_that_is_deleted_is_declared_again_with_the_stream(case: Case) -> None:
    case.start_relay()
    with case.writing():
        case.until_published(0.3)
        case.inbox.delete_exchange()
    case.until_empty()
    case.expect(duplicates=BATCH, source=case.inbox.read_stream)


@pytest.mark.fault(6, "Exchange deleted; only an operator may declare it")
def test_without_the_right_to_declare_events_wait_for_the_exchange(case: Case) -> None:
    case.kit["AUDIT_DECLARE"] = False
    case.start_relay()
    with case.visiting(), case.writing():
        case.until_published(0.3)
        case.inbox.delete_exchange()
        case.until_said("does not exist")
        case.inbox.bind()
    case.until_empty()
    case.expect(duplicates=BATCH)


@pytest.mark.fault(7, "All bindings removed, later restored")
def test_events_that_are_routed_nowhere_are_kept_until_they_are_routed(case: Case) -> None:
    case.kit["AUDIT_DECLARE"] = False  # without the catch-all stream, which accepts every event
    case.start_relay()
    with case.visiting(), case.writing():
        case.until_published(0.3)
        case.inbox.unbind()
        case.until(lambda: case.ledger.deferred() > 0, "unroutable events are deferred")
        case.inbox.bind()
    case.until_empty(timeout=400)  # the backoff of a deferred event grows to at most five minutes
    case.expect(order=False)


@pytest.mark.fault(8, "Queue full, with reject-publish; later its limit is raised")
def test_what_a_full_queue_refuses_is_tried_again(case: Case) -> None:
    case.limit_inbox(case.events // 3)
    case.start_relay()
    with case.visiting(), case.writing():
        case.until(lambda: case.ledger.deferred() > 0, "events that the queue rejects are deferred")
        case.limit_inbox(100 * case.events)
    case.until_empty(timeout=400)
    case.expect(order=False)


@pytest.mark.fault(9, "Right to publish revoked, later granted")
def test_without_the_right_to_publish_events_wait(case: Case) -> None:
    login = case.publisher()
    case.start_relay(**login)
    with case.visiting(), case.writing():
        case.until_published(0.3)
        case.broker.control("set_permissions", login["TEST_RABBITMQ_USER"], ".*", "^$", ".*")
        # Permissions are not checked again on a channel in use.
        case.broker.control("close_all_connections", "rights have changed")
        case.until_said("ACCESS_REFUSED")
        case.broker.control("set_permissions", login["TEST_RABBITMQ_USER"], ".*", ".*", ".*")
    case.until_empty()
    assert case.ledger.deferred() == 0
    case.expect(duplicates=BATCH)


@pytest.mark.fault(10, "Password changed, then changed back")
def test_a_relay_that_is_refused_waits_and_tells_no_password(case: Case) -> None:
    login = case.publisher()
    name, password = login["TEST_RABBITMQ_USER"], login["TEST_RABBITMQ_PASSWORD"]
    relay = case.start_relay(**login)
    with case.visiting(), case.writing():
        case.until_published(0.3)
        case.broker.control("change_password", name, "another")
        case.broker.control("close_all_connections", "the password was changed")
        case.until_said("login refused: wrong user or password")
        case.broker.control("change_password", name, password)
    case.until_empty()
    assert password not in relay.output
    case.expect(duplicates=BATCH)


@pytest.mark.fault(10, "Virtual host deleted, later created again")
def test_a_relay_waits_for_its_virtual_host(case: Case) -> None:
    case.inbox.vhost = case.name
    case.start_relay(TEST_RABBITMQ_VHOST=case.name)
    with case.visiting(), case.writing():
        case.until_said(f"the vhost {case.name!r} does not exist")
        case.broker.control("add_vhost", case.name)
        case.broker.control("set_permissions", "--vhost", case.name, "guest", ".*", ".*", ".*")
    case.until_empty()
    case.expect(source=case.inbox.read_stream)
