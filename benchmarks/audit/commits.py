"""Measure the transactions per second of 16 clients, with and without an event in each."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg

from benchmarks.audit.stage import Stage, interleaved, sample_event

PROCESSES, CLIENTS, SECONDS = 4, 4, 4.0  # clients and seconds are per process
OUTBOX = "INSERT INTO ninja_auth_kit_auditoutbox (event_id, shard, routing_key, payload)"
WAYS = {
    "the change alone": "",
    "with the outbox row": f"{OUTBOX} VALUES (%s, 3, %s, %s)",
    "with the row, and NOTIFY ten times a second": "throttled",
    "with the row, and NOTIFY in every commit": (
        f"WITH written AS ({OUTBOX} VALUES (%s, 3, %s, %s) RETURNING 1) SELECT pg_notify('bench', '') FROM written"
    ),
}


def measure(stage: Stage, *, rounds: int) -> dict[str, float]:
    """Return the commits per second of each variant."""
    stage.server.copy("commits")
    stage.server.execute("CREATE TABLE counter (id int PRIMARY KEY, value int NOT NULL)", name="commits")
    stage.server.execute("INSERT INTO counter SELECT n, 0 FROM generate_series(1, 2000) AS n", name="commits")
    found = interleaved({way: lambda way=way: _rate(stage, way) for way in WAYS}, rounds=rounds)  # type: ignore[misc]
    stage.server.drop("commits")
    return found


def _rate(stage: Stage, way: str) -> float:
    stage.server.execute("TRUNCATE ninja_auth_kit_auditoutbox", name="commits")
    command = [sys.executable, "-m", "benchmarks.audit.commits", stage.server.url("commits"), way]
    running = [
        subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE, text=True) for number in range(PROCESSES)
    ]
    return sum(int(process.communicate(timeout=60)[0]) for process in running) / SECONDS


def clients(url: str, way: str, process: int) -> int:
    """Run the clients of one process in threads for `SECONDS`; return the number of commits."""
    notified = [0.0]  # shared by the clients of a process, as in the kit
    with ThreadPoolExecutor(CLIENTS) as pool:
        return sum(pool.map(lambda client: _commits(url, way, process * CLIENTS + client, notified), range(CLIENTS)))


def _commits(url: str, way: str, client: int, notified: list[float]) -> int:
    event, done, end = sample_event(client), 0, time.monotonic() + SECONDS
    values = (event.event_id, event.routing_key, event.payload)
    with psycopg.connect(url.replace("postgres:", "postgresql:", 1), autocommit=True) as connection:
        while (now := time.monotonic()) < end:
            statement = WAYS[way]
            if statement == "throttled":
                is_time = now - notified[0] > 0.1
                notified[0] = now if is_time else notified[0]
                statement = WAYS["with the row, and NOTIFY in every commit" if is_time else "with the outbox row"]
            with connection.transaction():
                connection.execute("UPDATE counter SET value = value + 1 WHERE id = %s", (client * 100 + done % 100,))
                if statement:
                    connection.execute(statement.encode(), values)
            done += 1
    return done


if __name__ == "__main__":
    print(clients(sys.argv[1], sys.argv[2], int(sys.argv[3])))
