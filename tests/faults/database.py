"""A PostgreSQL of the suite's own: to crash, to kill and to freeze."""

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
# Nothing here survives a power cut, which nobody plays. What a process has written to the system outlives the process.
OPTIONS = {"fsync": "off", "max_connections": "200"}


class PrivateDatabase(EmbeddedPostgres):
    """One server; each case gets a fresh copy of a migrated database."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, options=OPTIONS)
        self._url = ""

    def start(self) -> str:
        """Start the server, or start it again, and return the URL of its first database."""
        self._url = super().start()
        return self._url

    def url(self, name: str) -> str:
        """Return the URL of one of its databases."""
        return self._url.replace("/postgres?", f"/{name}?")

    @property
    def socket(self) -> Path:
        """Return the socket that it listens on."""
        assert self._socket is not None
        return self._socket / ".s.PGSQL.5432"

    def execute(self, statement: str, *, name: str = "postgres") -> list[tuple[object, ...]]:
        """Run one statement on a connection of its own and return its rows."""
        with psycopg.connect(self.url(name).replace("postgres:", "postgresql:", 1), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def make_template(self) -> None:
        """Make a database with its tables and its users, which each case gets a copy of."""
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
        """Make a database from the template and return its URL."""
        self.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        return self.url(name)

    def drop(self, name: str) -> None:
        """Delete a database, whoever is still connected."""
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def crash(self) -> None:
        """End the server at once, as `pg_ctl stop -m immediate` does: recovery follows with the next start."""
        assert self._server is not None
        self._server.send_signal(signal.SIGQUIT)
        self._server.wait(30)

    def remove(self) -> None:
        """Stop the server and delete its directory."""
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)

    def kill_backend(self, *, name: str) -> None:
        """Kill a server process of a database (kill -9): PostgreSQL ends all others and recovers by itself."""
        query = f"SELECT pid FROM pg_stat_activity WHERE datname = '{name}' AND backend_type = 'client backend'"
        os.kill(int(str(self.execute(query)[0][0])), signal.SIGKILL)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Keep all its processes from running for as long as it takes, with their connections open."""
        self._signal_all(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal_all(signal.SIGCONT)

    def durations(self, of: str) -> list[float]:
        """Return how many milliseconds the logged statements took that contain these words, in their order."""
        log = (self.home / "server.log").read_text(errors="replace")
        return [float(found[1]) for found in re.finditer(r"duration: ([0-9.]+) ms [^\n]*", log) if of in found[0]]

    def _signal_all(self, number: signal.Signals) -> None:
        assert self._server is not None
        main = self._server.pid
        children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        for process in [main, *map(int, children)]:
            with suppress(ProcessLookupError):  # a connection that has ended since
                os.kill(process, number)
