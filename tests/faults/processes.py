"""The processes of a case: relays, writers, a web server and its visitors.

Each is ended by its process id.
"""

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.private_broker import free_port
from tests.servers import ROOT


def environment(broker_port: int, database_url: str, kit: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment of a process that uses the kit."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "DJANGO_SETTINGS_MODULE": "tests.settings_server",
        "TEST_SETTINGS": "tests.settings",
        "TEST_KIT": json.dumps(kit),
        "TEST_RABBITMQ_HOST": "127.0.0.1",
        "TEST_RABBITMQ_PORT": str(broker_port),
        "DATABASE_URL": database_url,
    }


def without_cryptography(home: Path) -> dict[str, str]:
    """Return the variables that hide `cryptography` from a process.

    PyJWT imports it if it is installed, which it is in few projects.
    """
    hidden = home / "hidden" / "cryptography"
    hidden.mkdir(parents=True, exist_ok=True)
    (hidden / "__init__.py").write_text("raise ModuleNotFoundError\n")
    return {"PYTHONPATH": f"{hidden.parent}:{ROOT}"}


class Process:
    """A process whose output is written to a file."""

    def __init__(
        self, arguments: list[str], environment: Mapping[str, str], log: Path, *, apart: bool = False
    ) -> None:
        self.log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=ROOT,
                env=dict(environment),
                stdout=out,
                stderr=out,
                start_new_session=apart,
            )

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._process.pid

    @property
    def output(self) -> str:
        """Return its output so far."""
        return self.log.read_text(errors="replace")

    @property
    def is_running(self) -> bool:
        """Return whether the process is running."""
        return self._process.poll() is None

    def kill(self) -> None:
        """Kill the process, as the kernel does when memory is short."""
        self._process.kill()
        self._process.wait(30)

    def freeze(self) -> None:
        """Stop the process (SIGSTOP)."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Continue the process (SIGCONT)."""
        self._process.send_signal(signal.SIGCONT)

    def terminate(self, timeout: float = 60) -> int:
        """Send SIGTERM, and return the exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout)

    def wait(self, timeout: float) -> int:
        """Wait until the process has ended, and return its exit code."""
        return self._process.wait(timeout)

    def end(self) -> None:
        """Kill the process if it is running."""
        if self.is_running:
            self.kill()


class Relay(Process):
    """`manage.py authkit_relay`, or a substitute for it."""

    def peak_memory(self) -> float:
        """Return its peak memory so far, in MB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024


class Writer(Process):
    """A process that runs `tests.faults.writer`."""

    def __init__(self, orders: dict[str, Any], environment: Mapping[str, str], log: Path) -> None:
        super().__init__(["tests.faults.writer", json.dumps(orders)], environment, log)

    def result(self, timeout: float) -> dict[str, int]:
        """Wait until the process has ended, and return its figures."""
        code = self.wait(timeout)
        assert code == 0, self.output
        return dict(json.loads(self.output.splitlines()[-1]))


class WebServer(Process):
    """A gunicorn server with the kit's API, and two workers unless the arguments change that."""

    def __init__(self, arguments: tuple[str, ...], environment: Mapping[str, str], log: Path) -> None:
        self.port = free_port()
        bind = ("--bind", f"127.0.0.1:{self.port}", "--no-control-socket", "tests.wsgi")
        super().__init__(["gunicorn", "--workers", "2", *arguments, *bind], environment, log)

    def workers(self) -> int:
        """Return how many worker processes have been started so far."""
        return self.output.count("Booting worker")

    def answers(self) -> bool:
        """Return whether the server responds."""
        try:
            return self.request("GET", "/api/auth/") < 500
        except OSError:
            return False

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> int:
        """Send a request and return the status code of the response."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json", **(headers or {})})
            return connection.getresponse().status
        finally:
            connection.close()


class AnyServer(WebServer):
    """A server that an operator may choose, in a process group of its own.

    Args:
        arguments: the command line after `python -m`, with `{port}` in place of the port.
        environment: the variables of the process.
        log: where its output goes.
    """

    def __init__(self, arguments: str, environment: Mapping[str, str], log: Path) -> None:
        self.port = free_port()
        line = arguments.format(port=self.port).split()
        Process.__init__(self, line, environment, log, apart=True)

    def kill(self) -> None:
        """Kill all its processes."""
        os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(30)


class Visitors(Process):
    """A process that runs `tests.faults.visitors`."""

    def __init__(self, port: int, log: Path) -> None:
        super().__init__(["tests.faults.visitors", str(port)], os.environ, log)

    def result(self) -> dict[str, float]:
        """Stop the visitors and return their figures."""
        assert self.terminate() == 0, self.output
        return dict(json.loads(self.output.splitlines()[-1]))
