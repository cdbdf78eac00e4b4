"""Helpers for the how-to pages: read the code on a page, and use it in a reader's project."""

import email
import email.policy
import http.client
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import django
import pytest

import ninja_auth_kit
from tests.private_broker import free_port
from tests.servers import ROOT

HOWTO = ROOT / "docs" / "howto"
PASSWORD = "a long walk in the hills"
START_TIMEOUT = 30  # seconds

# From Django 6.1 on, emails are configured in MAILERS.
_MAILS = (
    'MAILERS = {"default": {"BACKEND": "django.core.mail.backends.filebased.EmailBackend", '
    '"OPTIONS": {"file_path": MAILS}}}'
    if django.VERSION >= (6, 1)
    else 'EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"\nEMAIL_FILE_PATH = MAILS'
)

KIT_LINES = re.compile(r"^(INSTALLED_APPS \+=|JWT_SECRET_KEY =) .*\n", re.MULTILINE)


def blocks(page: str, language: str) -> list[str]:
    """Return the code blocks of a page in one language."""
    text = (HOWTO / f"{page}.md").read_text(encoding="utf-8")
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```", text, re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(code) for _, code in found]


def block(page: str, language: str, name: str) -> str:
    """Return the block of a page whose first line is a comment that starts with this text."""
    found = [code for code in blocks(page, language) if re.match(rf"(#|//) {re.escape(name)}", code)]
    assert len(found) == 1, f"{page}.md has {len(found)} blocks for {name}"
    return found[0]


def executed(code: str, **names: Any) -> dict[str, Any]:
    """Run the code of a page with these names defined, and return the settings that it assigns."""
    exec(code, names)  # noqa: S102  # the code is from our own pages
    return {name: value for name, value in names.items() if name.isupper()}


def program(name: str) -> str:
    """Return the path of a Node.js program. Without it the test is skipped, or fails in CI."""
    found = shutil.which(name)
    if found is None:
        assert not os.environ.get("CI"), f"{name} must be installed in CI, to check the code for clients"
        pytest.skip(f"{name} is not installed, so the code for clients cannot be checked")
    return found


def install_from_npm(folder: Path, *packages: str) -> None:
    """Install exact versions of packages. Without npm the test is skipped, or fails in CI."""
    folder.mkdir(exist_ok=True)
    (folder / "package.json").write_text(json.dumps({"name": "reader", "private": True}))
    command = [program("npm"), "install", "--no-audit", "--no-fund", "--omit=optional", *packages]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0 and not os.environ.get("CI"):
        pytest.skip(f"npm cannot get {', '.join(packages)}")
    assert done.returncode == 0, done.stdout + done.stderr


def run_in(folder: Path, *command: str, **environment: str) -> str:
    """Run a command that must succeed, and return its output."""
    env = {**os.environ, **environment}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Project:
    """A project that `startproject` creates and the quickstart configures.

    Args:
        folder: an empty directory.
        database: the URL of an empty database.
        has_kit: whether the kit is added, too.
    """

    def __init__(self, folder: Path, database: str, *, has_kit: bool = True) -> None:
        url = urlsplit(database)
        self.folder, self.mails = folder, folder / "mails"
        self.port = free_port()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "RABBITMQ_"))},
            "JWT_SECRET_KEY": secrets.token_urlsafe(64),
            "PGDATABASE": url.path.lstrip("/"),
            "PGHOST": parse_qs(url.query).get("host", [url.hostname or ""])[0],
            "PGPORT": str(url.port or 5432),
            "PGUSER": unquote(url.username or ""),
            "PGPASSWORD": unquote(url.password or ""),
            # The package that this process uses.
            "PYTHONPATH": str(Path(ninja_auth_kit.__file__).parents[1]),
            "PYTHONUNBUFFERED": "1",
        }
        self._processes: list[subprocess.Popen[str]] = []
        self.python("-m", "django", "startproject", "mysite", ".")
        quickstart = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
        for name in ("settings", "urls"):
            found = re.search(rf"<!-- quickstart: mysite/{name}.py -->\n```python\n(.*?)```", quickstart, re.DOTALL)
            assert found is not None
            if name == "settings":
                self.settings(found[1] if has_kit else KIT_LINES.sub("", found[1]))
            elif has_kit:
                self.write("mysite/urls.py", found[1])
        self.settings(f"MAILS = {str(self.mails)!r}\n{_MAILS}")

    def write(self, name: str, text: str) -> None:
        """Write a file of the project."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def settings(self, lines: str) -> None:
        """Append lines to the settings."""
        with (self.folder / "mysite" / "settings.py").open("a") as file:
            file.write(f"\n{lines}\n")

    def app(self, name: str, **modules: str) -> None:
        """Write an app with these modules. It must be added to INSTALLED_APPS separately."""
        self.write(f"{name}/__init__.py", "")
        for module, text in modules.items():
            self.write(f"{name}/{module}.py", text)

    def python(self, *arguments: str, succeeds: bool = True) -> str:
        """Run Python in the project and return its output."""
        command = [sys.executable, *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert (done.returncode == 0) is succeeds, done.stdout + done.stderr
        return done.stdout + done.stderr

    def manage(self, *arguments: str, succeeds: bool = True) -> str:
        """Run a management command and return its output."""
        return self.python("manage.py", *arguments, succeeds=succeeds)

    def shell(self, commands: str) -> None:
        """Run lines of a shell in the project."""
        search = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = {**self.environment, "PATH": search}
        subprocess.run(["sh", "-e", "-c", commands], cwd=self.folder, env=environment, timeout=120, check=True)

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a process in the project. `stop` stops it."""
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._processes.append(process)
        return process

    def serve(self, *command: str) -> str:
        """Start the web server, wait until it responds, and return the URL of the site."""
        command = command or ("gunicorn", "mysite.wsgi", "--threads", "4", "--bind", f"127.0.0.1:{self.port}")
        process = self.start(sys.executable, "-m", *command, "--no-control-socket")
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline and process.poll() is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
            try:
                connection.request("GET", "/")
                connection.getresponse()
            except OSError:
                time.sleep(0.1)
            else:
                return f"http://127.0.0.1:{self.port}"
            finally:
                connection.close()
        raise AssertionError(f"the project did not start:\n{self.stop()}")

    def stop(self) -> str:
        """Stop every process of the project, and return the output of those that were running."""
        printed = ""
        while self._processes:
            process = self._processes.pop()
            process.send_signal(signal.SIGTERM)  # does nothing if the process has ended
            printed += process.communicate(timeout=20)[0] or ""
        return printed

    def call(self, method: str, path: str, body: Any = None, *, token: str = "", **headers: str) -> tuple[int, Any]:
        """Send a request to the web server, and return the status code and the parsed body."""
        data = None if body is None else json.dumps(body).encode()
        sent = {"Content-Type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, _parsed(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _parsed(error.read())

    def post(self, path: str, **body: Any) -> tuple[int, Any]:
        """Send a POST request to an endpoint of the kit."""
        return self.call("POST", f"/api/auth/{path}", body)

    def sign_up(self, address: str, **fields: str) -> None:
        """Register and verify an address."""
        assert self.post("register", email=address, password=PASSWORD, **fields)[0] == 202
        token = self.mailed_token(address)
        assert self.post("verify-email", token=token, password=PASSWORD)[0] == 200

    def login(self, address: str) -> dict[str, Any]:
        """Log in and return the body of the response."""
        status, pair = self.post("login", email=address, password=PASSWORD)
        assert status == 200, pair
        return dict(pair)

    def mailed_token(self, address: str) -> str:
        """Return the token of an email to an address. Emails are sent after the response."""
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            for file in sorted(self.mails.glob("*.log")) if self.mails.exists() else ():
                for message in file.read_bytes().split(b"-" * 79):
                    mail = email.message_from_bytes(message.lstrip(), policy=email.policy.default)
                    body = mail.get_body(("plain",)) if mail["To"] == address else None
                    found = body and re.search(r"#token=(\S+)", body.get_content())
                    if found:
                        return found[1]
            time.sleep(0.1)
        raise AssertionError(f"no email to {address} has a token")


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return body.decode()
