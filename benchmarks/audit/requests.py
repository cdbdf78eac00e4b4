"""Measure a login while the broker is up, down, frozen and blocked, beside the naive design.

The naive design connects to the broker in the request, publishes with a confirm and closes the
connection, as a simple signal receiver would. It cannot be measured while the broker is frozen or
blocked, because the request does not return.
"""

import json
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pika

from benchmarks.audit.stage import Stage, sample_event
from tests.faults.processes import Relay, WebServer, environment
from tests.faults.seed import PASSWORD, address

REQUESTS = 150


def measure(stage: Stage) -> dict[str, float]:
    """Return the median of a login in milliseconds, for each state of the broker."""
    stage.server.copy("requests")
    with stage.exchange("requests.events") as exchange:
        variables = environment(stage.broker.port, stage.server.url("requests"), {"AUDIT_EXCHANGE": exchange})
        relay = Relay(["django", "authkit_relay"], variables, stage.home / "requests-relay.log")
        web = WebServer((), variables, stage.home / "requests-web.log")
        while not web.answers():
            time.sleep(0.1)
        states: dict[str, Callable[[], Any]] = {
            "broker up": nullcontext,
            "broker frozen (SIGSTOP)": stage.broker.frozen,
            "broker blocked (memory alarm)": lambda: stage.broker.short_of("memory"),
        }
        found = {state: _median(web, enter) for state, enter in states.items()}
        found["naive: connect and publish in the request"] = _median(web, nullcontext, also=lambda: _naive(stage))
        stage.broker.kill()
        found["broker down"] = _median(web, nullcontext)
        web.terminate()
        relay.end()
        stage.broker.start()
    stage.server.drop("requests")
    return found


def _median(web: WebServer, enter: Callable[[], Any], *, also: Callable[[], None] = lambda: None) -> float:
    body = json.dumps({"email": address(0), "password": PASSWORD}).encode()
    with enter():
        times = []
        for _ in range(REQUESTS):
            begun = time.perf_counter()
            assert web.request("POST", "/api/auth/login", body) == 200
            also()
            times.append((time.perf_counter() - begun) * 1000)
    print(f"  {statistics.median(times):.1f} ms", flush=True)
    return statistics.median(times[20:])


def _naive(stage: Stage) -> None:
    with stage.channel() as channel:
        channel.confirm_delivery()
        event = sample_event(1)
        properties = pika.BasicProperties(delivery_mode=2)
        channel.basic_publish("requests.events", event.routing_key, event.payload.encode(), properties, mandatory=True)
