"""Faults of the database: crashes, freezes, a full disk, lost connections, long snapshots."""

import statistics
import time

import psycopg
import pytest

from tests.faults.case import BATCH, Case
from tests.faults.processes import without_cryptography
from tests.faults.wire import Wire

pytestmark = pytest.mark.private_broker
LOGGED = {"PGOPTIONS": "-c log_min_duration_statement=0"}


@pytest.mark.fault(14, "PostgreSQL stopped (immediate) between publishing and deleting, then started", short=True)
def test_a_database_that_crashes_costs_at_most_a_batch_of_duplicates(case: Case) -> None:
    with case.visiting(), case.writing():
        case.until_written(0.5)
        gate = case.gate()
        case.start_relay()
        case.until(gate.is_reached, "a batch is published and not deleted")
        case.server.crash()
        case.server.start()
    case.until_empty()
    case.expect(duplicates=BATCH, errors=True)


@pytest.mark.fault(14, "A server process of PostgreSQL killed (kill -9), which ends all of them")
def test_a_database_that_recovers_by_itself_loses_nothing(case: Case) -> None:
    case.start_relay()
    with case.visiting(), case.writing():
        case.until_published(0.5)
        case.server.kill_backend(name=case.name)
    case.until_empty()
    case.expect(duplicates=BATCH, errors=True)


@pytest.mark.fault(14, "PostgreSQL frozen (SIGSTOP) for half a minute")
def test_a_frozen_database_is_waited_for(case: Case) -> None:
    case.start_relay()
    with case.visiting(), case.writing():
        case.until_published(0.3)
        with case.server.frozen():
            time.sleep(30)
    case.until_empty()
    case.expect(duplicates=BATCH, errors=True)


@pytest.mark.fault(18, "A backlog of 1,000,000 events")
def test_a_backlog_is_published_in_constant_memory(case: Case) -> None:
    backlog = 1_000_000 if case.events >= 5_000 else 20 * case.events
    with case.writing():
        pass
    case.ledger.pile_up(backlog)
    relay = case.start_relay(**LOGGED, **without_cryptography(case.home))
    case.until(lambda: case.ledger.published() > 0, "the relay has begun to publish")
    before = relay.peak_memory()
    took = case.until_empty(timeout=1800)
    claims = case.server.durations("FOR UPDATE SKIP LOCKED")
    case.note(f"{case.ledger.written() / took:,.0f}/s")
    case.note(f"memory at most {relay.peak_memory():.0f} MB")
    case.note(f"a claim {statistics.median(claims):.1f} ms")
    assert relay.peak_memory() - before < 3
    assert relay.peak_memory() < 65
    case.expect()


@pytest.mark.fault(19, "A transaction pins an old snapshot while four times the events pass")
def test_claims_stay_fast_under_an_old_snapshot(case: Case) -> None:
    with case.writing():
        pass
    with psycopg.connect(case.ledger.url.replace("postgres:", "postgresql:", 1)) as old:
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT FROM pg_class LIMIT 1")
        case.ledger.pile_up(3 * case.events)
        case.start_relay(**LOGGED)
        case.until_empty()
        before = len(case.server.durations("FOR UPDATE SKIP LOCKED"))
        with case.writing():
            pass
        case.until_empty()
        claims = case.server.durations("FOR UPDATE SKIP LOCKED")[before:]
        case.note(f"a claim {statistics.median(claims):.1f} ms")
        assert statistics.median(claims) < 10
    case.expect()


@pytest.mark.fault(20, "A commit that comes 30 seconds late, with a lower id", short=True)
def test_an_event_that_commits_late_is_published_too(case: Case) -> None:
    case.start_relay()
    begun, release = time.monotonic(), case.home / "release"
    late = case.start_writer(events=1, undo_every=10**9, users=(199, 200), hold_until=str(release))
    case.until(lambda: case.ledger.is_held(after="INSERT"), "the late transaction has written and is open")
    with case.writing():
        pass
    case.until_empty()
    time.sleep(max(0.0, begun + (30 if case.events >= 5_000 else 6) - time.monotonic()))
    assert late.is_running
    release.touch()
    late.result(timeout=60)
    took = case.until_empty()
    case.note(f"published {took:.1f} s after its commit")
    case.expect()


@pytest.mark.fault(24, "Inserts into the outbox fail: the disk is full (SQLSTATE 53100)", short=True)
def test_no_state_without_its_event_where_the_disk_is_full(case: Case) -> None:
    case.start_relay()
    with case.visiting(), case.writing():
        case.until_written(0.3)
        case.ledger.fill_disk()
        time.sleep(3)
        case.ledger.free_disk()
    case.until_empty()
    case.expect(errors=True)


@pytest.mark.fault(24, "Inserts into the outbox fail: the statement timeout")
def test_no_state_without_its_event_where_statements_time_out(case: Case) -> None:
    case.variables["PGOPTIONS"] = "-c statement_timeout=200"
    case.start_relay()
    with case.writing():
        case.until_written(0.3)
        with psycopg.connect(case.ledger.url.replace("postgres:", "postgresql:", 1)) as other:
            other.execute("LOCK TABLE ninja_auth_kit_auditoutbox")
            time.sleep(3)
    case.until_empty()
    case.expect(errors=True)


@pytest.mark.parametrize(
    "how",
    [
        pytest.param("cut", marks=pytest.mark.fault(32, "Relay and database cut off from each other")),
        pytest.param(
            "block", marks=pytest.mark.fault(32, "The same without an error: packets are dropped for a minute")
        ),
    ],
)
def test_a_relay_without_its_database_costs_at_most_a_batch_of_duplicates(case: Case, how: str) -> None:
    wire = Wire(str(case.server.socket))
    wire.mend()
    with case.visiting(), case.writing():
        case.until_written(0.5)
        gate = case.gate()
        case.start_relay(url=f"postgres://postgres@127.0.0.1:{wire.port}/{case.name}")
        case.until(gate.is_reached, "a batch is published and not deleted")
        getattr(wire, how)()
        gate.open()
        time.sleep(5 if how == "cut" else 60)
        wire.cut()
        wire.mend()
    case.until_empty()
    wire.cut()
    case.expect(duplicates=BATCH)
