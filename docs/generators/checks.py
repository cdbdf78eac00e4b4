"""checks.md: every system check, read from the source of `ninja_auth_kit.checks`."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ninja_auth_kit import checks

INTRODUCTION = """\
# System checks

`manage.py check` names every mistake in the settings, and `manage.py check --deploy` also what is unsafe in production. A weak key
is more than a mistake: the process does not start with one. Silence a warning that you know better with
`SILENCED_SYSTEM_CHECKS = ["ninja_auth_kit.W003"]`.
"""
PARTS = {
    "E": "## Errors\n\nThe kit would not work, or not safely.",
    "W0": "## Warnings",
    "W": "## Warnings of `check --deploy`\n\nUnsafe on a server, and fine on a laptop.",
}
# What these say is made when they are.
OTHERWISE = {
    "E011": ("What a dotted path names cannot be imported, or is no schema or callable.", "The message says why."),
    "E012": ("A schema has fields that it must not have, or lacks some that it must have.", "The message says which."),
    "W019": ("Mails would not leave this machine.", "Name a mail server, or the backend of your mail service."),
}


class Check(NamedTuple):
    """One call that makes a message."""

    number: str
    message: str
    hint: str


def page() -> str:
    """Return the page."""
    lines = [INTRODUCTION]
    for part, heading in PARTS.items():
        lines += [heading, "", "| id | what is wrong | what to do |", "|---|---|---|"]
        lines += [f"| `{number}` | {message} | {hint} |" for number, message, hint in found() if _part(number) == part]
        lines.append("")
    return "\n".join(lines)


def found() -> list[Check]:
    """Return the checks, by number."""
    folder = Path(checks.__file__).parent
    return sorted({check for path in folder.glob("*.py") for check in _of(ast.parse(path.read_text()))})


def _part(number: str) -> str:
    if number.startswith("E"):
        return "E"
    return "W" if number in re.findall(r"^ +(W\d+) .*\(--deploy\)$", checks.__doc__ or "", re.MULTILINE) else "W0"


def _of(module: ast.Module) -> Iterator[Check]:
    for function in ast.walk(module):
        if not isinstance(function, ast.FunctionDef):
            continue
        words: dict[str, ast.expr] = {}
        nodes = [node for node in ast.walk(function) if isinstance(node, ast.Assign | ast.Call)]
        for node in sorted(nodes, key=lambda node: node.lineno):
            if isinstance(node, ast.Assign):
                words[ast.unparse(node.targets[0])] = node.value
            elif ast.unparse(node.func) in {"error", "warning"} and len(node.args) == 3:
                number, message, hint = (_text(words.get(ast.unparse(part), part)) for part in node.args)
                yield Check(number, *OTHERWISE.get(number, (message, hint)))


def _text(node: ast.AST) -> str:
    """Return a text of the source, with dots for what is put in when it is made."""
    if isinstance(node, ast.Constant):
        return str(node.value).replace("|", "\\|").replace("**", r"\*\*")
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_text, node.values))
    return "…"
