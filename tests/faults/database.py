"""A PostgreSQL for the fault suite only, which can be crashed, killed and frozen."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

from example_project.embedded_postgres import EmbeddedPostgres
from tests.servers import ROOT

TEMPLATE = "faults_template"
# The suite does not simulate power cuts. What a process has written to the operating system
# survives the end of the process.
OPTIONS = {"fsync": "off", "max_connections": "200"}


class PrivateDatabase(EmbeddedPostgres):
    """A server on which each case gets a copy of a migrated database."""

    def __init__(self, directory: Path, **options: str) -> None:
        super().__init__(directory, options={**OPTIONS, **options})
        self._url = ""

    def start(self) -> str:
        """Start or restart the server, and return the URL of its default database."""
        self._url = super().start()
        return self._url

    def url(self, name: str) -> str:
        """Return the URL of one of its databases."""
        return self._url.replace("/postgres?", f"/{name}?")

    @property
    def socket(self) -> Path:
        """Return the path of its Unix socket."""
        assert self._socket is not None
        return self._socket / ".s.PGSQL.5432"

    def execute(self, statement: str, *, name: str = "postgres") -> list[tuple[object, ...]]:
        """Execute a statement on a new connection and return its rows."""
        with psycopg.connect(self.url(name).replace("postgres:", "postgresql:", 1), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def make_template(self) -> None:
        """Create the migrated database, with users, that is copied for each case."""
        self.execute(f"CREATE DATABASE {TEMPLATE}")
        settings = {"DATABASE_URL": self.url(TEMPLATE), "DJANGO_SETTINGS_MODULE": "tests.settings"}
        for command in (["django", "migrate", "--verbosity", "0"], ["tests.faults.seed"]):
            subprocess.run(
                [sys.executable, "-m", *command],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), **settings},
                check=True,
            )

    def copy(self, name: str) -> str:
        """Create a database from the template and return its URL."""
        self.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        return self.url(name)

    def drop(self, name: str) -> None:
        """Drop a database, even if it has open connections."""
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def crash(self) -> None:
        """End the server as `pg_ctl stop -m immediate` does. It recovers at the next start."""
        assert self._server is not None
        self._server.send_signal(signal.SIGQUIT)
        self._server.wait(30)

    def kill(self) -> None:
        """Kill all processes of the server, as a power cut would. What clients wait for is not answered."""
        assert self._server is not None
        self._signal_all(signal.SIGKILL)
        self._server.wait(30)

    def remove(self) -> None:
        """Stop the server and delete its directory."""
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)

    def kill_backend(self, *, name: str) -> None:
        """Kill a server process of a database (kill -9). PostgreSQL ends all others and recovers."""
        query = f"SELECT pid FROM pg_stat_activity WHERE datname = '{name}' AND backend_type = 'client backend'"
        os.kill(int(str(self.execute(query)[0][0])), signal.SIGKILL)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop all processes of the server during the block. Their connections stay open."""
        self._signal_all(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal_all(signal.SIGCONT)

    def durations(self, of: str) -> list[float]:
        """Return the milliseconds of each logged statement that contains this text, in order."""
        log = (self.home / "server.log").read_text(errors="replace")
        # PostgreSQL begins each further line of a statement with a tab.
        statements = re.finditer(r"duration: ([0-9.]+) ms [^\n]*(?:\n\t[^\n]*)*", log)
        return [float(found[1]) for found in statements if of in found[0]]

    def _signal_all(self, number: signal.Signals) -> None:
        assert self._server is not None
        main = self._server.pid
        children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        for process in [main, *map(int, children)]:
            with suppress(ProcessLookupError):  # its connection has ended meanwhile
                os.kill(process, number)
