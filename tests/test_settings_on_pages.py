"""Every setting that a page shows is accepted by a project as `startproject` of this Django creates it."""

import ast
import json
import os
import re
import secrets
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import django
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import global_settings

from docs.generators.checks import found
from ninja_auth_kit.conf import BROKER_SETTINGS, SETTINGS
from tests.howto import KIT_LINES
from tests.servers import ROOT

pytestmark = pytest.mark.one_user_model

PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")])
BLOCK = re.compile(r"^( *)```python\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
ASSIGNMENT = re.compile(r"`([A-Z][A-Z_]{2,}(?:\[[^]`]+\])* \+?= [^`]+)`")
MEMBER = re.compile(r'`("[A-Z][A-Z_]{2,}": [^`]+)`')
HINTED = re.compile(r"([A-Z][A-Z_]{2,}(?:\[\S+?\])* = (?:\[.*?\]|\{.*?\}|'[^']*'|\w+))(?=[ ,.;])")
DJANGO = {name for name in dir(global_settings) if name.isupper()} | {"MAILERS", "ROOT_URLCONF", "SECRET_KEY"}
PROJECT = DJANGO | {"JWT_SECRET_KEY", "NINJA_AUTH_KIT", *BROKER_SETTINGS}
PACKAGES = (
    "ASGI_APPLICATION",  # of daphne
    "ACCOUNT_",
    "AUDITLOG_",
    "AXES_",
    "CACHALOT_",
    "CACHEOPS",
    "CORS_",
    "REST_FRAMEWORK",
    "SIMPLE_JWT",
    "NINJA_JWT",
    "HEADLESS_",
    "REST_KNOX",
    "DJOSER",
    "JWT_",
    "SHARED_APPS",
    "TENANT_",
)


class Snippet(NamedTuple):
    """Lines for the settings, and the modules that the page shows with them."""

    place: str
    code: str
    modules: dict[str, str]


def in_blocks(page: Path) -> Iterator[Snippet]:
    """Yield the blocks with settings.

    Of a module that the page shows several times, they use the last one above them. A module below them is used too,
    unless its first line says what it is an example of. The URLconf is the quickstart's.
    """
    text = page.read_text(encoding="utf-8")
    blocks = [(block.start(), textwrap.dedent(block[2])) for block in BLOCK.finditer(text)]
    files = [(start, named, code) for start, code in blocks if (named := re.match(r"# ([\w/]+\.py)(:?)", code))]
    for start, code in blocks:
        first = code.splitlines()[0]
        if (re.match(r"# (mysite/)?settings\.py", first) or assigned(code) & PROJECT) and is_for_this_django(first):
            below = {name[1]: module for at, name, module in reversed(files) if at > start and not name[2]}
            above = {name[1]: module for at, name, module in files if at < start}
            yield Snippet(f"{page.name}:{text[:start].count(chr(10)) + 1}", code, {**below, **above})


def assigned(code: str) -> set[str]:
    """Return the names that a module assigns, also inside `if` and as `NAME[key] = value`."""
    statements = list(ast.parse(code).body)
    for statement in statements:
        if isinstance(statement, ast.If):
            statements += [*statement.body, *statement.orelse]
    targets: list[ast.expr] = []
    for statement in statements:
        match statement:
            case ast.Assign(targets=several):
                targets += several
            case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
                targets.append(target)
    return {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}


def is_for_this_django(comment: str) -> bool:
    version = re.search(r"(before|from) Django (\d+)\.(\d+)", comment)
    if version is None:
        return True
    limit = (int(version[2]), int(version[3]))
    return limit > django.VERSION if version[1] == "before" else limit <= django.VERSION


def in_text(page: Path) -> Iterator[Snippet]:
    """Yield the settings between backticks."""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        place = f"{page.name}:{number}"
        for code in ASSIGNMENT.findall(line):
            yield Snippet(place, in_its_setting(code), {})
        for member in MEMBER.findall(line):
            is_of_the_kit = member.split('"')[1] in SETTINGS
            code = f"NINJA_AUTH_KIT = {{{member}}}" if is_of_the_kit else f'DATABASES["default"] |= {{{member}}}'
            yield Snippet(place, code, {})


def in_its_setting(code: str) -> str:
    """Return the line as it stands in settings.py: pages write `SESSION_LIMIT = 3` for a key of NINJA_AUTH_KIT."""
    name, value = code.split(" = ", 1)
    return f"NINJA_AUTH_KIT = {{{name!r}: {value}}}" if name in SETTINGS else code


def in_hints() -> Iterator[Snippet]:
    """Yield the settings in the hints of the checks."""
    for check in found():
        for code in HINTED.findall(check.hint):
            if "…" not in code:
                yield Snippet(check.number, in_its_setting(code), {})


def different(snippets: Iterator[Snippet]) -> list[Snippet]:
    """Return the snippets without those that repeat another."""
    return list({(snippet.code, *snippet.modules.values()): snippet for snippet in snippets}.values())


SNIPPETS = different(chain(*(source(page) for page in PAGES for source in (in_blocks, in_text)), in_hints()))

# What the pages read from the environment.
ENVIRONMENT = {
    "ALLOWED_HOSTS": "example.com",
    "APPLE_PRIVATE_KEY": ec.generate_private_key(ec.SECP256R1())
    .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    .decode(),
    "AUTHKIT_SECRET_KEY": secrets.token_urlsafe(64),
    "BASE_URL": "https://example.com",
    "GOOGLE_CLIENT_SECRET": "a secret of the test",
    "JWT_SECRET_KEY": secrets.token_urlsafe(64),
    "PGDATABASE": "mysite",
    "PGHOST": "postgres",
    "PGPASSWORD": "a secret of the test",
    "PGUSER": "mysite",
    "RABBITMQ_HOST": "rabbitmq",
    "RABBITMQ_PASSWORD": "a secret of the test",
    "RABBITMQ_USER": "mysite",
    "SECRET_KEY": "a secret of the test, which is as long as Django wants it to be",
    "STAFF_CLIENT_SECRET": "a secret of the test",
    "SIGNING_KEY": ec.generate_private_key(ec.SECP256R1())
    .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    .decode(),
}

# Each set of settings is checked in a process of its own, which shares imports.
CHECK = """
import io, json, os, sys, traceback, warnings
import cryptography.hazmat.primitives.asymmetric.ec, django.db.models, django.forms, jwt, psycopg, pydantic
from django.core.management import call_command

output = {}
for number, folder in enumerate(json.load(sys.stdin)):
    read, write = os.pipe()
    if not os.fork():
        os.close(read)
        sys.path.insert(0, folder)
        os.environ["DJANGO_SETTINGS_MODULE"] = "mysite.settings"
        said = io.StringIO()
        try:
            warnings.simplefilter("error")
            django.setup()
            call_command("check", fail_level="ERROR", stdout=said, stderr=said)
        except BaseException:
            said.write(traceback.format_exc())
        else:
            said = io.StringIO()
        with open(write, "w") as pipe:
            pipe.write(said.getvalue())
        os._exit(0)
    os.close(write)
    with open(read) as pipe:
        output[number] = pipe.read()
    os.wait()
json.dump(list(output.values()), sys.stdout)
"""


def quickstart(name: str) -> str:
    page = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
    block = re.search(rf"<!-- quickstart: mysite/{name}.py -->\n```python\n(.*?)```", page, re.DOTALL)
    assert block is not None
    return block[1]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return what `check` says about a new project with each snippet: "" if it finds no error."""
    folder = tmp_path_factory.mktemp("settings")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DJANGO_")}
    environment |= {**ENVIRONMENT, "PYTHONPATH": str(ROOT / "src")}
    (folder / "new").mkdir()
    command = [sys.executable, "-m", "django", "startproject", "mysite", "."]
    subprocess.run(command, cwd=folder / "new", env=environment, check=True)
    created = (folder / "new" / "mysite" / "settings.py").read_text(encoding="utf-8")
    projects = []
    for number, snippet in enumerate(SNIPPETS):
        project = folder / str(number)
        has_kit = 'INSTALLED_APPS += ["ninja_auth_kit"]' not in snippet.code
        base = quickstart("settings") if has_kit else KIT_LINES.sub("", quickstart("settings"))
        base += "NINJA_AUTH_KIT = {}\n"
        modules = {**snippet.modules, "mysite/urls.py": quickstart("urls")}
        modules["mysite/settings.py"] = "\n".join((created, base, snippet.code))
        for name, text in modules.items():
            path = project / name
            path.parent.mkdir(parents=True, exist_ok=True)
            (path.parent / "__init__.py").touch()
            path.write_text(text, encoding="utf-8")
        projects.append(str(project))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CHECK],
        input=json.dumps(projects),
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def test_there_are_settings_on_many_pages_and_in_hints() -> None:
    places = {snippet.place.split(":")[0] for snippet in SNIPPETS}

    assert {"README.md", "quickstart.md", "deployment.md", "settings.md", "migrating.md", "docker.md"} <= places
    assert {place for place in places if re.fullmatch(r"[EW]\d{3}", place)}


def test_a_setting_on_a_page_is_one_of_django_or_of_the_kit_or_of_a_package_that_the_page_names() -> None:
    names = {(snippet.place, name) for snippet in SNIPPETS for name in assigned(snippet.code) if name.isupper()}

    assert [it for it in sorted(names) if it[1] not in PROJECT and not it[1].startswith(PACKAGES)] == []


@pytest.mark.parametrize("number", range(len(SNIPPETS)), ids=[snippet.place for snippet in SNIPPETS])
def test_a_new_project_starts_with_the_settings_that_a_page_shows(answers: list[str], number: int) -> None:
    assert answers[number] == "", SNIPPETS[number].code
