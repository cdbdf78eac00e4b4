"""Serve a contender with uvicorn or granian, and read its threads, processor time and memory."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.rounds import PATHS
from tests.private_broker import free_port
from tests.servers import ROOT

PROGRAMS = {
    "uvicorn": "uvicorn --lifespan off --no-access-log --log-level warning",
    "granian": "granian --interface asginl --no-ws --log-level warning",
}
PATIENCE = 60  # seconds until a server must accept connections


@dataclass(frozen=True)
class Served:
    """A contender behind a server.

    Attributes:
        port: its port.
        process_id: the id of the first process of the server.
    """

    port: int
    process_id: int

    def threads(self) -> int:
        """Return the number of threads of the process that has most."""
        return max(int(_status(one, "Threads")) for one in _family(self.process_id))

    def memory(self) -> float:
        """Return the resident memory in MB of the process that has most."""
        return max(int(_status(one, "VmRSS").split()[0]) for one in _family(self.process_id)) / 1024

    def processor_time(self) -> float:
        """Return the seconds of processor time of all its processes."""
        ticks = 0
        for one in _family(self.process_id):
            with suppress(OSError):  # it has ended
                fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def serve(name: str, *, program: str, workers: int, database_url: str, has_pool: bool = False) -> Iterator[Served]:
    """Serve a contender whose tables exist."""
    port = free_port()
    options = ["--host", "127.0.0.1", "--port", str(port), "--workers", str(workers)]
    process = subprocess.Popen(
        [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            *PROGRAMS[program].split(),
            *options,
            "benchmarks.peers.asgi:application",
        ],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": PATHS,
            "DATABASE_URL": database_url,
            "CONTENDER": name,
            "POOL": "yes" if has_pool else "",
        },
    )
    try:
        _wait_for(name, port, process)
        yield Served(port, process.pid)
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait_for(name: str, port: int, process: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < ends:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                if connection.recv(1):
                    return
        except OSError:
            pass
        time.sleep(0.1)
    raise SystemExit(f"The server of {name} does not respond. Its output is above.")


def _family(process_id: int) -> list[int]:
    """Return a process and all that it has started."""
    found = [process_id]
    for children in Path(f"/proc/{process_id}/task").glob("*/children"):
        with suppress(OSError):  # the thread has ended
            found += [one for child in children.read_text().split() for one in _family(int(child))]
    return found


def _status(process_id: int, field: str) -> str:
    with suppress(OSError):  # it has ended
        for line in Path(f"/proc/{process_id}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return line.partition(":")[2].strip()
    return "0"
