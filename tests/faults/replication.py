"""A primary with a streaming replica. The primary can be killed, and the replica promoted."""

import subprocess
from pathlib import Path
from urllib.parse import quote

from example_project.embedded_postgres import run_as
from tests.faults.database import PrivateDatabase
from tests.faults.wire import Wire


class Replica(PrivateDatabase):
    """A server that begins as a copy of another and receives its log over a wire, which can be cut.

    Args:
        directory: where its data is.
        primary: the server to copy.
        lag: for how many seconds it holds back each change (`recovery_min_apply_delay`).
    """

    def __init__(self, directory: Path, primary: PrivateDatabase, *, lag: int = 0) -> None:
        super().__init__(directory, recovery_min_apply_delay=f"{lag}s")
        self.wire = Wire(str(primary.socket))
        self.wire.mend()

    def promote(self) -> None:
        """Let it accept writes."""
        self.execute("SELECT pg_promote(true, 60)")

    def _make_data(self, programs: Path) -> None:
        source = f"host=127.0.0.1 port={self.wire.port} user=postgres"
        copy = [
            str(programs / "pg_basebackup"),
            "-d",
            source,
            "-D",
            str(self.data),
            "-R",
            "-X",
            "stream",
            "-c",
            "fast",
        ]
        done = subprocess.run(copy, capture_output=True, text=True, check=False, **run_as())
        assert done.returncode == 0, done.stderr

    def remove(self) -> None:
        """Stop the server, delete its directory, and end its connection to the primary."""
        super().remove()
        self.wire.cut()


class ReplicatedDatabase(PrivateDatabase):
    """The primary. Its URLs name both servers, as `HOST` of a project does that survives a failover.

    Args:
        directory: where the data of both is.
        lag: for how many seconds the replica holds back each change.
        is_synchronous: whether each commit waits for the replica.
    """

    def __init__(self, directory: Path, *, lag: int = 0, is_synchronous: bool = False) -> None:
        super().__init__(directory / "primary")
        self._directory, self._lag, self._is_synchronous = directory, lag, is_synchronous

    def start(self) -> str:
        """Start both servers, and return the URL of the default database."""
        super().start()
        self.make_template()
        self.replica = Replica(self._directory / "replica", self, lag=self._lag)
        self.replica.start()
        if self._is_synchronous:  # not before the copy: a promoted replica would wait for a replica of its own
            self.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            self.execute("SELECT pg_reload_conf()")
        hosts = ",".join(quote(str(server.socket.parent)) for server in (self, self.replica))
        self._url = f"postgres://postgres@/postgres?host={hosts}&target_session_attrs=read-write"
        return self._url

    def is_replicating(self) -> bool:
        """Return whether the replica receives the log, synchronously if that was asked for."""
        state = self.execute("SELECT sync_state FROM pg_stat_replication WHERE state = 'streaming'")
        return state == [("sync" if self._is_synchronous else "async",)]

    def remove(self) -> None:
        """Stop both servers and delete their directories."""
        if hasattr(self, "replica"):
            self.replica.remove()
        super().remove()
