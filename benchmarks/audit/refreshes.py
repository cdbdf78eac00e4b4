"""Measure the refreshes per second of 16 clients, with and without their events in the outbox.

A refresh is the smallest transaction of the kit.
"""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import django

from benchmarks.audit.stage import Stage, interleaved
from tests.faults.processes import environment

PROCESSES, CLIENTS, SECONDS = 4, 4, 4.0  # clients and seconds are per process
WAYS: dict[str, Any] = {
    "refreshes without events": {"AUDIT_DISABLED_TYPES": ["session.refreshed"]},
    "with events in the outbox": {},
}


def measure(stage: Stage, *, rounds: int) -> dict[str, float]:
    """Return the refreshes per second of each variant."""
    stage.server.copy("refreshes")
    found = interleaved({way: lambda way=way: _rate(stage, WAYS[way]) for way in WAYS}, rounds=rounds)  # type: ignore[misc]
    stage.server.drop("refreshes")
    return found


def _rate(stage: Stage, kit: dict[str, Any]) -> float:
    stage.server.execute("TRUNCATE ninja_auth_kit_auditoutbox", name="refreshes")
    variables = environment(stage.broker.port, stage.server.url("refreshes"), kit)
    command = [sys.executable, "-m", "benchmarks.audit.refreshes"]
    running = [
        subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE, text=True, env=variables)
        for number in range(PROCESSES)
    ]
    return sum(int(process.communicate(timeout=60)[0]) for process in running) / SECONDS


def clients(process: int) -> int:
    """Run the clients of one process in threads for `SECONDS`; return the number of refreshes."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        return sum(pool.map(lambda client: _refreshes(process * CLIENTS + client), range(CLIENTS)))


def _refreshes(number: int) -> int:
    from django.contrib.auth import get_user_model
    from django.db import connection

    from ninja_auth_kit import services
    from ninja_auth_kit.client import ClientInfo
    from ninja_auth_kit.testing import issue_tokens

    user = get_user_model().objects.order_by("pk")[number]
    token, client, done = issue_tokens(user).refresh_token, ClientInfo("127.0.0.1"), 0
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        token = services.refresh(token=token, client=client).refresh_token
        done += 1
    connection.close()
    return done


if __name__ == "__main__":
    django.setup()
    print(clients(int(sys.argv[1])))
