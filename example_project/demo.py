"""`make demo`: the example project, running, on a machine that has Python and nothing else.

Starts a PostgreSQL unless DATABASE_URL is set, migrates, seeds two users, and runs the server with the relay inside
and, where a broker answers, a consumer of the audit events. Ctrl-C stops everything that was started.
"""

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

from broker import BrokerSettingsError, parameters
from embedded_postgres import CannotStartError, EmbeddedPostgres

HERE = Path(__file__).parent
LOCAL = Path(os.environ.get("DEMO_DIRECTORY", HERE.parent / ".local"))
HOST = "127.0.0.1"
KEYS = ("SECRET_KEY", "JWT_SECRET_KEY")
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # Ctrl-C, kill, a closed terminal


def main() -> int:
    """Run the demo until Ctrl-C, and return the exit code."""
    heed_ends()
    port = os.environ.get("PORT", "8000")
    try:
        refuse_taken_port(port)
        parameters(os.environ)
        with ExitStack() as stack:
            environment = prepare(stack, port)
            for command in (["migrate", "--verbosity", "0"], ["seed"]):
                manage(command, environment)
            print(addresses(environment), flush=True)
            return serve(environment)
    except (CannotStartError, BrokerSettingsError, OSError) as error:
        print(f"The demo cannot start. {error}", file=sys.stderr)
        return 1


def heed_ends() -> None:
    """End in order when told to. SIGINT is ignored where a shell starts a background job, SIGHUP under nohup."""
    for number in ENDS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, end)


def end(*_: object) -> None:
    """Leave, which stops what was started."""
    ignore_ends()
    sys.exit(0)


def ignore_ends() -> None:
    """Let nothing interrupt the stopping: a closed terminal tells it twice, and people press Ctrl-C again."""
    for number in ENDS:
        signal.signal(number, signal.SIG_IGN)


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
        raise CannotStartError(
            f"{LOCAL / 'keys.json'} is damaged: {error}. Delete it: new keys are made then."
        ) from error
    database_url = os.environ.get("DATABASE_URL")
    if not database_url:
        server = EmbeddedPostgres(LOCAL / "postgres")
        stack.callback(server.stop)
        stack.callback(ignore_ends)
        database_url = server.start()
        print(f"PostgreSQL: an embedded one, data in {server.home}. Set DATABASE_URL to use yours.")
    defaults = {"DEBUG": "1", "PORT": port, "RABBITMQ_HOST": HOST, "EMAIL_FILE_PATH": str(LOCAL / "mails"), **keys}
    return {**defaults, **os.environ, "DATABASE_URL": database_url}


def own_keys(path: Path) -> dict[str, str]:
    """Return the keys of this demo, made at its first run and kept, so that tokens outlive a restart."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # Whole or not at all, and of two that start at once those of one.
        new = path.with_suffix(f".{os.getpid()}")
        new.touch(mode=0o600)
        new.write_text(json.dumps({name: secrets.token_urlsafe(64) for name in KEYS}))
        with suppress(FileExistsError):
            os.link(new, path)
        new.unlink()
    keys = json.loads(path.read_text())
    if not isinstance(keys, dict) or not all(isinstance(keys.get(name), str) for name in KEYS):
        raise ValueError(f"not an object with {' and '.join(KEYS)}")
    return {name: keys[name] for name in KEYS}


def manage(command: list[str], environment: dict[str, str]) -> None:
    """Run a management command to its end."""
    program = [sys.executable, str(HERE / "manage.py"), *command]
    done = subprocess.run(program, env=environment, cwd=HERE, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CannotStartError(f"`manage.py {command[0]}` failed:\n\n{reason(done.stderr)}")


def reason(output: str) -> str:
    """Return what a command that failed has to say, without the traceback or the heading before it."""
    said = output.strip().rpartition("Traceback (most recent call last):\n")[2]
    said = re.sub(r"\A(?: .*\n)+", "", said)
    said = re.split(r"^(?:CRITICALS|ERRORS):\n", said, maxsplit=1, flags=re.MULTILINE)[-1]
    return re.sub(r"\A\w+(?:\.\w+)+: ", "", said) or "It said nothing."


def addresses(environment: dict[str, str]) -> str:
    """Return what to open, and how things stand with the broker."""
    site = f"http://{HOST}:{environment['PORT']}"
    python, walk = (os.path.relpath(path) for path in (sys.executable, HERE / "walk.py"))
    server = "" if environment["PORT"] == "8000" else f" --url {site}"
    return f"""
RabbitMQ: {broker_state(environment)}

    {site}/               two devices, one session: the flow to play with
    {site}/api/auth/docs  the API of the kit
    {site}/api/docs       the API of this project, behind it
    {site}/mailbox/       the mails it sends
    {site}/admin/         the admin

Users: ada@example.com (ada likes long passwords), grace@example.com (grace runs the whole place; the admin)
Next: {python} {walk}{server} plays the whole flow. Ctrl-C stops everything."""


def broker_state(environment: dict[str, str]) -> str:
    """Say whether somebody answers where the events are to go."""
    broker = parameters(environment)
    if broker is None:
        return "none, for RABBITMQ_HOST is empty. Audit events are only logged: here, by ninja_auth_kit.audit."
    address = f"{broker.host}:{broker.port}"
    if not has_broker(environment):
        return f"none answers at {address}. Audit events wait in the outbox until one does; nothing is lost."
    return f"at {address}. Audit events go to the exchange auth.events, and from there to consumer.py."


def has_broker(environment: dict[str, str]) -> bool:
    """Tell whether somebody answers where the events are to go."""
    broker = parameters(environment)
    if broker is None:
        return False
    try:
        socket.create_connection((broker.host, broker.port), timeout=2).close()
    except OSError:
        return False
    return True


def serve(environment: dict[str, str]) -> int:
    """Run the server, and the consumer beside it, until the server or we are told to stop."""
    server = [str(HERE / "manage.py"), "runserver", "--noreload", f"{HOST}:{environment['PORT']}"]
    programs = [server]
    if has_broker(environment):
        # The relay declares the exchange that the consumer binds its queue to; what fails here it says again there.
        relay = [sys.executable, str(HERE / "manage.py"), "authkit_relay", "--once"]
        subprocess.run(relay, env=environment, cwd=HERE, capture_output=True, check=False)
        programs.append([str(HERE / "consumer.py")])
    running = [subprocess.Popen([sys.executable, *program], env=environment, cwd=HERE) for program in programs]
    try:
        return running[0].wait()
    finally:
        for process in running:
            if process.poll() is None:
                process.terminate()
        for process in running:
            process.wait(15)


if __name__ == "__main__":
    sys.exit(main())
