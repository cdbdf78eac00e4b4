"""Use one code sixteen times at once, at the kit and at django-allauth, each with two worker processes.

    pip install -r benchmarks/peers/requirements.txt 'django-allauth[headless,mfa]' -e '.[totp]'
    PYTHONPATH=src python -m benchmarks.peers.codes [--json]

Both have their default settings: allauth remembers used codes in Django's cache, which by default is in the memory of
each process. A code must be accepted once only (RFC 6238 section 5.2).
"""

import argparse
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyotp

from tests.faults.database import PrivateDatabase
from tests.private_broker import free_port
from tests.servers import ROOT

USES, ROUNDS = 16, 5
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"  # noqa: S105  # of the benchmark
EMAIL, PASSWORD = "ada@example.com", "correct horse battery staple"
PROJECTS = ("kit", "allauth")
TOTP, RECOVERY = "one TOTP code", "one recovery code"


def main() -> None:
    """Print how many of the parallel uses of one code logged in."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    found: dict[str, dict[str, list[int]]] = {}
    with tempfile.TemporaryDirectory(prefix="nak-codes-", ignore_cleanup_errors=True) as directory:
        server = PrivateDatabase(Path(directory) / "postgres")
        server.start()
        try:
            for project in PROJECTS:
                found[project] = measure(server, project)
        finally:
            server.remove()
    if options.json:
        print(json.dumps(found))
        return
    for project, results in found.items():
        for kind, logins in results.items():
            print(f"{project}: {kind}, {USES} uses at once, {ROUNDS} rounds: logged in {logins} times")


def measure(server: PrivateDatabase, project: str) -> dict[str, list[int]]:
    """Return the number of logins of each round, by the kind of the code."""
    server.execute(f"CREATE DATABASE codes_{project}")
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
        "CODES_PROJECT": project,
        "DATABASE_URL": server.url(f"codes_{project}"),
    }
    prepared = subprocess.run(
        [sys.executable, "-m", "benchmarks.peers.codes_project"],
        cwd=ROOT,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    codes = json.loads(prepared.stdout.splitlines()[-1])
    port = free_port()
    with served(environment, port):
        return {
            TOTP: [race(project, port, "totp", fresh_code()) for _ in range(ROUNDS)],
            RECOVERY: [race(project, port, "recovery_code", code) for code in codes[:ROUNDS]],
        }


@contextmanager
def served(environment: dict[str, str], port: int) -> Any:
    """Serve a project with two worker processes."""
    command = ["gunicorn", "--workers", "2", "--worker-class", "gthread", "--threads", "16", "--no-control-socket"]
    process = subprocess.Popen(
        [sys.executable, "-m", *command, "--bind", f"127.0.0.1:{port}", "benchmarks.peers.codes_project:application"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                request(port, "GET", "/", None)
                break
            except OSError:
                time.sleep(0.1)
        time.sleep(2)  # until both workers are there
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)


def fresh_code() -> str:
    """Return a code that was not used before: each round waits for the next one."""
    now = time.time()
    time.sleep(30 - now % 30 + 0.5)
    return pyotp.TOTP(SECRET).now()


def race(project: str, port: int, kind: str, code: str) -> int:
    """Log in with the password sixteen times, then use one code for all at once, and return how many succeeded."""
    second_step = {"kit": use_at_kit, "allauth": use_at_allauth}[project]
    pending = [begin(project, port) for _ in range(USES)]
    barrier = threading.Barrier(USES)

    def use(challenge: str) -> bool:
        barrier.wait()
        return second_step(port, challenge, kind, code)

    with ThreadPoolExecutor(USES) as threads:
        return sum(threads.map(use, pending))


def begin(project: str, port: int) -> str:
    """Log in with the password, and return what the second step needs."""
    body = {"email": EMAIL, "password": PASSWORD}
    if project == "kit":
        return str(request(port, "POST", "/api/auth/login", body)[1]["challenge_token"])
    return str(request(port, "POST", "/_allauth/app/v1/auth/login", body)[1]["meta"]["session_token"])


def use_at_kit(port: int, challenge: str, kind: str, code: str) -> bool:
    """Return whether the code logged in."""
    path = f"/api/auth/login/{kind.replace('_', '-')}"
    return request(port, "POST", path, {"challenge_token": challenge, "code": code})[0] == 200


def use_at_allauth(port: int, challenge: str, kind: str, code: str) -> bool:
    """Return whether the code logged in."""
    headers = {"X-Session-Token": challenge}
    return request(port, "POST", "/_allauth/app/v1/auth/2fa/authenticate", {"code": code}, headers)[0] == 200


def request(
    port: int, method: str, path: str, body: dict[str, str] | None, headers: dict[str, str] | None = None
) -> tuple[int, Any]:
    """Send a request, and return the status and the JSON of the response."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    sent = None if body is None else json.dumps(body)
    try:
        connection.request(method, path, sent, {"Content-Type": "application/json", **(headers or {})})
        response = connection.getresponse()
        data = response.read()
    finally:
        connection.close()
    try:
        return response.status, json.loads(data)
    except ValueError:
        return response.status, None


if __name__ == "__main__":
    main()
