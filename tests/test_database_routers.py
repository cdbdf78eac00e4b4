"""A database that is not PostgreSQL, alone or beside that of the users: one sentence, and no half-made tables."""

import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.servers import ROOT

pytestmark = [pytest.mark.one_user_model, pytest.mark.one_django]

TEST_DATABASES = "import django; django.setup(); from django.test.utils import setup_databases as s; s(0, False)"


def run(*command: str, router: str = "", database: Path | None = None) -> tuple[int, str]:
    """Run Python in a project with SQLite as its default database, and return the exit code and the output."""
    process = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "DJANGO_SETTINGS_MODULE": "tests.settings_two_databases",
            "TEST_ROUTER": router,
            "TEST_SQLITE": str(database or ":memory:"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return process.returncode, process.stdout + process.stderr


def errors(output: str) -> list[str]:
    return sorted(set(re.findall(r"ninja_auth_kit\.(E\d+)", output)))


def tables(database: Path) -> set[str]:
    with closing(sqlite3.connect(database)) as connection:
        return {
            name
            for (name,) in connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
            )
        }


@pytest.mark.security("CFG-05")
def test_tests_on_sqlite_stop_with_a_sentence() -> None:
    code, output = run("-c", TEST_DATABASES)

    assert code != 0
    last = output.strip().splitlines()[-2:]
    assert "(ninja_auth_kit.E005) The database 'default' is not PostgreSQL." in last[0]
    assert "'django.db.backends.postgresql', in the settings of your tests, too." in last[1]


@pytest.mark.security("CFG-05")
@pytest.mark.parametrize(("router", "number"), [("", "E005"), ("WithoutMigrations", "E017"), ("AuthOnly", "E017")])
def test_migrate_stops_before_its_first_table(tmp_path: Path, router: str, number: str) -> None:
    database = tmp_path / "default.sqlite3"

    code, output = run("-m", "django", "migrate", "--skip-checks", router=router, database=database)

    assert (code, errors(output)) == (1, [number])
    assert "Traceback" not in output
    assert tables(database) == set()


@pytest.mark.parametrize("router", ["Complete", "ByModel"])
def test_a_default_database_without_the_tables_may_be_anything(tmp_path: Path, router: str) -> None:
    database = tmp_path / "default.sqlite3"

    code, output = run("-m", "django", "migrate", router=router, database=database)

    assert code == 0, output
    assert tables(database) == {"django_migrations"}


def test_an_app_of_the_project_is_migrated_in_any_database(tmp_path: Path) -> None:
    database = tmp_path / "default.sqlite3"

    code, output = run(
        "-m", "django", "migrate", "auth", "--skip-checks", router="WithoutMigrations", database=database
    )

    assert code == 0, output
    assert "auth_user" in tables(database)
    assert not any(name.startswith("ninja_auth_kit") for name in tables(database))


@pytest.mark.security("CFG-05")
@pytest.mark.parametrize(
    ("router", "numbers"),
    [
        ("", ["E005"]),
        ("AuthOnly", ["E016", "E017"]),
        ("WithoutMigrations", ["E017"]),
        ("Crossed", ["E016", "E017"]),
        ("Complete", []),
    ],
)
def test_the_checks_name_a_router_that_puts_the_tables_elsewhere(router: str, numbers: list[str]) -> None:
    code, output = run("-m", "django", "check", router=router)

    assert errors(output) == numbers
    assert code == bool(numbers)
    if "E016" in numbers:
        assert "The users are in the database 'users'" in output
        assert "'ninja_auth_kit'" in output
