"""Run a command with PostgreSQL and RabbitMQ: `python -m tests.with_services pytest`.

PostgreSQL is the one in DATABASE_URL, or an embedded one. RabbitMQ is the first of these:

- the one in RABBITMQ_HOST
- one on 127.0.0.1:5672
- one that `docker compose` starts
- one that is started from the installed program
- Debian's package, which is installed if CI=true or RABBITMQ_INSTALL=1 is set (as root, with
  apt-get)

Without RabbitMQ the broker tests are skipped, and the summary shows how many. In CI this is a
failure. Services that were started are stopped at the end. Installed packages are kept.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from example_project.embedded_postgres import CannotStartError, EmbeddedPostgres
from tests.private_broker import PrivateBroker, answers, is_installed

ROOT = Path(__file__).parent.parent
Address = tuple[str, int]


def main(command: list[str]) -> int:
    """Start the services, run the command, and return its exit code."""
    if not command:
        print(__doc__)
        return 2
    # Leave the `with` block, which stops the services.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with ExitStack() as stack:
        try:
            database_url = os.environ.get("DATABASE_URL") or embedded_postgres(stack)
        except CannotStartError as error:
            print(f"PostgreSQL: {error}", file=sys.stderr)
            return 1
        environment = {**os.environ, "DATABASE_URL": database_url}
        address = broker(stack)
        if address is None:
            print(
                "RabbitMQ: NOT FOUND. The broker tests will be skipped. Start it on 127.0.0.1:5672, set "
                "RABBITMQ_HOST, or install docker or rabbitmq-server. On Debian, as root, RABBITMQ_INSTALL=1 "
                "installs it.",
                file=sys.stderr,
            )
        else:
            environment |= {"RABBITMQ_HOST": address[0], "RABBITMQ_PORT": str(address[1])}
        return subprocess.run(command, env=environment, cwd=ROOT, check=False).returncode


def embedded_postgres(stack: ExitStack) -> str:
    """Start a PostgreSQL in a temporary directory, without durability, which tests do not need."""
    directory = tempfile.TemporaryDirectory(prefix="nak-postgres-", ignore_cleanup_errors=True)
    server = EmbeddedPostgres(Path(stack.enter_context(directory)), options={"fsync": "off", "max_connections": "200"})
    stack.callback(shutil.rmtree, server.home, ignore_errors=True)
    stack.callback(server.stop)
    url = server.start()
    print("PostgreSQL: embedded")
    return url


def broker(stack: ExitStack) -> Address | None:
    """Return the address of RabbitMQ, after starting one if necessary."""
    ways: list[tuple[str, Callable[[ExitStack], Address | None]]] = [
        ("given by RABBITMQ_HOST", given),
        ("found on 127.0.0.1", local),
        ("started by docker compose", composed),
        ("started from the installed program", installed),
        ("installed by apt-get and started", packaged),
    ]
    for name, way in ways:
        address = way(stack)
        if address is not None:
            print(f"RabbitMQ: {name} ({address[0]}:{address[1]})")
            return address
    return None


def given(stack: ExitStack) -> Address | None:
    """Return the broker of RABBITMQ_HOST, even if it does not respond: the tests must then fail."""
    host = os.environ.get("RABBITMQ_HOST")
    return (host, int(os.environ.get("RABBITMQ_PORT", "5672"))) if host else None


def local(stack: ExitStack) -> Address | None:
    """Return the broker on the default port, if there is one."""
    return ("127.0.0.1", 5672) if answers("127.0.0.1", 5672) else None


def composed(stack: ExitStack) -> Address | None:
    """Return the broker of compose.yaml, if a Docker engine is available."""
    if shutil.which("docker") is None:
        return None
    up = ["docker", "compose", "up", "--detach", "--wait", "--wait-timeout", "120", "rabbitmq"]
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode != 0:
        return None
    if subprocess.run(up, cwd=ROOT, check=False).returncode != 0:
        return None
    stack.callback(subprocess.run, ["docker", "compose", "rm", "--stop", "--force", "rabbitmq"], cwd=ROOT, check=False)
    return local(stack)


def installed(stack: ExitStack) -> Address | None:
    """Return a private node that is started from the installed program."""
    if not is_installed():
        return None
    node = PrivateBroker()
    stack.callback(node.remove)
    node.start()
    return "127.0.0.1", node.port


def packaged(stack: ExitStack) -> Address | None:
    """Return a broker from Debian's package, after installing it."""
    if not install("rabbitmq-server", if_asked_by="RABBITMQ_INSTALL"):
        return None
    return local(stack) or installed(stack)


def install(package: str, *, if_asked_by: str) -> bool:
    """Install a Debian package if the environment asks for it, and only as root, as in a container.

    Args:
        package: the name of the package.
        if_asked_by: the variable that asks for it, besides CI.

    Returns:
        Whether the package is installed now.
    """
    asked = (name for name in ("CI", if_asked_by) if os.environ.get(name, "").lower() in {"1", "true"})
    wanted = next(asked, None)
    if wanted is None or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return False
    with (Path(tempfile.gettempdir()) / "ninja_auth_kit-apt-get.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several processes run tests, and apt-get does not wait for another
        return _install(package, because=wanted)


def _install(package: str, *, because: str) -> bool:
    print(f"Installing {package} with apt-get, because {because} is set.", flush=True)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", package]):
        done = subprocess.run(command, env=quiet, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            print(f"`{' '.join(command)}` failed:\n{done.stderr.strip()}", file=sys.stderr)
            return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
