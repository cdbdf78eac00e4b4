"""The clients in `examples/`, run with Node.js against a real server."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import EMAIL, PASSWORD
from tests.howto import program
from tests.servers import ROOT, Server

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.demo]

EXAMPLES = ROOT / "examples"

# Counts the requests of each path, and prints the result of the script as JSON.
PRELUDE = """
import { AuthSession, AuthError } from "%s";
const [base, email, password] = process.argv.slice(2);
const counts = {};
const real = globalThis.fetch;
globalThis.fetch = (url, options) => {
  const name = String(url.url ?? url).slice(base.length + 1);
  counts[name] = (counts[name] ?? 0) + 1;
  return real(url, options);
};
const wait = (seconds) => new Promise((wake) => setTimeout(wake, seconds * 1000));
const me = (session) => session.fetch(`${base}/me`).then((answer) => answer.status);
"""


def run(server: Server, script: str, tmp_path: Path) -> Any:
    """Run a script that uses the fetch wrapper, and return what it prints."""
    file = tmp_path / "script.mjs"
    file.write_text(PRELUDE % (EXAMPLES / "fetch" / "authkit.js").as_uri() + script)
    base = f"http://127.0.0.1:{server.port}/api/auth"
    command = [program("node"), "--no-warnings", str(file), base, EMAIL, PASSWORD]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_ten_parallel_calls_with_an_expired_token_refresh_once(
    servers: Callable[..., Server], user: Any, tmp_path: Path
) -> None:
    script = """
    const session = new AuthSession(base);
    await session.login({ email, password });
    await wait(6.1);
    const statuses = await Promise.all(Array.from({ length: 10 }, () => me(session)));
    console.log(JSON.stringify({ statuses, refreshes: counts.refresh, calls: counts.me }));
    """

    said = run(servers(ACCESS_TOKEN_LIFETIME=6), script, tmp_path)

    assert said == {"statuses": [200] * 10, "refreshes": 1, "calls": 20}


def test_a_login_elsewhere_signs_out_once_and_says_why(
    servers: Callable[..., Server], user: Any, tmp_path: Path
) -> None:
    script = """
    const codes = [];
    const session = new AuthSession(base, { onSignedOut: (code) => codes.push(code) });
    await session.login({ email, password });
    await new AuthSession(base).login({ email, password });
    const statuses = await Promise.all([me(session), me(session), me(session)]);
    console.log(JSON.stringify({ statuses, codes, isSignedIn: session.isSignedIn, after: await me(session) }));
    """

    said = run(servers(), script, tmp_path)

    assert said == {"statuses": [401] * 3, "codes": ["session_ended"], "isSignedIn": False, "after": 401}


def test_errors_have_a_code_and_a_broken_network_signs_nobody_out(
    servers: Callable[..., Server], user: Any, tmp_path: Path
) -> None:
    script = """
    const session = new AuthSession(base);
    const refused = await session.login({ email, password: "no" }).catch((error) => error);
    await session.login({ email, password });
    await wait(6.1);
    const works = globalThis.fetch;
    const fail = () => Promise.reject(new TypeError("no network"));
    globalThis.fetch = (url, options) => (String(url).endsWith("/refresh") ? fail() : works(url, options));
    const broken = await me(session).catch((error) => error.message);
    globalThis.fetch = works;
    const mended = await me(session);
    await session.logout();
    console.log(JSON.stringify({
      refused: [refused instanceof AuthError, refused.status, refused.code],
      broken, mended, isSignedIn: session.isSignedIn,
    }));
    """

    said = run(servers(ACCESS_TOKEN_LIFETIME=6), script, tmp_path)

    refused = [True, 401, "invalid_credentials"]
    assert said == {"refused": refused, "broken": "no network", "mended": 200, "isSignedIn": False}


def test_a_request_object_is_sent_again_with_its_headers_and_its_body(
    servers: Callable[..., Server], user: Any, tmp_path: Path
) -> None:
    script = """
    const session = new AuthSession(base);
    await session.login({ email, password });
    await wait(6.1);
    const headers = { "Content-Type": "application/json" };
    const answer = await session.fetch(new Request(`${base}/me`, { method: "PATCH", headers, body: "{}" }));
    console.log(JSON.stringify({ status: answer.status, refreshes: counts.refresh, calls: counts.me }));
    """

    said = run(servers(ACCESS_TOKEN_LIFETIME=6), script, tmp_path)

    assert said == {"status": 200, "refreshes": 1, "calls": 2}


def test_the_typescript_that_is_generated_compiles_and_runs_the_flow(
    servers: Callable[..., Server], user: Any, tmp_path: Path
) -> None:
    server = servers()
    folder = tmp_path / "typescript"
    shutil.copytree(EXAMPLES / "typescript", folder, ignore=shutil.ignore_patterns("node_modules", "dist"))
    status, document = server.request("GET", "/api/auth/openapi.json")
    assert status == 200
    (folder / "openapi.json").write_text(json.dumps(document))

    def npm(*arguments: str) -> str:
        done = subprocess.run(
            [program("npm"), *arguments], cwd=folder, capture_output=True, text=True, timeout=180, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    install = [program("npm"), "install", "--no-audit", "--no-fund"]
    installed = subprocess.run(install, cwd=folder, capture_output=True, text=True, timeout=300)
    if installed.returncode != 0 and not os.environ.get("CI"):
        pytest.skip("npm cannot install the packages of examples/typescript")
    assert installed.returncode == 0, installed.stdout + installed.stderr
    npm("run", "generate")
    npm("run", "build")
    said = npm("run", "--silent", "flow", "--", f"http://127.0.0.1:{server.port}", EMAIL, PASSWORD)

    assert said.splitlines() == [
        "refused: 401 invalid_credentials",
        f"logged in as {EMAIL}",
        "refreshed, same session: true",
        "sessions: 1",
        "logged out: 204",
        "afterwards: 401 session_ended",
    ]
