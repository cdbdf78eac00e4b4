"""A proxy in its own process that puts PostgreSQL at a known distance and counts round trips."""

import asyncio
import mmap
import os
import selectors
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import psycopg

from tests.servers import ROOT


class Counter:
    """A number in a file that one process increments and others read."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            file.truncate(8)
            self._number = memoryview(mmap.mmap(file.fileno(), 8)).cast("Q")

    def read(self) -> int:
        """Return the number."""
        return self._number[0]

    def increment(self) -> None:
        """Add one."""
        self._number[0] += 1


@dataclass(frozen=True)
class Proxy:
    """A running proxy.

    Attributes:
        port: its port on the loopback interface.
        counter_file: the file of the `Counter` of round trips.
    """

    port: int
    counter_file: Path

    def url(self, name: str) -> str:
        """Return the URL of a database behind the proxy."""
        return f"postgres://postgres@127.0.0.1:{self.port}/{name}"


@contextmanager
def proxy_to(server: Path, *, seconds: float) -> Iterator[Proxy]:
    """Start a proxy to a Unix socket.

    Args:
        server: the path of the socket.
        seconds: how much longer a round trip takes: half of it in each direction.
    """
    with tempfile.TemporaryDirectory(prefix="nak-proxy-") as directory:
        counter_file = Path(directory) / "round_trips"
        counter_file.touch()
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.peers.proxy", str(server), str(seconds), str(counter_file)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            yield Proxy(int(process.stdout.readline()), counter_file)
        finally:
            process.communicate(timeout=30)  # closes its input, which ends it


def delay_of(proxy: Proxy, direct_url: str, *, number: int = 200) -> float:
    """Return how many milliseconds longer a `SELECT 1` takes through the proxy."""
    far, near = (_select_one(url, number) for url in (proxy.url("postgres"), direct_url))
    return (far - near) * 1000


def _select_one(url: str, number: int) -> float:
    times = []
    with psycopg.connect(url.replace("postgres:", "postgresql:", 1), autocommit=True) as connection:
        for _ in range(number):
            began = time.perf_counter()
            connection.execute("SELECT 1")
            times.append(time.perf_counter() - began)
    return statistics.median(times)


class RoundTrips:
    """Call a function at each message of a client that follows one of the server."""

    def __init__(self, found: Callable[[], None]) -> None:
        self._found, self._is_answered = found, True

    def sent(self) -> None:
        """Note that the client has sent something."""
        if self._is_answered:
            self._found()
        self._is_answered = False

    def received(self) -> None:
        """Note that the server has sent something."""
        self._is_answered = True


class _Side(asyncio.Protocol):
    """One side of a connection. What arrives here is sent to the other side after the delay."""

    def __init__(self, delay: float, note: Callable[[], None]) -> None:
        self._delay, self._note = delay, note
        self._loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport | None = None
        self.other: _Side | None = None
        self._waiting: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._note()
        # The delay of this message does not add to that of the next.
        self._loop.call_later(self._delay, self._pass_on, data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other is not None and self.other.transport is not None:
            self._loop.call_later(self._delay, self.other.transport.close)

    def join(self, other: "_Side") -> None:
        """Send to the other side from now on, first what has arrived."""
        self.other = other
        waiting, self._waiting = self._waiting, []
        for data in waiting:
            self._pass_on(data)

    def _pass_on(self, data: bytes) -> None:
        if self.other is None or self.other.transport is None:
            self._waiting.append(data)
        else:
            self.other.transport.write(data)


async def _serve(server: str, delay: float, counter: Counter) -> None:
    loop = asyncio.get_running_loop()
    joining: set[asyncio.Task[None]] = set()

    async def connect(client: _Side, trips: RoundTrips) -> None:
        _, other = await loop.create_unix_connection(lambda: _Side(delay, trips.received), server)
        other.join(client)
        client.join(other)

    def accept() -> _Side:
        trips = RoundTrips(counter.increment)
        client = _Side(delay, trips.sent)
        task = loop.create_task(connect(client, trips))
        joining.add(task)
        task.add_done_callback(joining.discard)
        return client

    listener = await loop.create_server(accept, "127.0.0.1", 0)
    print(listener.sockets[0].getsockname()[1], flush=True)
    ended = asyncio.Event()
    loop.add_reader(sys.stdin, ended.set)  # the parent closes it
    await ended.wait()


def main(server: str, seconds: str, counter_file: str) -> None:
    """Run the proxy until its standard input is closed."""
    with suppress(OSError):  # Linux wakes a process up to 50 µs late unless it asks for less
        Path("/proc/self/timerslack_ns").write_text("1")
    # epoll, the default, rounds each wait up to a millisecond.
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    asyncio.set_event_loop(loop)
    with suppress(KeyboardInterrupt):
        loop.run_until_complete(_serve(server, float(seconds) / 2, Counter(Path(counter_file))))
    os._exit(0)  # without waiting for connections


if __name__ == "__main__":
    main(*sys.argv[1:4])
