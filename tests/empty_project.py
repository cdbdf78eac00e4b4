"""Install the built wheel into a new project and log in: `python -m tests.empty_project DIST`.

The code for the project is read from the README, so that the test fails if the README is wrong.
"""

import os
import re
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent

CHECK = """
from django.core import mail
from django.test import Client
from django.test.utils import setup_test_environment
setup_test_environment()
import re
client = Client()
def post(path, **body):
    return client.post(f"/api/auth/{path}", body, content_type="application/json")
password = "an empty project, not for long"
assert post("register", username="ada", email="ada@example.com", password=password).status_code == 202
token = re.search(r"#token=(\\S+)", mail.outbox[0].body)[1]
assert post("verify-email", token=token, password=password).status_code == 200
pair = post("login", email="ada@example.com", password=password).json()
headers = {"authorization": f"Bearer {pair['access_token']}"}
assert client.get("/api/auth/me", headers=headers).json()["username"] == "ada"
assert client.get("/api/hello", headers=headers).json() == {"hello": "ada@example.com"}
assert post("logout", refresh_token=pair["refresh_token"]).status_code == 204
assert client.get("/api/auth/me", headers=headers).status_code == 401
print("registered, verified, logged in, logged out")
"""


def main(dist: Path) -> None:
    """Check the contents of wheel and sdist, then install and use the wheel."""
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    check_contents(wheel, sdist)
    with tempfile.TemporaryDirectory(prefix="nak-empty-") as name:
        folder = Path(name)
        venv.create(folder / "env", with_pip=True)
        python = str(folder / "env" / "bin" / "python")
        run(python, "-m", "pip", "install", "--quiet", str(wheel))
        run(python, "-m", "django", "startproject", "mysite", str(folder))
        follow_the_readme(folder)
        for command in (["check"], ["migrate", "--verbosity", "0"], ["makemigrations", "--check", "--dry-run"]):
            run(python, str(folder / "manage.py"), *command)
        run(python, str(folder / "manage.py"), "shell", "-c", CHECK)


def check_contents(wheel: Path, sdist: Path) -> None:
    """Check that the files needed at run time are included, and that development files are not."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    source = ROOT / "src"
    expected = {
        str(path.relative_to(source))
        for path in source.rglob("*")
        if path.is_file() and path.suffix != ".pyc" and "__pycache__" not in path.parts
    }
    packed = {name for name in names if ".dist-info/" not in name}
    assert packed == expected, packed ^ expected
    assert "ninja_auth_kit/py.typed" in packed
    assert any(name.endswith("licenses/LICENSE") for name in names)
    with tarfile.open(sdist) as archive:
        names = set(archive.getnames())
    assert not [
        name for name in names if re.search(r"/(\.local|_build|__pycache__|node_modules|PG_VERSION)(/|$)", name)
    ]
    folders = {name.split("/")[1] for name in names if "/" in name}
    wanted = {
        "src",
        "tests",
        "docs",
        "example_project",
        "examples",
        "benchmarks",
        "Makefile",
        "compose.yaml",
        "tox.ini",
    }
    wanted |= {".dockerignore", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", "SECURITY.md"}
    wanted |= {"pyproject.toml", "PKG-INFO", ".gitignore"}  # added by hatchling
    assert folders == wanted, folders ^ wanted
    print(f"{wheel.name}: {len(packed)} files; {sdist.name}: {', '.join(sorted(folders))}")


def follow_the_readme(folder: Path) -> None:
    """Write the code of the README into the project, and set the database of the test run."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    settings, urls = (
        code_after(readme, words) for words in ("Append this to `mysite/settings.py`", "Replace `mysite/urls.py`")
    )
    (folder / "mysite" / "urls.py").write_text(urls, encoding="utf-8")
    path = folder / "mysite" / "settings.py"
    text = path.read_text(encoding="utf-8")
    path.write_text(f"{text}\n{settings}{DATABASES}", encoding="utf-8")


def code_after(readme: str, words: str) -> str:
    """Return the code block that follows the paragraph with these words."""
    match = re.search(rf"{re.escape(words)}[^\n]*\n\n```python\n(.*?)```", readme, re.DOTALL)
    assert match is not None, f"the README has no code after: {words}"
    return match[1]


DATABASES = """
from urllib.parse import parse_qs, urlsplit
_url = urlsplit(os.environ["DATABASE_URL"])
DATABASES = {"default": {
    "ENGINE": "django.db.backends.postgresql",
    "NAME": os.environ["EMPTY_PROJECT_DATABASE"],
    "USER": _url.username,
    "PASSWORD": _url.password or "",
    "HOST": parse_qs(_url.query).get("host", [_url.hostname])[0],
    "PORT": _url.port or "",
}}
"""


def run(*command: str) -> None:
    """Run a command, and exit with its output if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command[:4])} ... failed:\n{done.stdout}{done.stderr}")
    if done.stdout.strip():
        print(done.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    import secrets

    import psycopg

    database = f"nak_empty_{secrets.token_hex(4)}"
    url = os.environ["DATABASE_URL"].replace("postgres://", "postgresql://")
    os.environ["EMPTY_PROJECT_DATABASE"] = database
    os.environ["JWT_SECRET_KEY"] = secrets.token_urlsafe(64)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {database}")
        try:
            main(Path(sys.argv[1]))
        finally:
            connection.execute(f"DROP DATABASE {database} WITH (FORCE)")
