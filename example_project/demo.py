"""Run the example project: `make demo`. The machine needs only Python.

Start a PostgreSQL unless DATABASE_URL is set, migrate, create two users, and run the server with the embedded relay.
If a broker answers, also run a consumer of the audit events. Ctrl-C stops everything that was started, and removes
the exchange and the queues of the demo from the broker.
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
from own_names import LOCAL, own_exchange, own_names

HERE = Path(__file__).parent
HOST = "localhost"  # browsers bind no passkey to an IP address
KEYS = ("SECRET_KEY", "JWT_SECRET_KEY")
# The users of the provider: a new one, one whose address has an account already, and one with an unverified address.
PROVIDER_ACCOUNTS = (
    ("newcomer", "newcomer@example.net", True),
    ("ada", "ada@example.com", True),
    ("unverified", "unverified@example.net", False),
)
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # Ctrl-C, kill, a closed terminal


def main() -> int:
    """Run the demo until Ctrl-C, and return the exit code."""
    heed_ends()
    port = os.environ.get("PORT", "8000")
    try:
        refuse_taken_port(port)
        parameters(os.environ)
        with ExitStack() as stack:
            environment = {**own_provider(stack, int(port) + 1), **prepare(stack, port)}
            for command in (["migrate", "--verbosity", "0"], ["seed"]):
                manage(command, environment)
            print(addresses(environment), flush=True)
            return serve(environment)
    except (CannotStartError, BrokerSettingsError, OSError) as error:
        print(f"The demo cannot start. {error}", file=sys.stderr)
        return 1


def heed_ends() -> None:
    """Stop everything in order on a signal.

    A shell makes its background jobs ignore SIGINT, but the demo must end on it. A SIGHUP that nohup ignores stays so.
    """
    for number in ENDS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, end)


def end(*_: object) -> None:
    """Exit, which stops everything that was started."""
    ignore_ends()
    sys.exit(0)


def ignore_ends() -> None:
    """Ignore further signals while stopping: a closed terminal sends two, and people press Ctrl-C again."""
    for number in ENDS:
        signal.signal(number, signal.SIG_IGN)


def refuse_taken_port(port: str) -> None:
    """Raise CannotStartError if the port is in use, before anything else starts."""
    if not port.isdecimal() or not 0 < int(port) < 65_536:
        raise CannotStartError(f"PORT must be a number from 1 to 65535 (got {port!r}).")
    if is_taken(int(port)):
        raise CannotStartError(f"Port {port} is in use. Choose another one: PORT=8001 make demo")


def is_taken(port: int) -> bool:
    """Return whether another server uses the port, also if only on ::1, which browsers try first for localhost."""
    with suppress(OSError), socket.create_connection(("::1", port), timeout=1):
        return True
    try:
        socket.create_server((HOST, port)).close()
    except OSError:
        return True
    return False


def prepare(stack: ExitStack, port: str) -> dict[str, str]:
    """Return the environment of the project, with a database that answers."""
    try:
        (LOCAL / "mails").mkdir(parents=True, exist_ok=True)
        keys = own_keys(LOCAL / "keys.json")
    except OSError as error:
        raise CannotStartError(
            f"{LOCAL} is not writable: {error.strerror}. Correct its permissions, or set DEMO_DIRECTORY."
        ) from error
    except ValueError as error:
        raise CannotStartError(
            f"{LOCAL / 'keys.json'} is damaged: {error}. Delete it; the demo then makes new keys."
        ) from error
    database_url = os.environ.get("DATABASE_URL")
    if not database_url:
        server = EmbeddedPostgres(LOCAL / "postgres")
        stack.callback(server.stop)
        stack.callback(ignore_ends)
        database_url = server.start()
        print(f"PostgreSQL: an embedded server, data in {server.home}. Set DATABASE_URL to use your own.")
    names = stack.enter_context(own_names(port, os.environ))
    stack.callback(ignore_ends)
    defaults = {"DEBUG": "1", "PORT": port, "RABBITMQ_HOST": "127.0.0.1", "EMAIL_FILE_PATH": str(LOCAL / "mails")}
    defaults |= {**keys, **names}
    return {**defaults, **os.environ, "DATABASE_URL": database_url}


def own_provider(stack: ExitStack, port: int) -> dict[str, str]:
    """Start an OpenID provider on this machine, and return its settings. It is that of the tests: a clone has it.

    It has the same port in each run, if it can, because the accounts in the database are linked to its address.
    """
    sys.path.append(str(HERE.parent))
    try:
        from tests.features.oidc.providers.hostile import Provider
    except ImportError:
        return {}
    try:
        provider = stack.enter_context(Provider(port=port))
    except (OSError, OverflowError):  # another program uses the port
        provider = stack.enter_context(Provider())
    provider.accounts = {
        name: {"sub": str(number), "email": email, "email_verified": is_verified}
        for number, (name, email, is_verified) in enumerate(PROVIDER_ACCOUNTS, 1)
    }
    return {
        "OIDC_ISSUER": provider.issuer,
        "OIDC_CLIENT_ID": provider.client_id,
        "OIDC_CLIENT_SECRET": str(provider.client_secret),
    }


def own_keys(path: Path) -> dict[str, str]:
    """Return the keys of the demo. They are made at the first run and kept, so that tokens survive a restart."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # The link makes the file appear complete; if two demos start at once, both use the keys of the first.
        new = path.with_suffix(f".{os.getpid()}")
        new.touch(mode=0o600)
        new.write_text(json.dumps({name: secrets.token_urlsafe(64) for name in KEYS}))
        with suppress(FileExistsError):
            os.link(new, path)
        new.unlink()
    keys = json.loads(path.read_text())
    if not isinstance(keys, dict) or not all(isinstance(keys.get(name), str) for name in KEYS):
        raise ValueError(f"it is not an object with {' and '.join(KEYS)}")
    return {name: keys[name] for name in KEYS}


def manage(command: list[str], environment: dict[str, str]) -> None:
    """Run a management command, and raise CannotStartError if it fails."""
    program = [sys.executable, str(HERE / "manage.py"), *command]
    done = subprocess.run(program, env=environment, cwd=HERE, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CannotStartError(f"`manage.py {command[0]}` failed:\n\n{reason(done.stderr)}")


def reason(output: str) -> str:
    """Return the error message of a failed command, without the traceback or the heading before it."""
    said = output.strip().rpartition("Traceback (most recent call last):\n")[2]
    said = re.sub(r"\A(?: .*\n)+", "", said)
    said = re.split(r"^(?:CRITICALS|ERRORS):\n", said, maxsplit=1, flags=re.MULTILINE)[-1]
    return re.sub(r"\A\w+(?:\.\w+)+: ", "", said) or "It printed nothing."


def addresses(environment: dict[str, str]) -> str:
    """Return the addresses to open, the state of the broker, and the users."""
    site = f"http://{HOST}:{environment['PORT']}"
    python, walk = (os.path.relpath(path) for path in (sys.executable, HERE / "walk.py"))
    server = "" if environment["PORT"] == "8000" else f" --url {site}"
    return f"""
RabbitMQ: {broker_state(environment)}

    {site}/               two devices, one session: the flow as buttons
    {site}/api/auth/docs  the API of the kit
    {site}/api/docs       the API of this project, protected by the kit
    {site}/mailbox/       the emails that this project sends
    {site}/admin/         the admin

Users: ada@example.com (ada likes long passwords), grace@example.com (grace runs the whole place; an administrator)
{provider_state(environment)}
Next: {python} {walk}{server} runs the whole flow. Ctrl-C stops everything."""


def provider_state(environment: dict[str, str]) -> str:
    """Return a sentence about the provider of this machine, and its accounts."""
    if not environment.get("OIDC_ISSUER"):
        return "Provider: not started, because the tests of the repository are not here or cannot be imported."
    if os.environ.get("OIDC_ISSUER"):
        return f"Provider: {environment['OIDC_ISSUER']}, which OIDC_ISSUER names."
    accounts = ", ".join(
        f"{name} ({email}{'' if is_verified else ', not verified'})" for name, email, is_verified in PROVIDER_ACCOUNTS
    )
    return f"Provider: {environment['OIDC_ISSUER']}, for a login without a password. Its accounts: {accounts}"


def broker_state(environment: dict[str, str]) -> str:
    """Return a sentence that says whether the broker answers and where the events go."""
    broker = parameters(environment)
    if broker is None:
        return "not used, because RABBITMQ_HOST is empty. Audit events are only logged here, by ninja_auth_kit.audit."
    address = f"{broker.host}:{broker.port}"
    if not has_broker(environment):
        return f"no broker answers at {address}. Audit events wait in the outbox until one does."
    exchange = environment.get("AUDIT_EXCHANGE", "auth.events")
    removed = " They are removed when the demo stops." if exchange == own_exchange(environment["PORT"]) else ""
    return f"at {address}. Audit events go to the exchange {exchange} and its queues, and to consumer.py.{removed}"


def has_broker(environment: dict[str, str]) -> bool:
    """Return whether the broker answers."""
    broker = parameters(environment)
    if broker is None:
        return False
    try:
        socket.create_connection((broker.host, broker.port), timeout=2).close()
    except OSError:
        return False
    return True


def serve(environment: dict[str, str]) -> int:
    """Run the server, and the consumer if a broker answers, until the server ends or a signal arrives."""
    server = [str(HERE / "manage.py"), "runserver", "--noreload", f"{HOST}:{environment['PORT']}"]
    programs = [server]
    if has_broker(environment):
        # The relay declares the exchange that the consumer binds its queue to. The server reports failures later.
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
