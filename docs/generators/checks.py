"""Generate checks.md: every system check, read from the source of `ninja_auth_kit.checks` and of the optional apps."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ninja_auth_kit import checks

INTRODUCTION = """\
# System checks

`manage.py check` reports mistakes in the settings.
`manage.py check --deploy` also reports settings that are unsafe in production.
A weak `JWT_SECRET_KEY` or `SIGNING_KEYS` is not a check: the process does not start with one.
To silence a warning, add its id to `SILENCED_SYSTEM_CHECKS`, for example `["ninja_auth_kit.W003"]`.
"""
PARTS = {
    "E": "## Errors\n\nWith these mistakes, the kit does not work or is not safe.",
    "W0": "## Warnings",
    "W": "## Warnings of `check --deploy`\n\nThese settings work on a laptop and are unsafe on a server.",
}
# The message and the hint of checks whose source does not contain them.
OVERRIDES = {
    "E011": (
        "A dotted path in a setting cannot be imported, or names the wrong kind of object.",
        "The message says which setting and why.",
    ),
    "E012": (
        "A custom schema has a field that it must not have, or changes or requires one that it must not.",
        "The message says which field and why.",
    ),
    "W019": (
        "Emails do not leave this machine: ….",
        "The message says which setting to change: MAILERS in projects of Django 6.1, EMAIL_BACKEND in older ones.",
    ),
    "W026": (
        "The database of the users has several hosts, or a database router sends reads of the users to another one.",
        "The message says what to set: `target_session_attrs`, or `db_for_read` of the [router](postgresql.md#replicas).",
    ),
    "W028": (
        "The SMTP email backend has no timeout, or one of more than a minute.",
        "The message says which setting to change: MAILERS in projects of Django 6.1, EMAIL_TIMEOUT in older ones.",
    ),
}


class Check(NamedTuple):
    """One message of a check."""

    number: str
    message: str
    hint: str


def page() -> str:
    """Return the page."""
    lines = [INTRODUCTION]
    for part, heading in PARTS.items():
        lines += [heading, "", "| id | message | hint |", "|---|---|---|"]
        lines += [f"| `{number}` | {message} | {hint} |" for number, message, hint in found() if _part(number) == part]
        lines.append("")
    return "\n".join(lines)


def found() -> list[Check]:
    """Return the messages, sorted by number."""
    folder = Path(checks.__file__).parent
    sources = [*folder.glob("*.py"), *folder.parent.glob("contrib/*/checks.py")]
    return sorted({check for path in sources for check in _checks(ast.parse(path.read_text()))})


def _part(number: str) -> str:
    if number.startswith("E"):
        return "E"
    return "W" if number in re.findall(r"^ +(W\d+) .*\(--deploy\)$", checks.__doc__ or "", re.MULTILINE) else "W0"


def _checks(module: ast.Module) -> Iterator[Check]:
    for function in ast.walk(module):
        if not isinstance(function, ast.FunctionDef):
            continue
        variables: dict[str, ast.expr] = {}
        nodes = [node for node in ast.walk(function) if isinstance(node, ast.Assign | ast.Call)]
        for node in sorted(nodes, key=lambda node: node.lineno):
            if isinstance(node, ast.Assign):
                variables[ast.unparse(node.targets[0])] = node.value
            elif ast.unparse(node.func) in {"error", "warning"} and len(node.args) == 3:
                number, message, hint = (_text(variables.get(ast.unparse(part), part)) for part in node.args)
                if number in OVERRIDES or re.search("[a-z]", message):  # other calls of the number say more
                    yield Check(number, *OVERRIDES.get(number, (message, hint)))


def _text(node: ast.AST) -> str:
    """Return a text of the source, with an ellipsis for each part that is only known at run time."""
    if isinstance(node, ast.Constant):
        return str(node.value).replace("|", "\\|").replace("**", r"\*\*")
    if isinstance(node, ast.JoinedStr):
        return re.sub("…(\\.?…)+", "…", "".join(map(_text, node.values)))
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "did_you_mean":
        return "Did you mean …?"
    return "…"
