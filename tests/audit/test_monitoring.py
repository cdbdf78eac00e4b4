"""Monitoring a relay: metrics, the health file, and several databases and broker hosts."""

import shutil
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

from ninja_auth_kit.audit.relay.loop import configured_relay
from ninja_auth_kit.audit.relay.monitoring import Metrics, exposition
from tests.audit.conftest import Consumer, address
from tests.audit.test_relay import Process, fill, start_relay, until, waiting
from tests.private_broker import free_port

__all__ = ["start_relay"]  # fixtures

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.broker]


def figures(port: int) -> dict[str, float]:
    """Return the metrics of a relay, parsed by the Prometheus client library."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        text = answer.read().decode()
    return {
        f"{sample.name.removeprefix('ninja_auth_kit_audit_')}{sorted(sample.labels.values())}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_relay_tells_its_figures(consumer: Consumer, start_relay: Callable[..., Process]) -> None:
    port = free_port()
    fill(7)
    relay = start_relay("--metrics-port", str(port))
    relay.line()
    until(lambda: waiting() == 0)
    until(lambda: figures(port)["published_total['default']"] == 7)

    told = figures(port)

    assert told["pending['default']"] == 0
    assert told["oldest_seconds['default']"] == 0
    assert told["oldest_retry_seconds['default']"] == 0
    assert told["deferred['default', 'parked']"] == 0
    assert told["shards['default']"] == 16
    assert told["blocked['default']"] == 0
    assert told["relays['default', 'publishing']"] == 1
    assert told["relays['default', 'waiting']"] == told["relays['blocked', 'default']"] == 0
    assert told["connections_total['default']"] == 1
    assert abs(told["last_success_timestamp_seconds['default']"] - time.time()) < 30
    with pytest.raises(urllib.error.HTTPError, match="404") as refused:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/")
    refused.value.close()
    assert relay.finish()[0] == 0


def test_figures_are_in_the_format_of_prometheus() -> None:
    metrics = Metrics(published=12_345_678, refused={"nacked": 2, "poison": 1})

    families = {family.name: family for family in text_string_to_metric_families(exposition(metrics.samples()))}

    assert families["ninja_auth_kit_audit_published"].samples[0].value == 12_345_678
    assert families["ninja_auth_kit_audit_published"].type == "counter"
    refused = families["ninja_auth_kit_audit_refused"].samples
    assert {sample.labels["reason"]: sample.value for sample in refused} == {"nacked": 2, "poison": 1}


def test_a_port_for_figures_that_is_taken_is_said(exchange: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CommandError, match=f"--metrics-port {port}: cannot listen on 127.0.0.1"):
            call_command("authkit_relay", once=True, metrics_port=port)


def test_the_health_file_is_touched_while_all_is_well_and_is_gone_in_the_end(
    consumer: Consumer,
    start_relay: Callable[..., Process],
    tmp_path: Path,
) -> None:
    path = tmp_path / "health"
    relay = start_relay("--health-file", str(path))
    relay.line()
    until(path.exists)
    first = path.stat().st_mtime
    until(lambda: path.stat().st_mtime > first)

    assert abs(path.stat().st_mtime - time.time()) < 30
    assert relay.finish()[0] == 0
    assert not path.exists()


def test_a_health_file_that_cannot_be_is_said_at_the_start(exchange: str, tmp_path: Path) -> None:
    for path, cause in ((tmp_path, "Is a directory"), (tmp_path / "missing" / "relay", "No such file or directory")):
        for once in (True, False):
            with pytest.raises(CommandError) as caught:
                call_command("authkit_relay", once=once, health_file=path)
            assert f"--health-file {path}: cannot be written ({cause})." in str(caught.value)


def test_a_health_file_that_can_no_longer_be_written_is_a_warning_and_events_go_out(
    consumer: Consumer, start_relay: Callable[..., Process], tmp_path: Path
) -> None:
    path = tmp_path / "run" / "relay"
    path.parent.mkdir()
    relay = start_relay("--health-file", str(path))
    assert relay.line().startswith("Publishing")

    shutil.rmtree(path.parent)
    assert relay.line().endswith(f"The health file {path} cannot be written (No such file or directory).\n")
    fill(3)

    assert len(consumer.events(3)) == 3
    path.parent.mkdir()
    until(path.exists)
    assert relay.finish() == (0, "Events published: 3.\n")
    assert not path.exists()


def test_a_relay_that_waits_for_the_broker_touches_its_health_file_and_counts_its_failures(
    exchange: str, settings: Settings, start_relay: Callable[..., Process], tmp_path: Path
) -> None:
    settings.RABBITMQ_HOST, settings.RABBITMQ_PORT, port = "127.0.0.1", free_port(), free_port()
    path = tmp_path / "relay"
    relay = start_relay("--health-file", str(path), "--metrics-port", str(port))
    assert relay.line().startswith("Waiting for the broker.")
    first = path.stat().st_mtime
    assert relay.line().startswith("Waiting for the broker.")

    until(lambda: path.stat().st_mtime > first)
    assert figures(port)["failures_total['default']"] >= 1


def test_a_database_that_is_not_there_is_said(exchange: str) -> None:
    with pytest.raises(CommandError, match=r"--database elsewhere is not in DATABASES\. Choose one of: "):
        call_command("authkit_relay", database=["elsewhere"], once=True)


def test_of_several_hosts_one_that_answers_is_enough(consumer: Consumer, settings: Settings) -> None:
    host, port = address()
    settings.RABBITMQ_HOST, settings.RABBITMQ_PORT = ["no-such-host.invalid", f"{host}:{port}"], free_port()
    fill(3)

    for _ in range(4):  # the hosts are tried in random order
        relay = configured_relay(using="default")
        relay.publisher.connect()
        assert relay.publisher.where == f"{host}:{port}"
        relay.publisher.close()
    assert configured_relay(using="default").drain() == 3


@pytest.mark.parametrize("hosts", ["one.invalid, two.invalid", ("one.invalid", "two.invalid")])
def test_if_no_host_answers_one_of_them_is_named(exchange: str, settings: Settings, hosts: Any) -> None:
    settings.RABBITMQ_HOST = hosts

    with pytest.raises(Exception, match=r"RabbitMQ at (one|two)\.invalid:\d+: the host name cannot be resolved"):
        configured_relay(using="default").drain()
