"""Measure the memory of a relay with a backlog, and the rate at which it publishes the backlog."""

import time

from benchmarks.audit.stage import Stage
from tests.faults.ledger import Ledger
from tests.faults.processes import Relay, Writer, environment, without_cryptography


def measure(stage: Stage, *, backlog: int) -> dict[str, float]:
    """Return the peak memory in MB, idle and with the backlog, and the events per second."""
    ledger = Ledger(stage.server, "backlog")
    with stage.exchange("backlog.events") as exchange:
        variables = environment(stage.broker.port, ledger.url, {"AUDIT_EXCHANGE": exchange})
        plain = {**variables, **without_cryptography(stage.home)}
        found = {"idle, MB": _idle(stage, plain), "idle, with the extra crypto, MB": _idle(stage, variables)}
        Writer({"events": 1000}, variables, stage.home / "backlog-writer.log").result(timeout=120)
        ledger.pile_up(backlog)
        relay = Relay(["django", "authkit_relay"], plain, stage.home / "backlog-relay.log")
        found["events per second"] = _rate(ledger)
        found["with the backlog, MB"] = relay.peak_memory()
        relay.terminate()
    ledger.drop()
    return found


def _idle(stage: Stage, variables: dict[str, str]) -> float:
    relay = Relay(["django", "authkit_relay"], variables, stage.home / "idle.log")
    time.sleep(5)
    peak = relay.peak_memory()
    relay.terminate()
    return peak


def _rate(ledger: Ledger) -> float:
    while not ledger.published():
        time.sleep(0.05)
    begun, first = time.monotonic(), ledger.published()
    while waiting := ledger.waiting():
        print(f"  {waiting:,} events are waiting", flush=True)
        time.sleep(2)
    return (ledger.published() - first) / (time.monotonic() - begun)
