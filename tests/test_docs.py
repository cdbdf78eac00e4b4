"""The documentation: links exist, pages match the code, and the quickstart runs as written.

`tests/features/test_documentation.py` has what needs the optional apps, such as the generated pages.
"""

import argparse
import ast
import doctest
import importlib
import json
import os
import re
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from django.apps import apps
from django.core.management import get_commands, load_command_class

from docs.generators import features
from ninja_auth_kit import __version__
from tests.private_broker import free_port
from tests.servers import ROOT
from tests.test_example import database

pytestmark = pytest.mark.one_user_model

__all__ = ["database"]  # fixtures

DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")


def pages_with(text: str) -> list[Path]:
    return [page for page in PAGES if text in page.read_text(encoding="utf-8")]


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_links_to_is_there(page: Path) -> None:
    for path, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {path}, which does not exist"
        assert not anchor or target.suffix != ".md" or anchor in anchors(target), f"{page.name}: {path}#{anchor}"


@pytest.mark.parametrize("page", pages_with(">>> "), ids=lambda page: page.name)
def test_what_is_typed_on_a_page_is_answered_as_it_says(page: Path) -> None:
    failed, tried = doctest.testfile(str(page), module_relative=False)

    assert tried
    assert not failed


@pytest.mark.parametrize("page", pages_with("```python"), ids=lambda page: page.name)
def test_the_python_on_a_page_is_python_and_what_it_imports_of_the_kit_is_there(page: Path) -> None:
    blocks = re.findall(r"^ *```python\n(.*?)^ *```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)

    assert blocks
    for node in (node for block in blocks for node in ast.walk(ast.parse(textwrap.dedent(block)))):
        if isinstance(node, ast.ImportFrom) and str(node.module) == "ninja_auth_kit.admin":
            # It can only be imported by a project that has Django's admin; tests/admin does.
            exported = (
                (ROOT / "src/ninja_auth_kit/admin/__init__.py").read_text(encoding="utf-8").partition("__all__")[2]
            )
            assert [name.name for name in node.names if f'"{name.name}"' not in exported] == []
        elif isinstance(node, ast.ImportFrom) and is_importable(str(node.module)):
            module = importlib.import_module(str(node.module))
            assert [name.name for name in node.names if not hasattr(module, name.name)] == []


def is_importable(module: str) -> bool:
    """Return whether a module is of the kit. One of an optional app is only if the app is installed."""
    if module.startswith("ninja_auth_kit.contrib."):
        return apps.is_installed(".".join(module.split(".")[:3]))
    return module.startswith("ninja_auth_kit")


def test_the_changelog_has_the_version() -> None:
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_page_is_in_the_table_of_contents() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    named = {
        line.strip() for block in re.findall(r"```{toctree}(.*?)```", index, re.DOTALL) for line in block.splitlines()
    }
    pages = {str(page.relative_to(DOCS).with_suffix("")) for page in DOCS.rglob("*.md") if "_build" not in page.parts}

    assert pages - named == {"index", "events.intro"}


@pytest.mark.parametrize("name", features.FEATURES)
def test_every_page_of_a_feature_says_what_it_does_and_what_it_does_not(name: str) -> None:
    page = (DOCS / "features" / f"{name}.md").read_text(encoding="utf-8")

    assert "## What it does\n" in page
    assert "## What it does not do\n" in page


def test_the_architecture_page_has_the_layers_of_the_import_contract() -> None:
    import tomllib

    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = [set(re.findall(r"\w+", row)) for row in contracts[0]["layers"]]
    rows = re.findall(r"^\| (\d) \| ([^|]*) \|", (DOCS / "architecture.md").read_text(encoding="utf-8"), re.MULTILINE)

    assert [set(re.findall(r"`(\w+)`", words)) for _, words in rows] == layers


def test_every_command_on_a_page_has_the_options_that_it_is_shown_with() -> None:
    uses = [
        use
        for page in PAGES
        for use in re.findall(r"(authkit_[a-z]+)((?: +[\w./-]+)*)", page.read_text(encoding="utf-8"))
    ]
    shown = {(command, option) for command, rest in uses for option in re.findall(r"--[a-z-]+", rest)}
    assert len(shown) > 5

    for command, option in shown:
        if command in {"authkit_factors", "authkit_identities"} and command not in get_commands():
            continue  # the command of an optional app
        assert option in options_of(command), f"{command} has no {option}"


def options_of(command: str) -> set[str]:
    """Return the options of a command and of its subcommands."""
    parsers = [load_command_class(str(get_commands()[command]), command).create_parser("manage.py", command)]
    for action in parsers[0]._actions:
        if isinstance(action, argparse._SubParsersAction):
            parsers += action.choices.values()
    return {option for parser in parsers for option in parser._option_string_actions}


def block(marker: str) -> str:
    """Return the code block of the quickstart after a marker."""
    page = (DOCS / "quickstart.md").read_text(encoding="utf-8")
    found = re.search(rf"<!-- quickstart: {re.escape(marker)} -->\n```\w+\n(.*?)```", page, re.DOTALL)
    assert found is not None, marker
    return found[1]


@pytest.fixture
def project(tmp_path: Path, database: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Create and run the project of the quickstart, and return the server and the URL of its API."""
    url = urlsplit(database)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "RABBITMQ_"))},
        "JWT_SECRET_KEY": "of the quickstart, Zq3vN8wLx2Yc7Rk5Tm9Bp4Hd6Jf1Gs0AeUiOoWyQ-W8",
        "PGDATABASE": url.path.lstrip("/"),
        "PGHOST": parse_qs(url.query).get("host", [url.hostname or ""])[0],
        "PGPORT": str(url.port or 5432),
        "PGUSER": unquote(url.username or ""),
        "PGPASSWORD": unquote(url.password or ""),
        "PYTHONUNBUFFERED": "1",
    }

    def manage(*arguments: str) -> None:
        subprocess.run([sys.executable, *arguments], cwd=tmp_path, env=environment, check=True)

    manage("-m", "django", "startproject", "mysite", ".")
    with (tmp_path / "mysite" / "settings.py").open("a") as file:
        file.write(block("mysite/settings.py"))
    (tmp_path / "mysite" / "urls.py").write_text(block("mysite/urls.py"))
    manage("manage.py", "check", "--fail-level", "ERROR")
    manage("manage.py", "migrate", "--verbosity", "0")
    port = free_port()
    command = [sys.executable, "manage.py", "runserver", "--noreload", f"127.0.0.1:{port}"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=pipe, stderr=subprocess.STDOUT, text=True
    ) as server:
        yield server, f"http://127.0.0.1:{port}/api"
        server.terminate()
        server.communicate(timeout=20)


def call(url: str, body: dict[str, str] | None = None, *, token: str = "") -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def until_it_answers(api: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            call(f"{api}/hello")
        except urllib.error.URLError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the project of the quickstart did not start")


def mailed_token(lines: Iterable[str]) -> str:
    """Return the token of an email in the terminal, after joining its lines as the page says."""
    mail = ""
    for line in lines:
        mail += line
        if "#token=" in mail and not line.endswith("=\n"):
            break
    found = re.search(r"#token=(\S+)", mail.replace("=\n", "").replace("=3D", "="))
    assert found is not None
    return found[1]


def test_the_quickstart_runs_as_it_stands(project: tuple[subprocess.Popen[str], str]) -> None:
    server, api = project
    until_it_answers(api)
    said = re.findall(r"curl -s --json '(.*?)' \$API(\S+)", (DOCS / "quickstart.md").read_text(encoding="utf-8"))
    (register, verify, login) = [(json.loads(body), api + path) for body, path in said]

    assert call(register[1], register[0])[0] == 202
    assert server.stdout is not None
    token = mailed_token(server.stdout)
    assert call(verify[1], {**verify[0], "token": token})[0] == 200
    status, first = call(login[1], login[0])
    assert status == 200
    assert call(f"{api}/hello", token=first["access_token"]) == (200, {"hello": "ada@example.com"})

    assert call(login[1], login[0])[0] == 200

    status, answer = call(f"{api}/hello", token=first["access_token"])
    assert (status, answer["code"]) == (401, "session_ended")
    assert json.dumps(answer) in (DOCS / "quickstart.md").read_text(encoding="utf-8")
    server.terminate()
    events = [json.loads(line)["type"] for line in server.stdout if line.startswith('{"specversion"')]
    assert events[-2:] == ["ninja-auth-kit.session.revoked.v1", "ninja-auth-kit.session.logged_in.v1"]
