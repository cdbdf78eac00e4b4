"""Measure the time from a commit to the arrival at a consumer, with NOTIFY and with polling."""

import json
import statistics
import time
from datetime import datetime
from typing import Any

from benchmarks.audit.stage import Stage
from tests.faults.processes import Relay, Writer, environment

# RATE is per second, low enough that the relay is idle when most events are written
EVENTS, RATE = 300, 20.0


def measure(stage: Stage) -> dict[str, tuple[float, float]]:
    """Return p50 and p95 in milliseconds of each variant."""
    return {
        "woken by NOTIFY": _delays(stage, "listening", AUDIT_LISTEN=True),
        "polling, four times a second": _delays(stage, "looking", AUDIT_LISTEN=False),
    }


def _delays(stage: Stage, name: str, **kit: Any) -> tuple[float, float]:
    stage.server.copy(name)
    with stage.exchange(f"{name}.events") as exchange:
        variables = environment(stage.broker.port, stage.server.url(name), {"AUDIT_EXCHANGE": exchange, **kit})
        relay = Relay(["django", "authkit_relay"], variables, stage.home / f"{name}-relay.log")
        while "Publishing to" not in relay.output:
            time.sleep(0.05)
        orders = {"events": EVENTS, "rate": RATE, "undo_every": 10**9}
        writer = Writer(orders, variables, stage.home / f"{name}-writer.log")
        delays = sorted(_arrivals(stage, f"{exchange}.queue"))
        writer.result(timeout=60)
        relay.terminate()
    stage.server.drop(name)
    print(f"  {name}: p50 {statistics.median(delays):.1f} ms", flush=True)
    return statistics.median(delays), delays[int(len(delays) * 0.95)]


def _arrivals(stage: Stage, queue: str) -> list[float]:
    """Return the milliseconds from the `time` of each event to its arrival.

    The `time` of an event is shortly before its commit.
    """
    delays: list[float] = []
    with stage.channel() as channel:
        for _method, _properties, body in channel.consume(queue, auto_ack=True, inactivity_timeout=60):
            if body is None:
                raise RuntimeError("no event arrived for 60 seconds")
            delays.append((time.time() - datetime.fromisoformat(json.loads(body)["time"]).timestamp()) * 1000)
            if len(delays) == EVENTS:
                return delays
    return delays
