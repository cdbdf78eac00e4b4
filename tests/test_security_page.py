"""Check the security pages against the tests and the settings.

Every requirement of `docs/security-audit.md` is listed once, with existing tests that are marked
with its id. The limits of `docs/security.md` are the defaults.
"""

import importlib
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from _pytest.mark.structures import ParameterSet

from ninja_auth_kit.conf import DEFAULT_THROTTLES
from tests.security_report import PAGE, SecurityReport, ids_of, requirements

# Some modules request the OpenAPI document when they are imported, after which Django closes old
# connections.
pytestmark = pytest.mark.django_db

ROOT = PAGE.parent.parent
LIMITS = PAGE.with_name("security.md")
SIZES = {
    "JWT": 27,
    "CRED": 19,
    "BF": 13,
    "SES": 22,
    "STEP": 6,
    "FAC": 18,
    "TOTP": 8,
    "REC": 5,
    "PASS": 14,
    "CODE": 6,
    "OIDC": 13,
    "VER": 11,
    "DOS": 4,
    "KEY": 3,
    "HTTP": 6,
    "COOK": 3,
    "AUD": 12,
    "CFG": 5,
}
_TEST = re.compile(r"`(tests/[\w/]+\.py::test_\w+)`")


@cache
def marked() -> dict[str, set[str]]:
    """Return the requirements of every test, by `tests/file.py::test_name`."""
    return {
        f"{path.relative_to(ROOT)}::{name}": requirements_of(test, module)
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for module in [importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))]
        for name, test in defined_in(module, path)
    }


def defined_in(module: ModuleType, path: Path) -> Iterator[tuple[str, Any]]:
    """Return the tests that a module defines itself."""
    defined = set(re.findall(r"^(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE))
    return ((name, value) for name, value in vars(module).items() if name in defined)


def requirements_of(test: Any, module: ModuleType) -> set[str]:
    """Return the requirements in the markers of a test, of its module and of its parameters."""
    of_module = getattr(module, "pytestmark", [])
    marks = [*getattr(test, "pytestmark", []), *(of_module if isinstance(of_module, list) else [of_module])]
    marks = [getattr(mark, "mark", mark) for mark in marks]
    parameters = [value for mark in marks if mark.name == "parametrize" for value in list(mark.args[1])]
    inner = [mark for value in parameters if isinstance(value, ParameterSet) for mark in value.marks]
    return ids_of([*marks, *(getattr(mark, "mark", mark) for mark in inner)])


def test_every_requirement_stands_there_once() -> None:
    expected = [f"{area}-{number:02}" for area, size in SIZES.items() for number in range(1, size + 1)]
    found = [row.id for row in requirements()]

    assert found == expected
    for page, words in {
        PAGE: (f"lists {len(found)} requirements", "All of them are proved"),
        LIMITS: (f"lists {len(found)} requirements", f"All of the {len(found)} requirements"),
    }.items():
        assert [text for text in words if text not in page.read_text(encoding="utf-8")] == []


def test_every_row_has_a_claim_a_test_and_a_standard() -> None:
    for row in requirements():
        assert row.claim.endswith("."), row.id
        assert row.standard, row.id
        assert _TEST.sub("", row.tests).replace("<br>", "") == "", row.id
    claims = Counter(row.claim for row in requirements())
    assert max(claims.values()) == 1


def test_every_test_that_is_named_is_there_and_carries_the_id() -> None:
    named = [(row.id, test) for row in requirements() for test in _TEST.findall(row.tests)]

    assert len(named) > 150
    assert [(id, test) for id, test in named if id not in marked().get(test, set())] == []


def test_every_id_of_a_marker_is_on_the_page() -> None:
    known = {row.id for row in requirements()}
    used = {id for ids in marked().values() for id in ids}

    assert used == known


def test_the_limits_are_the_defaults() -> None:
    table = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", LIMITS.read_text(encoding="utf-8"), re.MULTILINE))

    assert table == {rule: ", ".join(map(in_words, rates)) for rule, rates in DEFAULT_THROTTLES.items()}


def in_words(rate: str) -> str:
    """Return a rate such as "10/15m" in the words of the page."""
    hits, _, window = rate.partition("/")
    number, unit = window[:-1] or "1", {"m": "min", "h": "h", "d": "days"}[window[-1]]
    return f"{hits} in {number} {'day' if (number, unit) == ('1', 'days') else unit}"


def test_the_pages_that_should_lead_here_do() -> None:
    # The README names pages without links, because relative links do not work on PyPI.
    assert "`docs/security.md`" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert "(docs/security.md)" in (ROOT / "SECURITY.md").read_text(encoding="utf-8")


class Screen:
    """A substitute for the terminal reporter, which records the lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def section(self, title: str) -> None:
        """Ignore the title of a section."""

    def write_line(self, line: str, **_: Any) -> None:
        """Record a line."""
        self.lines.append(line)


def ended(id: str, outcome: str, when: str = "call", why: str = "") -> Any:
    """Return the report of a finished test."""
    return pytest.TestReport(id, ("", 0, ""), {}, outcome, ("", 0, why), when)  # type: ignore[arg-type]


def test_the_report_tells_what_is_proved_what_failed_and_what_did_not_run() -> None:
    report, screen = SecurityReport(), Screen()
    report.ids = {row.id: {row.id} for row in requirements()}
    for row in requirements():
        if row.id != "JWT-05":
            report.pytest_runtest_logreport(ended(row.id, "passed", "setup"))
            report.pytest_runtest_logreport(ended(row.id, "passed"))
    report.pytest_runtest_logreport(ended("JWT-02", "failed", "teardown"))
    report.pytest_runtest_logreport(ended("JWT-03", "skipped", "setup", "no RabbitMQ"))
    report.pytest_runtest_logreport(ended("JWT-04", "skipped", "call", "the user model has no username"))

    report.pytest_terminal_summary(screen)

    assert screen.lines[:5] == [
        "JWT-01   1 passed",
        "JWT-02   1 failed, 1 passed",
        "JWT-03   1 passed, 1 skipped",
        "JWT-04   1 for other settings, 1 passed",
        "JWT-05   not run",
    ]
    assert screen.lines[-1] == (
        f"{(total := len(requirements()))} requirements: {total - 3} proved, 1 proved in part (JWT-03), "
        "1 failed (JWT-02), 1 not run (JWT-05)"
    )
