"""Faults of relays: killed, frozen, stopped, many at once, several versions, poison events."""

import time

import pytest

from tests.faults.case import BATCH, Case

pytestmark = pytest.mark.private_broker
EVICTION = 20.0  # seconds for which the database allows a relay to idle in a transaction


@pytest.mark.fault(11, "Poison rows in the middle: a key of 400 bytes, a body of 1 MB", short=True)
def test_what_cannot_be_published_is_parked_and_keeps_back_nothing(case: Case) -> None:
    case.start_relay()
    with case.visiting(), case.writing():
        case.until_written(0.3)
        case.ledger.poison(key="é" * 200, body="{}")
        case.ledger.poison(key="auth.poison.body.success", body="x" * 1_000_000)
    case.until(lambda: case.ledger.left() == 2, "only the poison events are left")
    assert case.ledger.parked() == {"poison": 1, "too_large": 1}
    case.expect(left=2)


@pytest.mark.fault(12, "Relay killed (kill -9) between publishing and deleting", short=True)
def test_a_killed_relay_costs_at_most_a_batch_of_duplicates(case: Case) -> None:
    with case.visiting(), case.writing():
        case.until_written(0.5)
        gate = case.gate()
        relay = case.start_relay()
        case.until(gate.is_reached, "a batch is published and not deleted")
        relay.kill()
        gate.open()
        case.start_relay()
    case.until_empty()
    case.expect(duplicates=BATCH)


@pytest.mark.fault(13, "Relay frozen (SIGSTOP) between publishing and deleting, later continued")
def test_a_frozen_relay_is_evicted_by_the_database(case: Case) -> None:
    with case.visiting(), case.writing():
        case.until_written(0.5)
        gate = case.gate()
        frozen = case.start_relay()
        case.until(gate.is_reached, "a batch is published and not deleted")
        frozen.freeze()
        gate.open()
        case.start_relay()
        taken = case.until(lambda: case.ledger.published() > 0, "the other relay has taken over")
        case.note(f"taken over after {taken:.0f} s")
        assert taken < EVICTION + 10
    case.until_empty()
    frozen.thaw()
    with case.writing(events=1000):
        case.until(
            lambda: "database is not available" in frozen.output,
            "the continued relay notices that its session has ended",
        )
    case.until_empty()
    case.expect(duplicates=BATCH)


@pytest.mark.fault(15, "Two relays, then three", short=True)
def test_many_relays_publish_once_and_in_order(case: Case) -> None:
    for _ in range(2):
        case.start_relay("--batch", "50")
    with case.visiting(), case.writing():
        case.until_published(0.3)
        case.start_relay("--batch", "50")
    case.until_empty()
    case.expect()


@pytest.mark.fault(16, "Relays of two versions during a rolling deploy")
def test_a_relay_of_another_version_shares_the_shards(case: Case) -> None:
    case.start_old_relay("--shards")
    with case.visiting(), case.writing():
        case.until_published(0.1)
        case.start_relay("--batch", "50")
    case.until_empty()
    case.expect()


@pytest.mark.fault(16, "A third-party worker that uses only SKIP LOCKED (no order is guaranteed)")
def test_a_worker_without_shards_publishes_nothing_twice_either(case: Case) -> None:
    case.start_old_relay()
    with case.visiting(), case.writing():
        case.until_published(0.1)
        case.start_relay("--batch", "50")
    case.until_empty()
    case.expect(order=False)


@pytest.mark.fault(17, "Clocks of writers and relays ten minutes apart, fast and slow")
def test_nothing_but_the_time_of_an_event_depends_on_a_clock(case: Case) -> None:
    for clock in (-600, 600):
        case.start_relay("--batch", "50", clock=clock)
    with case.writing(events=case.events // 2, clock=600), case.writing(events=case.events // 2, clock=-600):
        pass
    case.until_empty()
    case.expect()


@pytest.mark.fault(28, "SIGTERM under load")
def test_a_relay_that_is_told_to_stop_finishes_its_batch(case: Case) -> None:
    relay = case.start_relay()
    with case.visiting(), case.writing():
        case.until_published(0.3)
        told = time.monotonic()
        assert relay.terminate() == 0
        took = time.monotonic() - told
        case.note(f"stopped after {took:.1f} s")
        assert took < 10
        case.start_relay()
    case.until_empty()
    case.expect()
