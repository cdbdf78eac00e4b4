"""How a relay waits and which rows it skips: notifications, pauses, and the low watermark."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from ninja_auth_kit.audit.broker.batch import PublishResult
from ninja_auth_kit.audit.record.cloudevent import SHARDS
from ninja_auth_kit.audit.record.outbox import CHANNEL
from ninja_auth_kit.audit.relay.claims import (
    MIN_CANDIDATE_AGE,
    RESET_AFTER,
    BatchClaim,
    LowWatermark,
    OutboxReader,
    take_shards,
)
from ninja_auth_kit.audit.relay.loop import configured_relay
from ninja_auth_kit.audit.relay.wakeup import LONGEST_PAUSE_WITHOUT_LISTEN, RELAY_NAME, Wakeup, own_session
from ninja_auth_kit.models import AuditOutbox
from tests.audit.conftest import Consumer
from tests.audit.test_relay import assert_in_order, fill, running, until, waiting

pytestmark = pytest.mark.django_db(transaction=True)


def claim_of(*, xmin: int, xid: int, shards: int = SHARDS) -> BatchClaim:
    return BatchClaim(list(range(shards)), xmin, xid)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Stop the clock of the low watermark, and return a function that advances it."""
    now = [1000.0]
    monkeypatch.setattr("ninja_auth_kit.audit.relay.claims.time.monotonic", lambda: now[0])

    def advance(seconds: float) -> None:
        now[0] += seconds

    return advance


def test_the_floor_rises_only_when_whoever_could_bring_an_older_row_has_ended(clock: Callable[[float], None]) -> None:
    watermark = LowWatermark()
    watermark.reset_if_shards_changed(claim_of(xmin=50, xid=60))
    watermark.observe(claim_of(xmin=50, xid=60), highest=700)

    clock(MIN_CANDIDATE_AGE + 0.1)
    watermark.observe(claim_of(xmin=60, xid=90), highest=800)
    assert watermark.value == 0
    watermark.observe(claim_of(xmin=61, xid=91), highest=600)
    assert watermark.value == 0
    watermark.observe(claim_of(xmin=61, xid=92), highest=900)
    assert watermark.value == 700


def test_a_row_that_commits_late_is_claimed_before_the_watermark_passes_it() -> None:
    """The row of a transaction that was open for longer than MIN_CANDIDATE_AGE keeps its place."""
    reader, late = OutboxReader(using="default"), connection.copy()
    try:
        with transaction_of(late):
            fill_over(late, shard=0)
            fill(1, users=1, first=1)
            assert len(claim_and_delete(reader)) == 1
            time.sleep(MIN_CANDIDATE_AGE + 0.1)
        fill(1, users=1, first=2)

        first, second = claim_and_delete(reader)
        assert first < second
    finally:
        late.close()


@contextmanager
def transaction_of(other: BaseDatabaseWrapper) -> Iterator[None]:
    other.set_autocommit(False)
    yield
    other.commit()


def fill_over(other: BaseDatabaseWrapper, *, shard: int) -> None:
    row = "(event_id, shard, routing_key, payload) VALUES (gen_random_uuid(), %s, 'auth.a.b.success', '{}')"
    with other.cursor() as cursor:
        cursor.execute(f'INSERT INTO "{AuditOutbox._meta.db_table}" {row}', [shard])


def claim_and_delete(reader: OutboxReader) -> list[int]:
    with transaction.atomic(), connection.cursor() as cursor:
        claim = take_shards(cursor)
        ids = [event.id for event in reader.claim(cursor, claim, limit=100)]
        reader.settle(cursor, claim, PublishResult(highest=ids[-1], confirmed=ids))
    return ids


def test_the_floor_is_forgotten_when_the_shards_change_and_every_two_seconds(clock: Callable[[float], None]) -> None:
    watermark = LowWatermark()

    def raise_it() -> None:
        watermark.reset_if_shards_changed(claim_of(xmin=60, xid=60))
        watermark.observe(claim_of(xmin=60, xid=60), highest=700)
        clock(MIN_CANDIDATE_AGE + 0.1)
        watermark.observe(claim_of(xmin=61, xid=61), highest=800)
        assert watermark.value == 700

    raise_it()
    watermark.reset_if_shards_changed(claim_of(xmin=60, xid=60, shards=8))
    assert watermark.value == 0
    raise_it()
    clock(RESET_AFTER)
    assert watermark.value == 0


@pytest.mark.race  # transactions of other tests would be among them
def test_a_turn_knows_which_transactions_were_running() -> None:
    begun, finish = threading.Event(), threading.Event()

    def write() -> None:
        with transaction.atomic():
            fill(1)
            begun.set()
            finish.wait(20)
        connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    assert begun.wait(20)
    with transaction.atomic(), connection.cursor() as cursor:
        before = take_shards(cursor)
    finish.set()
    writer.join()
    with transaction.atomic(), connection.cursor() as cursor:
        after = take_shards(cursor)

    assert before.shards == after.shards == list(range(SHARDS))
    assert before.xmin < before.xid < after.xmin <= after.xid


@pytest.mark.broker
@pytest.mark.race
def test_rows_that_commit_late_under_a_backlog_keep_the_order_of_their_user(consumer: Consumer) -> None:
    def commit_late(number: int) -> None:
        with transaction.atomic():
            fill(1, users=1, first=number)  # an older id than those that are published meanwhile
            time.sleep(0.4)
        connection.close()

    stop = threading.Event()

    def keep_busy() -> None:  # keeps the claims full, so that the watermark could rise
        while not stop.is_set():
            for row in range(1, 41):
                AuditOutbox(
                    event_id="0" * 32, shard=row % SHARDS, routing_key="auth.busy.x.success", payload="{}"
                ).save()
        connection.close()

    busy = threading.Thread(target=keep_busy)
    busy.start()
    with running(configured_relay(using="default", batch=20)):
        for number in range(6):
            late = threading.Thread(target=commit_late, args=(number,))
            late.start()
            late.join()
    stop.set()
    busy.join()
    configured_relay(using="default").drain()

    published = [json.loads(body) for _, _, body in consumer.remaining()]
    mine = [one for one in published if "user" in one]
    assert len(mine) == 6
    assert_in_order(mine)


@pytest.mark.broker
def test_an_idle_relay_finds_a_row_below_its_floor(consumer: Consumer) -> None:
    relay = configured_relay(using="default")
    with running(relay):
        fill(5)
        assert len(consumer.events(5)) == 5
        until(lambda: waiting() == 0)
        relay._outbox._watermark._value = 10**9  # as if all rows up to that id had been published
        fill(1, first=5)
        assert len(consumer.events(1)) == 1


@pytest.mark.broker
def test_an_idle_relay_that_listens_is_woken_at_once(consumer: Consumer) -> None:
    with running(configured_relay(using="default")):
        until(lambda: AuditOutbox.objects.count() == 0)
        time.sleep(2.5)  # until its pauses have their full length
        delays = []
        for number in range(5):
            began = time.monotonic()
            with transaction.atomic(), connection.cursor() as cursor:
                fill(1, first=number)
                cursor.execute(f"NOTIFY {CHANNEL}")
            assert len(consumer.events(1)) == 1
            delays.append(time.monotonic() - began)
            time.sleep(1.2)

    assert sorted(delays)[2] < LONGEST_PAUSE_WITHOUT_LISTEN


@pytest.mark.broker
def test_without_listening_the_relay_looks_often_enough(consumer: Consumer, kit: Callable[..., None]) -> None:
    kit(AUDIT_EXCHANGE=consumer.exchange, AUDIT_LISTEN=False)
    with running(configured_relay(using="default")):
        time.sleep(1.5)
        fill(5)
        assert len(consumer.events(5)) == 5
        assert not listeners()


def test_a_relay_tells_the_database_its_name_and_listens_once_for_each_connection(
    django_assert_num_queries: Any, kit: Callable[..., None]
) -> None:
    wakeup = Wakeup(using="default")
    wakeup.listen()

    with connection.cursor() as cursor:
        cursor.execute("SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()")
        (name,) = cursor.fetchone()
    assert name.startswith(f"{RELAY_NAME} ")
    assert name.endswith(f" {os.getpid()}")
    with django_assert_num_queries(0):
        wakeup.listen()
    connection.close()
    with django_assert_num_queries(2):
        wakeup.listen()
    connection.close()


def test_a_session_that_a_pooler_shares_is_left_as_it_is(
    kit: Callable[..., None], django_assert_num_queries: Any
) -> None:
    kit(AUDIT_LISTEN=False)
    connection.ensure_connection()

    with django_assert_num_queries(0):
        Wakeup(using="default").listen()


def test_an_unknown_pool_gets_its_connection_back_without_the_name_and_the_notifications(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    of_a_pool = connection.copy()
    monkeypatch.setattr("ninja_auth_kit.audit.relay.wakeup.unpooled_connection", lambda **_: of_a_pool)
    close = of_a_pool.close
    monkeypatch.setattr(of_a_pool, "close", lambda: None)
    state = "SELECT current_setting('application_name'), ARRAY(SELECT pg_listening_channels())"

    with own_session(using="default"):
        Wakeup(using="default").listen()
        with of_a_pool.cursor() as cursor:
            cursor.execute(state)
            assert cursor.fetchone()[1] == [CHANNEL]

    with of_a_pool.cursor() as cursor:
        cursor.execute(state)
        assert cursor.fetchone() == ("", [])
    close()


def listeners() -> int:
    """Return how many other database sessions sent LISTEN as their last statement."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%%' AND datname = current_database()"
        )
        return int(cursor.fetchone()[0])


@pytest.mark.broker
def test_after_a_failure_the_next_try_is_one_event(consumer: Consumer) -> None:
    fill(10)
    relay = configured_relay(using="default")
    relay._failures = 1

    assert relay.publish_batch() == 1
    assert waiting() == 9
    relay.publisher.close()
