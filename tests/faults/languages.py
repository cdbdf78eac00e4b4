"""The programs of the page for other languages, and how each is prepared and started."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.howto import install_from_npm, program
from tests.servers import ROOT

PAGE = "consumers-in-other-languages"
GO_PATH, JARS = Path("/usr/share/gocode"), Path("/usr/share/java")  # of Debian's packages
NPM = ["amqplib@2.3.1", "pg@8.23.1", "cloudevents@10.0.0"]


def blocks() -> dict[str, str]:
    """Return the code blocks of the page, by the file name or the title in their first line."""
    text = (ROOT / "docs" / "howto" / f"{PAGE}.md").read_text(encoding="utf-8")
    found = re.findall(r"^```\w+\n((?:<\?php )?(?:#|//|--) ([^\n:]+).*?)^```", text, re.MULTILINE | re.DOTALL)
    return {name: code for code, name in found}


def needed(condition: bool, package: str) -> None:
    """Skip the test without a package, or fail in CI."""
    if not condition:
        assert not os.environ.get("CI"), f"{package} must be installed in CI, to run the code for other languages"
        pytest.skip(f"{package} is not installed, so its consumer cannot be run")


def python(package: str, *arguments: str) -> Callable[[Path, str], list[str]]:
    """Return what prepares a Python program."""

    def prepare(folder: Path, file: str) -> list[str]:
        found = subprocess.run([sys.executable, "-c", f"import {package}"], capture_output=True, check=False)
        needed(found.returncode == 0, package)
        return [sys.executable, *(arguments or [file])]

    return prepare


def node(folder: Path, file: str) -> list[str]:
    install_from_npm(folder, *NPM)
    return [program("node"), file]


def go(folder: Path, file: str) -> list[str]:
    for package in ("rabbitmq/amqp091-go", "lib/pq"):
        needed((GO_PATH / "src/github.com" / package).is_dir(), f"golang-github-{package.replace('/', '-')}-dev")
    environment = {**os.environ, "GO111MODULE": "off", "GOPATH": str(GO_PATH), "GOCACHE": str(folder / "cache")}
    subprocess.run([program("go"), "build", "-o", "consumer", file], cwd=folder, env=environment, check=True)
    return ["./consumer"]


def java(folder: Path, file: str) -> list[str]:
    names = ("amqp-client", "postgresql", "jackson-databind", "jackson-core", "jackson-annotations", "slf4j-api")
    for name in names:
        needed((JARS / f"{name}.jar").exists(), f"{name}.jar")
    path = ":".join([".", *(str(JARS / f"{name}.jar") for name in names)])
    subprocess.run([program("javac"), "-cp", path, file], cwd=folder, check=True)
    return [program("java"), "-cp", path, "Consumer"]


def interpreter(name: str, test: str, package: str) -> Callable[[Path, str], list[str]]:
    """Return what prepares a program of an interpreter, if its libraries can be loaded."""

    def prepare(folder: Path, file: str) -> list[str]:
        found = subprocess.run([program(name), *test.split(" ", 1)], capture_output=True, check=False)
        needed(found.returncode == 0, package)
        return [program(name), file]

    return prepare


class Language(NamedTuple):
    """A program of the page.

    Attributes:
        file: its file name, which is in its first line.
        prepare: installs or builds what it needs in a folder, and returns its command.
        reconnects: whether it connects again by itself after the connection was lost. Otherwise it ends.
        stops_with: its exit status after SIGTERM.
        instead: the title of a block of the page that replaces the line which assigns the same name.
    """

    file: str
    prepare: Callable[[Path, str], list[str]]
    reconnects: bool
    stops_with: int = 0
    instead: str = ""

    def code(self) -> str:
        """Return the program, with pauses that suit a test."""
        code, replaced = re.subn(r"(PAUSES\b.*?)1, 2, 4", r"\g<1>0.1, 0.1, 0.1", blocks()[self.file], count=1)
        assert replaced, f"{self.file} has no pauses"
        if self.instead:
            lines = blocks()[self.instead]
            code, replaced = re.subn(r"^const decode = .*$", lambda _: lines, code, flags=re.MULTILINE)
            assert replaced == 1
        return code


WORKER = ["-m", "celery", "-A", "celery_consumer", "worker", "--pool", "solo", "--loglevel", "warning"]
LANGUAGES = {
    "aio-pika": Language("aio_pika_consumer.py", python("aio_pika"), reconnects=True),
    "FastStream": Language(
        "faststream_consumer.py", python("faststream", "-m", "faststream", "run", "faststream_consumer:app"), True
    ),
    "kombu": Language("kombu_consumer.py", python("kombu"), reconnects=True),
    "Celery": Language("celery_consumer.py", python("celery", *WORKER), reconnects=False),
    "amqplib": Language("amqplib_consumer.js", node, reconnects=False),
    "amqplib and cloudevents": Language("amqplib_consumer.js", node, False, instead="decode.js"),
    "amqp091-go": Language("consumer.go", go, reconnects=False),
    "amqp-client for Java": Language("Consumer.java", java, reconnects=True, stops_with=143),
    "bunny": Language("consumer.rb", interpreter("ruby", "-e require'bunny';require'pg'", "ruby-bunny"), True),
    "php-amqplib": Language(
        "consumer.php", interpreter("php", "-r exit(extension_loaded('pdo_pgsql')?0:1);", "php-pgsql"), False
    ),
}
