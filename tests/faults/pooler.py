"""pgbouncer in transaction mode in front of the database of a case."""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.private_broker import free_port
from tests.with_services import install

MISSING = "pgbouncer is not installed. On Debian, as root, PGBOUNCER_INSTALL=1 installs it."
_SETTINGS = """
[databases]
* = host={socket} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 8
ignore_startup_parameters = extra_float_digits
"""


def is_installed() -> bool:
    """Return whether pgbouncer is installed, after installing it if PGBOUNCER_INSTALL is set."""
    return bool(shutil.which("pgbouncer") or install("pgbouncer", if_asked_by="PGBOUNCER_INSTALL"))


class Pooler:
    """A pgbouncer process.

    Args:
        socket: the directory of the database's socket.
    """

    def __init__(self, socket: Path) -> None:
        self.port = free_port()
        self.home = Path(tempfile.mkdtemp(prefix="nak-pooler-"))
        (self.home / "pgbouncer.ini").write_text(_SETTINGS.format(socket=socket, port=self.port))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start pgbouncer. It may not accept connections yet; `Case.until` retries them."""
        with (self.home / "log").open("ab") as log:
            command = [str(shutil.which("pgbouncer")), str(self.home / "pgbouncer.ini")]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, **self._user())

    def url(self, name: str) -> str:
        """Return the URL of a database through the pooler."""
        return f"postgres://postgres@127.0.0.1:{self.port}/{name}"

    def stop(self) -> None:
        """End the process and delete its directory."""
        if self._process is not None:
            self._process.terminate()
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
