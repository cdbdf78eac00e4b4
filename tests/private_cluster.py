"""A cluster of three RabbitMQ nodes for the tests only: on loopback, each with its own ports and directory."""

import json
import secrets
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.private_broker import PrivateBroker, program

SIZE = 3
PATIENCE = 120.0  # seconds for a command or a state of the cluster


class PrivateCluster:
    """Three nodes that share a cookie. Each is ended by its process id.

    Args:
        sbin: the directory of the programs. The default is the first of `versions`.
        configuration: lines that are added to `rabbitmq.conf` of each node.
    """

    def __init__(self, sbin: Path | None = None, *, configuration: str = "") -> None:
        self.sbin = sbin
        self.nodes = [PrivateBroker(sbin) for _ in range(SIZE)]
        cookie = secrets.token_hex(16)
        for node in self.nodes:
            (node.home / ".erlang.cookie").write_text(cookie)
            (node.home / ".erlang.cookie").chmod(0o400)
            with (node.home / "rabbitmq.conf").open("a") as file:
                file.write(configuration)

    def start(self) -> None:
        """Start the nodes that do not run. At the first start, join them to a cluster."""
        is_new = not (self.nodes[0].home / "mnesia").exists()
        with ThreadPoolExecutor(SIZE) as pool:
            list(pool.map(lambda node: node.is_running() or node.start(), self.nodes))
        if is_new:
            self.join(*self.nodes[1:])

    def join(self, *nodes: PrivateBroker) -> None:
        """Join nodes to the cluster of the first node."""
        for node in nodes:
            node.control("stop_app")
            node.control("join_cluster", name_of(self.nodes[0]))
            node.control("start_app")

    @property
    def hosts(self) -> str:
        """The addresses of all nodes, as `RABBITMQ_HOST` names them."""
        return ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    @property
    def urls(self) -> list[str]:
        """The addresses of all nodes, as a consumer names them."""
        return [f"amqp://guest:guest@127.0.0.1:{node.port}/%2F" for node in self.nodes]

    @property
    def port(self) -> int:
        """The port of a node that runs."""
        return self.running()[0].port

    def running(self) -> list[PrivateBroker]:
        """Return the nodes that run."""
        return [node for node in self.nodes if node.is_running()]

    def is_running(self) -> bool:
        """Return whether all nodes run."""
        return len(self.running()) == SIZE

    def control(self, *arguments: str) -> str:
        """Run rabbitmqctl on a node that runs, and return its output."""
        return self.running()[0].control(*arguments)

    def leader(self, queue: str) -> PrivateBroker:
        """Return the node that leads a quorum queue or a stream."""
        leader = str(self._queues(self.running()[0])[queue]["leader"])
        return next(node for node in self.nodes if name_of(node) == leader)

    def replicas(self, queue: str) -> int:
        """Return how many nodes have a replica of a queue or a stream, whether they run or not."""
        return len(self._queues(self.running()[0])[queue]["members"])

    def await_replicas(self, *queues: str) -> None:
        """Wait until every replica of these queues and streams runs, as an operator does before the next restart."""

        def run_everywhere() -> bool:
            known = self._queues(self.running()[0])
            return all(len(known[queue]["online"]) == SIZE for queue in queues)

        until(run_everywhere, f"all replicas of {', '.join(queues)} run")

    def relays(self) -> list[int]:
        """Return the process id of each relay connection to any node."""
        return self.running()[0].relays()

    def remove(self) -> None:
        """End the nodes and delete their directories."""
        for node in self.nodes:
            node.remove()

    @staticmethod
    def _queues(node: PrivateBroker) -> dict[str, dict[str, Any]]:
        listed = node.control("-q", "list_queues", "name", "leader", "members", "online", "--formatter", "json")
        return {str(queue["name"]): queue for queue in json.loads(listed)}


def name_of(node: PrivateBroker) -> str:
    """Return the name of the Erlang node."""
    return node.environment["RABBITMQ_NODENAME"]


def run(node: PrivateBroker, tool: str, *arguments: str) -> str:
    """Run a program of RabbitMQ, such as `rabbitmq-upgrade`, on a node, and return its output."""
    command = [str(program(tool, node.sbin)), *arguments]
    done = subprocess.run(command, env=node.environment, capture_output=True, text=True, check=False, timeout=PATIENCE)
    if done.returncode != 0:
        raise RuntimeError(f"{tool} {' '.join(arguments)}: {done.stderr or done.stdout}")
    return done.stdout


def until(condition: Callable[[], bool], what: str, timeout: float = PATIENCE) -> float:
    """Wait for a condition, and return the seconds it took. A command that fails meanwhile is tried again."""
    begun, failure = time.monotonic(), ""
    while time.monotonic() - begun < timeout:
        try:
            if condition():
                return time.monotonic() - begun
        except (RuntimeError, subprocess.TimeoutExpired, json.JSONDecodeError, KeyError) as error:
            failure = f"; {error}"
        time.sleep(0.5)
    raise AssertionError(f"not within {timeout:.0f} s: {what}{failure}")
