"""Check the language of the project: `python -m docs.prose [FILE...]`, part of the lint step.

It reads Markdown, docstrings, comments, message ids and templates, and reports words that make readers stop, each with
a plainer way to say it. Code in backticks and in code blocks is not checked. The exit code is 1 if it finds any.
"""

import argparse
import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
# A pattern, and what to write instead.
WORDS = {
    r"who(ever|soever)": "a noun: a user, a client, an attacker",
    r"nobody": "negate the verb, or name the user or client",
    r"mend(s|ed|ing)?": "fix",
    r"(is|are) (?-i:none)": "is not a ..., or: there is no ...",
    r"of (yours|ours)": "your ..., our ...",
    r"good for": "valid for, used for",
    r"told": "notified, reported, announced",
    r"stands? for": "means, represents, replaces",
    r"plays? along": "cooperates, fails",
    r"tells? whether": "return whether, show whether",
    r"as one likes": "in any way",
    r"e-mails?": "email, email address",
}
PATTERN = re.compile(
    r"(?<![\w@./-])(?:" + "|".join(f"(?P<w{i}>{word})" for i, word in enumerate(WORDS)) + r")(?![\w@-])", re.IGNORECASE
)
GETTEXT = {"_", "gettext", "gettext_lazy", "ngettext", "pgettext", "pgettext_lazy", "ngettext_lazy"}
# They quote the words.
EXCLUDED = {"docs/prose.py", "tests/test_prose.py"}


def main() -> int:
    """Report the words in the given files, or in all files of the repository."""
    parser = argparse.ArgumentParser(prog="python -m docs.prose", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("files", nargs="*", metavar="FILE", help="default: every file of the repository")
    names = parser.parse_args().files or tracked_files()
    found = [line for name in names for line in check(name, (ROOT / name).read_text(encoding="utf-8"))]
    print("\n".join(found) if found else f"{len(names)} files: the language is plain.")
    return 1 if found else 0


def tracked_files() -> list[str]:
    """Return the files that have prose."""
    patterns = ["*.md", "*.py", "src/*.html", "src/*.txt", "*.po"]
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603, S607
    return [name for name in listed.stdout.splitlines() if name not in EXCLUDED and (ROOT / name).exists()]


def check(name: str, text: str) -> list[str]:
    """Return a line for each word that is found."""
    readers = {".md": markdown, ".py": python, ".po": message_ids}
    read = readers.get(Path(name).suffix, lines)
    return [
        f"{name}:{number}: {match[0]!r}: write {suggestion(match)}"
        for number, prose in read(text)
        for match in PATTERN.finditer(without_code(prose))
    ]


def suggestion(match: re.Match[str]) -> str:
    """Return what to write instead."""
    index = next(i for i in range(len(WORDS)) if match[f"w{i}"])
    return list(WORDS.values())[index]


def without_code(prose: str) -> str:
    """Blank out what stands in backticks."""
    return re.sub(r"`[^`\n]*`", "``", prose)


def lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield each line with its number."""
    yield from enumerate(text.splitlines(), start=1)


def markdown(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines outside of code blocks."""
    in_block = False
    for number, line in lines(text):
        if line.lstrip().startswith("```"):
            in_block = not in_block
        elif not in_block:
            yield number, line


def python(text: str) -> Iterator[tuple[int, str]]:
    """Yield comments, docstrings and message ids."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(text)):
        for string in strings(node):
            if isinstance(string, ast.Constant) and isinstance(string.value, str):
                yield from numbered(string)


def strings(node: ast.AST) -> list[ast.expr]:
    """Return the docstring of a definition, or the arguments of a call to gettext."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return [node.body[0].value] if node.body and isinstance(node.body[0], ast.Expr) else []
    return node.args if isinstance(node, ast.Call) and getattr(node.func, "id", "") in GETTEXT else []


def numbered(node: ast.Constant) -> Iterator[tuple[int, str]]:
    """Yield the lines of a string with their numbers."""
    for offset, line in enumerate(str(node.value).splitlines()):
        yield node.lineno + offset, line


def message_ids(text: str) -> Iterator[tuple[int, str]]:
    """Yield the English texts of a catalogue."""
    in_id = False
    for number, line in lines(text):
        in_id = line.startswith("msgid") or (in_id and line.startswith('"'))
        if in_id:
            yield number, line


if __name__ == "__main__":
    sys.exit(main())
