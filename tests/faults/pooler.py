"""pgbouncer and Pgpool-II in front of the database of a case."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.private_broker import free_port
from tests.with_services import install

MISSING = "pgbouncer is not installed. On Debian, as root, PGBOUNCER_INSTALL=1 installs it."
MISSING_PGPOOL = "Pgpool-II is not installed. On Debian, as root, PGPOOL_INSTALL=1 installs it."
_PGBOUNCER = """
[databases]
* = host={socket} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
ignore_startup_parameters = extra_float_digits
"""
_PGPOOL = """
backend_clustering_mode = 'streaming_replication'
listen_addresses = '127.0.0.1'
port = {port}
socket_dir = '{home}'
unix_socket_directories = '{home}'
pcp_listen_addresses = ''
pcp_port = {pcp_port}
pcp_socket_dir = '{home}'
pid_file_name = '{home}/pgpool.pid'
logdir = '{home}'
num_init_children = 24
max_pool = 1
enable_pool_hba = off
sr_check_user = 'postgres'
sr_check_database = 'postgres'
health_check_period = 0
"""


def is_installed() -> bool:
    """Return whether pgbouncer is installed, after installing it if PGBOUNCER_INSTALL is set."""
    return bool(shutil.which("pgbouncer") or install("pgbouncer", if_asked_by="PGBOUNCER_INSTALL"))


def is_pgpool_installed() -> bool:
    """Return whether Pgpool-II is installed, after installing it if PGPOOL_INSTALL is set."""
    return bool(shutil.which("pgpool") or install("pgpool2", if_asked_by="PGPOOL_INSTALL"))


class _Pooler(ABC):
    """A process between the kit and the database, which is ended by its process id."""

    end = signal.SIGTERM  # the signal that ends it while clients are connected

    def __init__(self) -> None:
        self.port = free_port()
        self.home = Path(tempfile.mkdtemp(prefix="nak-pooler-"))
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """Return the command line."""

    def start(self) -> None:
        """Start the pooler. It may not accept connections yet; `Case.until` retries them."""
        with (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen(self.command(), stdout=log, stderr=log, **self._user())

    def url(self, name: str) -> str:
        """Return the URL of a database through the pooler."""
        return f"postgres://postgres@127.0.0.1:{self.port}/{name}"

    def stop(self) -> None:
        """End the process and delete its directory."""
        if self._process is not None:
            self._process.send_signal(self.end)
            self._process.wait(20)
        shutil.rmtree(self.home, ignore_errors=True)

    def _user(self) -> dict[str, Any]:
        """Return the user to run it as.

        It does not run as root. The user `nobody` may enter the directory of the database's socket.
        """
        if os.geteuid() != 0:
            return {}
        nobody = pwd.getpwnam("nobody")
        os.chown(self.home, nobody.pw_uid, nobody.pw_gid)
        return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


class Pooler(_Pooler):
    """A pgbouncer process.

    Args:
        socket: the directory of the database's socket.
        mode: the pool mode, "transaction" or "session".
        size: how many connections to each database it opens. In session mode, each client keeps one.
    """

    def __init__(self, socket: Path, *, mode: str = "transaction", size: int = 8) -> None:
        super().__init__()
        settings = _PGBOUNCER.format(socket=socket, port=self.port, mode=mode, size=size)
        (self.home / "pgbouncer.ini").write_text(settings)

    def command(self) -> list[str]:
        """Return the command line."""
        return [str(shutil.which("pgbouncer")), str(self.home / "pgbouncer.ini")]


class Pgpool(_Pooler):
    """A Pgpool-II process in front of a primary and, perhaps, a replica.

    Args:
        sockets: the directories of the sockets, that of the primary first.
        weights: the share of the reads that each server gets, if they are balanced.
        settings: lines of pgpool.conf.
    """

    end = signal.SIGINT

    def __init__(self, sockets: Sequence[Path], *, weights: Sequence[int] = (1, 1), settings: Sequence[str]) -> None:
        super().__init__()
        lines = [_PGPOOL.format(port=self.port, pcp_port=free_port(), home=self.home), *settings]
        for number, socket in enumerate(sockets):
            lines += [f"backend_hostname{number} = '{socket}'", f"backend_port{number} = 5432"]
            lines += [f"backend_weight{number} = {weights[number]}"]
            lines += [f"backend_flag{number} = '{'DISALLOW_TO_FAILOVER' if number else 'ALWAYS_PRIMARY'}'"]
        (self.home / "pgpool.conf").write_text("\n".join(lines) + "\n")
        for name in ("pcp.conf", "pool_hba.conf"):
            (self.home / name).write_text("")

    def command(self) -> list[str]:
        """Return the command line."""
        files = [str(self.home / name) for name in ("pgpool.conf", "pcp.conf", "pool_hba.conf")]
        return [str(shutil.which("pgpool")), "-n", "-f", files[0], "-F", files[1], "-a", files[2]]
