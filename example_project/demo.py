"""`make demo`: the example project, running, on a machine that has Python and nothing else.

Starts a PostgreSQL unless DATABASE_URL is set, migrates, seeds two users, and runs the server with the relay inside.
Ctrl-C stops everything that was started.
"""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from embedded_postgres import CannotStartError, EmbeddedPostgres

HERE = Path(__file__).parent
LOCAL = Path(os.environ.get("DEMO_DIRECTORY", HERE.parent / ".local"))
HOST = "127.0.0.1"


def main() -> int:
    """Run the demo until Ctrl-C, and return the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts with it ignored
    port = os.environ.get("PORT", "8000")
    try:
        refuse_taken_port(port)
        with ExitStack() as stack:
            environment = prepare(stack, port)
            for command in (["migrate", "--verbosity", "0"], ["seed"]):
                manage(command, environment)
            print(addresses(environment), flush=True)
            return serve(environment)
    except (CannotStartError, OSError) as error:
        print(f"The demo cannot start. {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


def refuse_taken_port(port: str) -> None:
    """Say it now and not after everything else has started."""
    if not port.isdecimal() or not 0 < int(port) < 65_536:
        raise CannotStartError(f"PORT={port!r} is no port.")
    try:
        socket.create_server((HOST, int(port))).close()
    except OSError as error:
        raise CannotStartError(f"Port {port} is taken. Choose another: PORT=8001 make demo") from error


def prepare(stack: ExitStack, port: str) -> dict[str, str]:
    """Return the environment of the project, with a database that answers."""
    try:
        (LOCAL / "mails").mkdir(parents=True, exist_ok=True)
        keys = own_keys(LOCAL / "keys.json")
    except OSError as error:
        raise CannotStartError(f"{LOCAL} cannot be written to: {error.strerror}. Mend that.") from error
    except ValueError as error:
        raise CannotStartError(f"{LOCAL / 'keys.json'} is damaged. Delete it: new keys are made then.") from error
    database_url = os.environ.get("DATABASE_URL")
    if not database_url:
        server = EmbeddedPostgres(LOCAL / "postgres")
        stack.callback(server.stop)
        database_url = server.start()
        print(f"PostgreSQL: an embedded one, data in {server.home}. Set DATABASE_URL to use yours.")
    defaults = {"DEBUG": "1", "PORT": port, "RABBITMQ_HOST": HOST, "EMAIL_FILE_PATH": str(LOCAL / "mails"), **keys}
    return {**defaults, **os.environ, "DATABASE_URL": database_url}


def own_keys(path: Path) -> dict[str, str]:
    """Return the keys of this demo, made at its first run and kept, so that tokens outlive a restart."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(json.dumps({name: secrets.token_urlsafe(64) for name in ("SECRET_KEY", "JWT_SECRET_KEY")}))
    keys: dict[str, str] = json.loads(path.read_text())
    return keys


def manage(command: list[str], environment: dict[str, str]) -> None:
    """Run a management command to its end."""
    program = [sys.executable, str(HERE / "manage.py"), *command]
    done = subprocess.run(program, env=environment, cwd=HERE, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise CannotStartError(f"`manage.py {command[0]}` failed: {reason}")


def addresses(environment: dict[str, str]) -> str:
    """Return what to open, and how things stand with the broker."""
    site = f"http://{HOST}:{environment['PORT']}"
    python, walk = (os.path.relpath(path) for path in (sys.executable, HERE / "walk.py"))
    return f"""
RabbitMQ: {broker_state(environment)}

    {site}/               where things are
    {site}/api/auth/docs  the API of the kit
    {site}/api/docs       the API of this project, behind it
    {site}/mailbox/       the mails it sends
    {site}/admin/         the admin

Users: ada@example.com (ada likes long passwords), grace@example.com (grace runs the whole place; the admin)
Next: {python} {walk} plays the whole flow. Ctrl-C stops everything."""


def broker_state(environment: dict[str, str]) -> str:
    """Say whether somebody answers where the events are to go."""
    host, port = environment["RABBITMQ_HOST"], int(environment.get("RABBITMQ_PORT") or 5672)
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return f"none answers at {host}:{port}. Audit events wait in the outbox until one does; nothing is lost."
    return f"at {host}:{port}. Audit events go to the exchange auth.events."


def serve(environment: dict[str, str]) -> int:
    """Run the server until it or we are told to stop."""
    program = [sys.executable, str(HERE / "manage.py"), "runserver", "--noreload", f"{HOST}:{environment['PORT']}"]
    server = subprocess.Popen(program, env=environment, cwd=HERE)
    try:
        return server.wait()
    finally:
        if server.poll() is None:
            server.terminate()
            server.wait(15)


if __name__ == "__main__":
    sys.exit(main())
