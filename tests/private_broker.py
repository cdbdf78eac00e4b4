"""A RabbitMQ for the tests only, on its own ports, which can be stopped, blocked and killed."""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_TIMEOUT = 90.0  # seconds; Erlang starts slowly on a busy machine


def program(name: str, directory: Path | None = None) -> Path | None:
    """Return the path of a RabbitMQ program.

    Debian's wrappers in /usr/sbin require the user rabbitmq, so they are bypassed.

    Args:
        name: the name of the program.
        directory: where the programs of one version are. The default is the first of `versions`.
    """
    for place in [directory] if directory else versions():
        if (place / name).exists():
            return place / name
    found = shutil.which(name)
    return Path(found) if found else None


def versions() -> list[Path]:
    """Return the directory of the programs of each RabbitMQ that private brokers can be started from.

    RABBITMQ_SBIN names them, separated by colons. The default is the installed RabbitMQ.
    """
    named = os.environ.get("RABBITMQ_SBIN")
    if named:
        return [Path(directory) for directory in named.split(os.pathsep)]
    return sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin"), reverse=True)


def is_installed() -> bool:
    """Return whether a private broker can be started on this machine."""
    return program("rabbitmq-server") is not None


def version() -> str:
    """Return the version of the RabbitMQ that private brokers have, or "none"."""
    command = program("rabbitmqctl")
    if command is None:
        return "none"
    return subprocess.run([str(command), "version"], capture_output=True, text=True, check=True).stdout.strip()


class PrivateBroker:
    """A node in its own directory. It is ended by its process id.

    Args:
        sbin: the directory of its programs. The default is the first of `versions`.
    """

    def __init__(self, sbin: Path | None = None) -> None:
        self.sbin = sbin
        self.home = Path(tempfile.mkdtemp(prefix="nak-rabbit-"))
        self.port = free_port()
        self._server: subprocess.Popen[bytes] | None = None
        (self.home / "enabled_plugins").write_text("[].\n")
        (self.home / "rabbitmq.conf").write_text("loopback_users.guest = true\n")
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "RABBITMQ_NODENAME": f"nak-{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_BASE": str(self.home),
            "RABBITMQ_MNESIA_BASE": str(self.home / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.home / "log"),
            "RABBITMQ_PID_FILE": str(self.home / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.home / "enabled_plugins"),
            "RABBITMQ_CONFIG_FILE": str(self.home / "rabbitmq"),
            "RABBITMQ_CONF_ENV_FILE": str(self.home / "none"),
        }

    def start(self) -> None:
        """Start the node and wait until it responds."""
        with (self.home / "out").open("ab") as out:
            self._server = subprocess.Popen(
                [str(program("rabbitmq-server", self.sbin))],
                env=self.environment,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline and self._server.poll() is None:
            if answers("127.0.0.1", self.port):
                return
            time.sleep(0.2)
        raise RuntimeError(f"RabbitMQ did not start:\n{(self.home / 'out').read_text(errors='replace')[-2000:]}")

    def is_running(self) -> bool:
        """Return whether the node is running."""
        return self._server is not None and self._server.poll() is None

    def stop(self) -> None:
        """Stop the node gracefully."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the node, as a power cut would."""
        self._signal(signal.SIGKILL)

    def freeze(self) -> None:
        """Stop the node (SIGSTOP). Its connections stay open."""
        self._signal_group(signal.SIGSTOP)

    def thaw(self) -> None:
        """Continue the node (SIGCONT)."""
        self._signal_group(signal.SIGCONT)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop the node (SIGSTOP) during the block."""
        self.freeze()
        try:
            yield
        finally:
            self.thaw()

    @contextmanager
    def short_of(self, resource: str) -> Iterator[None]:
        """Raise the alarm for "memory" or "disk" during the block, which blocks publishers."""
        command, short, plenty = {
            "memory": ("set_vm_memory_high_watermark", "0.000001", "0.6"),
            "disk": ("set_disk_free_limit", "9000000000000000", "1000000"),
        }[resource]
        try:
            self.control(command, short)
            yield
        finally:
            self.control(command, plenty)

    def relays(self) -> list[int]:
        """Return the process id of each relay connection, as the client properties state it."""
        listed = self.control("-q", "list_connections", "client_properties", "--formatter", "json")
        return [int(process) for process in re.findall(r"ninja_auth_kit relay \S+ (\d+)", listed)]

    def control(self, *arguments: str) -> str:
        """Run rabbitmqctl on this node and return its output."""
        command = [str(program("rabbitmqctl", self.sbin)), *arguments]
        try:
            done = self._run(command)
        except subprocess.TimeoutExpired:  # seen once with 4.3.6 on a busy machine; the same command then took 1 s
            done = self._run(command)
        if done.returncode != 0:
            raise RuntimeError(f"rabbitmqctl {arguments[0]}: {done.stderr or done.stdout}")
        return done.stdout

    def _run(self, command: list[str]) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False, timeout=60)

    def remove(self) -> None:
        """Stop the node and delete its directory."""
        if self._server is not None and self._server.poll() is None:
            self.kill()
        shutil.rmtree(self.home, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> None:
        self._signal_group(number)
        if self._server is not None:
            self._server.wait(30)

    def _signal_group(self, number: signal.Signals) -> None:
        if self._server is not None:
            os.killpg(self._server.pid, number)


def free_port() -> int:
    """Return a port that is not in use."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(host: str, port: int) -> bool:
    """Return whether an AMQP broker responds on this port.

    A broker responds to an invalid protocol header with its own header.
    """
    try:
        with socket.create_connection((host, port), timeout=2) as connection:
            connection.settimeout(2)
            connection.sendall(b"AMQP\x00\x00\x00\x00")
            return connection.recv(4) == b"AMQP"
    except OSError:
        return False
