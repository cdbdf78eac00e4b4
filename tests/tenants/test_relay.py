"""One relay serves the outboxes of all tenants, and a consumer tells the tenants apart by the source."""

import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from pytest_django import Settings

from ninja_auth_kit.audit.relay.claims import take_shards
from ninja_auth_kit.audit.relay.every_tenant import HeartbeatInEveryTenant
from ninja_auth_kit.audit.relay.health import read_health
from ninja_auth_kit.audit.relay.loop import configured_relay
from ninja_auth_kit.audit.relay.monitoring import Metrics, samples_for
from ninja_auth_kit.connection_state import connection_state
from tests.audit.conftest import Consumer
from tests.audit.test_relay import Process
from tests.tenants.conftest import TenantApi, create_tenant, outbox_of

pytestmark = pytest.mark.broker


def sources(consumer: Consumer, count: int) -> list[str]:
    """Return the sources of the next events without the common issuer, in any order."""
    return sorted(event["source"].removeprefix("ninja-auth-kit/") for event in consumer.events(count))


def relay(*arguments: str) -> str:
    connection.set_schema_to_public()
    output = StringIO()
    call_command("authkit_relay", "--once", *arguments, stdout=output)
    return output.getvalue()


def test_one_relay_publishes_the_events_of_all_tenants(north: TenantApi, south: TenantApi, consumer: Consumer) -> None:
    north.register()
    south.register()
    assert relay() == "Events published: 2.\n"
    assert sources(consumer, 2) == ["north", "south"]
    assert outbox_of("north") == outbox_of("south") == []
    assert connection.schema_name == "public"


def test_a_relay_of_one_tenant_publishes_its_events_only(
    north: TenantApi, south: TenantApi, consumer: Consumer
) -> None:
    north.register()
    south.register()
    connection.set_schema_to_public()
    call_command("tenant_command", "authkit_relay", "--once", schema_name="south", stdout=StringIO())
    assert sources(consumer, 1) == ["south"]
    assert len(outbox_of("north")) == 1


def test_all_schemas_leaves_the_tenant_that_tenant_command_has_chosen(
    north: TenantApi, south: TenantApi, consumer: Consumer
) -> None:
    north.register()
    south.register()
    connection.set_schema("south")
    call_command("authkit_relay", "--once", "--all-schemas", stdout=StringIO())
    assert sources(consumer, 2) == ["north", "south"]


def test_each_tenant_gets_one_batch_in_turn(north: TenantApi, south: TenantApi, consumer: Consumer) -> None:
    for number in range(6):
        north.register(f"ada{number}@example.com")
    south.register()
    assert relay("--batch", "2") == "Events published: 7.\n"
    published = [event["source"].removeprefix("ninja-auth-kit/") for event in consumer.events(7)]
    assert published.index("south") <= 2
    assert len(published) == 7


def test_a_busy_tenant_does_not_lock_the_shards_of_another() -> None:
    connection.set_schema("north")
    with transaction.atomic(), connection.cursor() as cursor:
        assert len(take_shards(cursor).shards) == 16
        other = connection.copy()
        for schema, free in (("north", 0), ("south", 16)):
            other.set_schema(schema)
            with transaction.atomic(), other.cursor() as of_other:
                assert len(take_shards(of_other).shards) == free
        other.close()


def test_the_metrics_and_the_status_are_those_of_all_tenants(
    north: TenantApi, south: TenantApi, exchange: str
) -> None:
    north.register()
    north.register("grace@example.com")
    south.register()
    connection.set_schema_to_public()
    output = StringIO()
    with pytest.raises(SystemExit):  # no relay runs
        call_command("authkit_status", "--json", stdout=output)
    assert json.loads(output.getvalue())["pending"] == 3
    assert pending_on_the_metrics_page() == 3
    connection.set_schema("south")
    output = StringIO()
    with pytest.raises(SystemExit):
        call_command("authkit_status", "--json", stdout=output)
    assert json.loads(output.getvalue())["pending"] == 1
    assert pending_on_the_metrics_page() == 1


def test_relays_with_the_same_host_and_process_id_are_told_apart(
    north: TenantApi, south: TenantApi, exchange: str
) -> None:
    connection.set_schema_to_public()
    beating = [HeartbeatInEveryTenant(using="default") for _ in range(2)]  # as in two containers
    for heartbeat in beating:
        heartbeat.beat()

    found = read_health(using="default").relays

    assert sorted(relay.id for relay in found) == sorted(str(heartbeat._id) for heartbeat in beating)
    assert len({str(relay) for relay in found}) == 1
    for heartbeat in beating:
        heartbeat.stop()
    assert read_health(using="default").relays == []


def pending_on_the_metrics_page() -> float:
    """Return the number that a thread of the server of the metrics reads, for the tenant of this thread."""
    states = {"default": connection_state(connection)}
    with ThreadPoolExecutor(1) as threads:
        samples = threads.submit(samples_for, [("default", Metrics())], states).result()
    return next(value for name, _, value in samples if name == "pending")


@pytest.fixture
def process(exchange: str, settings: Settings, consumer: Consumer) -> Iterator[Process]:
    started = Process(exchange, settings)
    yield started
    if started.process.poll() is None:
        started.finish(signal.SIGKILL)


def drop(schema: str) -> None:
    from tests.tenants.app.models import Company

    connection.set_schema_to_public()
    Company.objects.get(schema_name=schema).delete(force_drop=True)


def test_a_running_relay_finds_new_tenants_and_survives_dropped_ones(
    north: TenantApi, consumer: Consumer, process: Process
) -> None:
    north.register()
    assert sources(consumer, 1) == ["north"]
    create_tenant("west")
    try:
        TenantApi("west").register()
        assert sources(consumer, 1) == ["west"]
    finally:
        drop("west")
    north.register("grace@example.com")
    assert sources(consumer, 1) == ["north"]
    code, output = process.finish()
    assert (code, output.splitlines()[-1]) == (0, "Events published: 3.")


def test_an_embedded_relay_serves_all_tenants(exchange: str) -> None:
    connection.set_schema_to_public()
    assert type(configured_relay(using="default", embedded=True)).__name__ == "RelayOfEveryTenant"
