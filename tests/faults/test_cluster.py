"""Faults of a cluster of three brokers: nodes are killed, frozen, away, or restarted one after the other."""

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import pytest

from ninja_auth_kit.audit.events import TokenRefreshed
from ninja_auth_kit.consumer import Consumer, Memory
from tests.faults.case import BATCH, Case
from tests.faults.conftest import EVENTS, REPORT, ROW
from tests.faults.database import PrivateDatabase
from tests.private_broker import PrivateBroker, is_installed
from tests.private_cluster import PrivateCluster, name_of, run

pytestmark = pytest.mark.private_broker
BURST = 20.0  # seconds over which a quarter of the events is written
OUTAGE = 20.0  # seconds
# Seconds until the coordinator of the streams has the nodes that have joined, which it looks for once a minute.
COORDINATION = 75.0


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest) -> Iterator[PrivateCluster]:
    """Start three nodes for the cases of this module."""
    yield from _started(request, PrivateCluster())


def _started(request: pytest.FixtureRequest, cluster: PrivateCluster) -> Iterator[PrivateCluster]:
    if not is_installed():
        pytest.skip("RabbitMQ is not installed, so a cluster cannot be started")
    try:
        cluster.start()
        request.config.stash[REPORT].versions.setdefault("RabbitMQ", cluster.control("version").strip())
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture
def case(request: pytest.FixtureRequest, database_server: PrivateDatabase, cluster: PrivateCluster) -> Iterator[Case]:
    """Return the case of this test, with the addresses of all nodes for its processes."""
    cluster.start()  # the nodes that the last case has left stopped
    case = Case(request.node.stash[ROW], events=EVENTS, broker=cluster, server=database_server)
    case.variables["TEST_RABBITMQ_HOST"] = cluster.hosts
    try:
        yield case
    finally:
        cluster.start()
        case.inbox.port = cluster.port
        case.close()


def expect(case: Case, cluster: PrivateCluster, *, faults: int, **limits: object) -> None:
    """Expect the guarantees. After each fault, at most one batch may arrive again."""
    case.inbox.port = cluster.port
    case.expect(duplicates=faults * BATCH, **limits)


def until_more_is_published(case: Case, when: str) -> None:
    """Wait until events are published that were not before."""
    before = case.ledger.published()
    took = case.until(lambda: case.ledger.published() > before + 10, f"events are published {when}")
    case.note(f"{when}: after {took:.0f} s")


@contextmanager
def flowing(case: Case) -> Iterator[None]:
    """Run the block while events flow: begin when some are published, and end when all are written."""
    share = case.events // 4
    with case.writing(events=share, rate=share / 2 / BURST):
        before = case.ledger.published()
        case.until(lambda: case.ledger.published() > before, "events flow")
        yield


def settle(case: Case, cluster: PrivateCluster, *queues: str) -> None:
    """Wait until the stream and the queues of the case have all their replicas."""
    case.until_empty()
    cluster.await_replicas(case.inbox.stream, case.inbox.queue, *queues)


@pytest.mark.fault(45, "Cluster: the leaders of the queue and of the stream killed (kill -9)")
def test_the_other_nodes_take_over_from_leaders_that_are_killed(case: Case, cluster: PrivateCluster) -> None:
    case.start_relay()
    with flowing(case):
        pass
    for queue in (case.inbox.queue, case.inbox.stream):
        settle(case, cluster)
        leader = cluster.leader(queue)
        with flowing(case):
            leader.kill()
            until_more_is_published(case, "without the leader")
            leader.start()
    case.until_empty()
    expect(case, cluster, faults=2)


@pytest.mark.fault(46, "Cluster: two of three nodes killed, then started one after the other")
def test_events_wait_for_a_majority_of_the_nodes(case: Case, cluster: PrivateCluster) -> None:
    case.start_relay()
    with flowing(case):
        pass
    settle(case, cluster)
    first, second, _ = cluster.nodes
    with flowing(case):
        first.kill()
        second.kill()
        time.sleep(OUTAGE)
    assert case.ledger.left() > 0
    assert case.ledger.parked() == {}
    case.note(f"{case.ledger.waiting():,} waited, {case.ledger.deferred()} were refused")
    first.start()
    case.until_empty(timeout=400)
    second.start()
    expect(case, cluster, faults=2, order=False)


@pytest.mark.fault(47, "Cluster: a node away while events flow; when it is back, another one is killed")
def test_a_node_that_was_away_has_what_it_missed(case: Case, cluster: PrivateCluster) -> None:
    case.start_relay()
    first, second, _ = cluster.nodes
    with flowing(case):
        pass
    settle(case, cluster)
    first.stop()
    with flowing(case):
        pass
    first.start()
    settle(case, cluster)
    with flowing(case):
        second.kill()
        until_more_is_published(case, "without the other node")
    case.until_empty()
    expect(case, cluster, faults=2)


def _stop(node: PrivateBroker) -> None:
    node.stop()


def _drain(node: PrivateBroker) -> None:
    run(node, "rabbitmq-upgrade", "await_online_quorum_plus_one", "--timeout", "60")
    run(node, "rabbitmq-upgrade", "drain")
    node.stop()


@pytest.mark.parametrize(
    "stop",
    [
        pytest.param(_stop, marks=pytest.mark.fault(48, "Cluster: rolling restart (SIGTERM, one after the other)")),
        pytest.param(_drain, marks=pytest.mark.fault(49, "Cluster: rolling restart with `rabbitmq-upgrade drain`")),
    ],
)
def test_events_flow_during_a_rolling_restart(
    case: Case, cluster: PrivateCluster, stop: Callable[[PrivateBroker], None]
) -> None:
    case.start_relay()
    with flowing(case):
        pass
    for node in cluster.nodes:
        settle(case, cluster)
        with flowing(case):
            stop(node)
            until_more_is_published(case, "by two nodes")
            node.start()
    case.until_empty()
    expect(case, cluster, faults=3)


@pytest.mark.fault(50, "Cluster: relay and consumer, while each node is killed (kill -9) once")
def test_a_consumer_handles_each_event_once_and_in_order(case: Case, cluster: PrivateCluster) -> None:
    case.start_relay()
    consumer = Consumer(cluster.urls, queue=f"{case.name}.consumer", store=Memory(), exchange=case.inbox.exchange)
    handled: list[str] = []

    @consumer.on(TokenRefreshed)
    def note(event: TokenRefreshed, _db: None) -> None:
        data = {"session": {"id": str(event.session.id)}}
        data["details"] = {"generation": event.details.generation, "rotated": event.details.rotated}
        handled.append(json.dumps({"id": event.id, "type": "ninja-auth-kit.session.refreshed.v1", "data": data}))

    def source(is_all: Callable[[], bool]) -> Iterable[str]:
        yield from handled

    thread = threading.Thread(target=consumer.run)
    thread.start()
    try:
        case.until(lambda: consumer.is_consuming, "the consumer consumes")
        for node in cluster.nodes:
            with flowing(case):
                pass
            settle(case, cluster, consumer.queue)
            with flowing(case):
                node.kill()
                before = len(handled)
                took = case.until(lambda before=before: len(handled) > before + 10, "events are handled")
                case.note(f"handled again after {took:.0f} s")
                node.start()
        case.until_empty()
        case.until(lambda: len(handled) >= sum(case.ledger.truth().values()), "all are handled", 60)
    finally:
        consumer.stop()
        thread.join(30)
    case.expect(source=source)


@pytest.mark.fault(51, "Cluster: the leader of the queue frozen (SIGSTOP) until the others have taken over")
def test_the_other_nodes_take_over_from_a_leader_that_is_frozen(case: Case, cluster: PrivateCluster) -> None:
    case.start_relay()
    with flowing(case):
        pass
    settle(case, cluster)
    leader = cluster.leader(case.inbox.queue)
    with flowing(case), leader.frozen():
        until_more_is_published(case, "without the frozen leader")
        time.sleep(OUTAGE)
    case.until_empty()
    expect(case, cluster, faults=2)


@pytest.fixture
def lone(request: pytest.FixtureRequest) -> Iterator[PrivateCluster]:
    """Start one node, which the others join during the case."""
    if not is_installed():
        pytest.skip("RabbitMQ is not installed, so a cluster cannot be started")
    cluster = PrivateCluster()
    try:
        cluster.nodes[0].start()
        yield cluster
    finally:
        cluster.remove()


@pytest.mark.fault(
    52, "Cluster: nodes join a lone node with a stream; it is killed, and later its stream is replicated"
)
def test_a_stream_of_a_lone_node_has_one_replica_until_an_operator_adds_others(
    request: pytest.FixtureRequest, database_server: PrivateDatabase, lone: PrivateCluster
) -> None:
    case = Case(request.node.stash[ROW], events=EVENTS, broker=lone, server=database_server)
    case.variables["TEST_RABBITMQ_HOST"] = lone.hosts
    first, second, third = lone.nodes
    try:
        case.start_relay()
        with flowing(case):
            pass
        case.until_empty()
        second.start()
        third.start()
        lone.join(second, third)
        assert (lone.replicas(case.inbox.stream), lone.replicas(case.inbox.queue)) == (1, 1)
        time.sleep(COORDINATION)
        first.kill()
        with case.writing(events=case.events // 4):
            pass
        time.sleep(OUTAGE)
        assert case.ledger.left() >= case.events // 4
        first.start()
        case.until_empty(timeout=400)
        for node in (second, third):
            run(first, "rabbitmq-streams", "add_replica", case.inbox.stream, name_of(node))
            run(first, "rabbitmq-queues", "grow", name_of(node), "all")
        settle(case, lone)
        with flowing(case):
            first.kill()
            until_more_is_published(case, "without the node")
            first.start()
        case.until_empty(timeout=400)
        expect(case, lone, faults=2, order=False)
    finally:
        lone.start()
        case.inbox.port = lone.port
        case.close()
